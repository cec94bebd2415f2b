"""EvalLog: every score, failure and answer of one release on one suite, on disk and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tasks.answer.generate import Answer
from tasks.config import Settings
from tasks.digest import Digest
from tasks.errors import CallFailed, CorruptArtifact
from tasks.evaluate.measures.base import CaseResult, Score, ScoringFailure
from tasks.evaluate.suite import Case, Span
from tasks.index.search import Retrieved
from tasks.serve.endpoint import EndpointTotals
from tasks.serve.journal import MadeCall
from tasks.serve.version import ModelVersion
from tasks.store import new_directory, write_json


class MeasureInfo(Settings):
    """What a reader must know to compare a measure's values."""

    name: str
    version: int
    kind: Literal["binary", "bounded", "positive"]
    higher_is_better: bool
    judged: bool


class CostRow(Settings):
    """What one purpose of calls took; `cost` is what this run spent, cache hits cost nothing."""

    calls: int
    cache_hits: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float
    failures: int
    machine_s: float | None = None
    """Seconds of machines that are paid by the hour; None: no call of this run used one."""


class EvalManifest(Settings):
    """Everything about an evaluation that isn't a row."""

    digest: Digest
    """Of the plan: the same release, suite, measures and judge have the same evaluation."""
    release_digest: Digest
    release_label: str
    prompt_digest: Digest
    index_digest: Digest
    model_digest: Digest
    suite_digest: Digest
    suite_name: str
    judge_digest: Digest
    judged_cases: tuple[str, ...]
    """The cases that got judged measures: a sample on a small machine."""
    measures: tuple[MeasureInfo, ...]
    seed: int
    models: dict[Digest, ModelVersion] = Field(default_factory=dict)
    """The versions that were asked, by digest: weights, server flags and sampling."""
    server: dict[str, str] = Field(default_factory=dict)
    """What else decides whether the server repeats itself: its version and its environment."""
    currency: str
    costs: dict[str, CostRow]
    endpoints: dict[str, EndpointTotals] = Field(default_factory=dict)
    """By URL, the servers of the release's model."""
    started_at: str
    """ISO 8601, UTC."""
    wall_s: float
    git_commit: str | None
    git_dirty: bool | None
    versions: dict[str, str]
    """Of the packages that a number may depend on."""


@dataclass(frozen=True)
class EvalLog:
    """One finished evaluation; rows are in the order of the suite's cases."""

    manifest: EvalManifest
    results: tuple[CaseResult, ...]
    scores: tuple[Score, ...]
    failures: tuple[ScoringFailure, ...]
    calls: tuple[MadeCall, ...] = field(default=(), compare=False, repr=False)
    """Every call that was made, when the evaluation is new; `load_calls` reads a stored one's."""

    @property
    def digest(self) -> Digest:
        """Identity of the evaluation's plan; also its directory's name."""
        return self.manifest.digest

    @property
    def cases(self) -> tuple[Case, ...]:
        """The suite's cases, with their spans where the corpus has them now."""
        return tuple(result.case for result in self.results)

    def values(self, measure: str) -> dict[str, float]:
        """Finite values of a measure by case id; a case that failed isn't in it."""
        return {score.case_id: score.value for score in self.scores if score.measure == measure}

    def lost_calls(self) -> frozenset[tuple[str, str]]:
        """Case and measure of every row that has no value because a model call failed.

        Another evaluation may have them; what a model said and nobody could read stays as it is.
        """
        return frozenset(
            (row.case_id, row.measure)
            for row in self.failures
            if row.error_type == CallFailed.__name__
        )

    def failed(self, measure: str) -> dict[str, ScoringFailure]:
        """Failures of a measure by case id."""
        return {row.case_id: row for row in self.failures if row.measure == measure}


def save_log(log: EvalLog, room: Path) -> Path:
    """Write a log to `room/<digest>/`, whole or not at all; an existing one is kept.

    Files are of two kinds. `manifest.json`, `cases`, `scores`, `failures` and `calls` follow from
    the plan and from what the models said: whoever repeats the evaluation, or continues it after a
    kill, gets the same bytes. `observed.json`, `observed` and `timings` say what it took this time.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    directory = room / log.digest
    if directory.is_dir():
        return directory
    with new_directory(directory) as partial:
        pq.write_table(
            pa.table(
                {
                    "case_id": [result.case.case_id for result in log.results],
                    "question": [result.case.question for result in log.results],
                    "reference": [result.case.reference for result in log.results],
                    "answer": [result.answer and result.answer.text for result in log.results],
                    "record": [_record(result) for result in log.results],
                }
            ),
            partial / "cases.parquet",
        )
        timings = [
            {name: getattr(result.answer, name) if result.answer else None for name in _TIMINGS}
            for result in log.results
        ]
        _write_rows(partial / "timings.parquet", timings, _TIMINGS)
        rows = [{"row": row, **asdict(score)} for row, score in enumerate(log.scores)]
        observed = [row for row in rows if row["measure"] in OBSERVED_MEASURES]
        said = [row for row in rows if row["measure"] not in OBSERVED_MEASURES]
        _write_rows(partial / "scores.parquet", said, _SCORES)
        _write_rows(partial / "observed.parquet", observed, _SCORES)
        _write_rows(partial / "failures.parquet", [asdict(row) for row in log.failures], _FAILURES)
        # In the body's own order: that is how it was sent.
        calls = [
            asdict(call) | {"body": json.dumps(call.body, ensure_ascii=False)} for call in log.calls
        ]
        _write_rows(partial / "calls.parquet", calls, _CALLS)
        manifest = log.manifest.model_dump(mode="json")
        write_json(
            partial / "observed.json", {name: manifest.pop(name) for name in OBSERVED_FIELDS}
        )
        write_json(partial / "manifest.json", manifest)
    return directory


def load_manifest(directory: Path) -> EvalManifest:
    """Read the manifest of a log, and what it took.

    Raises:
        OSError: a file is missing.
        ValueError: it isn't a manifest.
    """
    said, observed = (
        json.loads((directory / name).read_bytes()) for name in ("manifest.json", "observed.json")
    )
    return EvalManifest.model_validate_json(json.dumps(said | observed))


def load_log(directory: Path) -> EvalLog:
    """Read a log that `save_log` wrote, without its calls.

    Raises:
        CorruptArtifact: a file is missing or unreadable.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        manifest = load_manifest(directory)
        records = pq.read_table(directory / "cases.parquet", columns=["record"])["record"]
        timings = pq.read_table(directory / "timings.parquet").to_pylist()
        scores = pq.read_table(directory / "scores.parquet").to_pylist()
        scores += pq.read_table(directory / "observed.parquet").to_pylist()
        failures = pq.read_table(directory / "failures.parquet").to_pylist()
        results = tuple(
            _result(json.loads(str(record)), timing)
            for record, timing in zip(records, timings, strict=True)
        )
        ordered = sorted(scores, key=lambda row: int(row.pop("row")))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise _unreadable(directory, error) from error
    return EvalLog(
        manifest=manifest,
        results=results,
        scores=tuple(Score(**row) for row in ordered),
        failures=tuple(ScoringFailure(**row) for row in failures),
    )


def load_calls(directory: Path) -> tuple[MadeCall, ...]:
    """Read the calls of a stored evaluation, by case and purpose.

    Raises:
        CorruptArtifact: the file is missing or unreadable.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(directory / "calls.parquet").to_pylist()
        return tuple(MadeCall(**(row | {"body": json.loads(row["body"])})) for row in rows)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise _unreadable(directory, error) from error


def _unreadable(directory: Path, error: Exception) -> CorruptArtifact:
    return CorruptArtifact(
        f"The evaluation in {str(directory)!r} can't be read: {error}.",
        next_step=f"Remove that directory and evaluate again: rm -r {directory}",
    )


OBSERVED_FIELDS = ("started_at", "wall_s", "costs", "endpoints")
"""Fields of the manifest that say what this run took."""
OBSERVED_MEASURES = frozenset({"latency_s", "cached_tokens", "cost"})
"""Measures whose values a repetition with equal answers doesn't repeat."""
_TIMINGS = {"latency_s": "float64", "cost": "float64", "cached_tokens": "int64"}
_SCORES = {
    "row": "int64",
    "case_id": "string",
    "measure": "string",
    "value": "float64",
    "repeat": "int64",
}
_FAILURES = {
    "case_id": "string",
    "measure": "string",
    "error_type": "string",
    "message": "string",
    "raw": "string",
}
_CALLS = {
    "key": "string",
    "model": "string",
    "path": "string",
    "body": "string",
    "repeat": "int64",
    "purpose": "string",
    "position": "int64",
    "text": "string",
    "finish_reason": "string",
    "input_tokens": "int64",
    "output_tokens": "int64",
}


def _write_rows(path: Path, rows: list[dict[str, Any]], columns: Mapping[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # An explicit schema: an evaluation without failures still has the failures' columns.
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in columns.items()])
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def _record(result: CaseResult) -> str:
    """A result without what its answer took."""
    record = asdict(result)
    if record["answer"]:
        record["answer"] = {k: v for k, v in record["answer"].items() if k not in _TIMINGS}
    return json.dumps(record, ensure_ascii=False)


def _result(record: dict[str, Any], timing: dict[str, Any]) -> CaseResult:
    case = record["case"]
    case["gold"] = tuple(Span(**span) for span in case["gold"])
    case["tags"] = tuple(case["tags"])
    case["aliases"] = tuple(case["aliases"])
    failure = record["failure"]
    return CaseResult(
        case=Case(**case),
        retrieved=tuple(Retrieved(**passage) for passage in record["retrieved"]),
        answer=Answer(**record["answer"], **timing) if record["answer"] else None,
        failure=ScoringFailure(**failure) if failure else None,
    )
