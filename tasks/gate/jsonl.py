"""Plain JSONL -> Scores and back: the gate without the rest, for scores that another tool wrote."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.errors import ScoresError
from tasks.gate.policy import GatePolicy
from tasks.gate.scores import ScoredCase, ScoreRow, Scores, wrong_value


def load_scores(path: Path, policy: GatePolicy) -> Scores:
    """Read scores that another tool wrote, one JSON object a line.

    A row is `{"case_id", "measure", "value"}`, with `error` instead of `value` where there is none,
    or `suite_problem` where this side's corpus can't be asked the case at all; with optional
    `cluster`, `tags`, `must_pass` and `repeat`. One line without `case_id` may carry `release`,
    `release_digest`, `log_digest`, `suite_digest` and `judge_digest`.

    Raises:
        ScoresError: the file is missing or empty, or a line is malformed, repeats another, names
            a measure that the policy lacks, or holds a value that its measure can't have.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ScoresError(
            f"The scores in {str(path)!r} can't be read: {error}.",
            next_step="Give a UTF-8 file with one JSON object a line.",
        ) from error
    header: dict[str, Any] = {}
    rows: list[ScoreRow] = []
    cases: dict[str, ScoredCase] = {}
    seen: dict[tuple[str, str, int], int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(path, number, line)
        if "case_id" not in record:
            header |= _header(path, number, record)
            continue
        row, case = _row(path, number, record, policy)
        key = (row.case_id, row.measure, row.repeat)
        if key in seen:
            raise _wrong(path, number, f"{key} was already given in line {seen[key]}")
        seen[key] = number
        if cases.setdefault(case.case_id, case) != case:
            raise _wrong(
                path, number, f"case {case.case_id!r} had another cluster, tags or must_pass before"
            )
        rows.append(row)
    if not rows:
        raise ScoresError(f"{path} holds no scores.", next_step="Check which file you gave.")
    return Scores(cases=tuple(cases.values()), rows=tuple(rows), **header)


def write_scores(scores: Scores) -> str:
    """The JSONL text that `load_scores` reads back: a decision can be computed again from it."""
    case_of = {case.case_id: case for case in scores.cases}
    names = ("release", "release_digest", "log_digest", "suite_digest", "judge_digest")
    header = {name: getattr(scores, name) for name in names if getattr(scores, name)}
    lines: list[dict[str, Any]] = [header] if header else []
    for row in scores.rows:
        case = case_of[row.case_id]
        why = "suite_problem" if row.suite_problem else "error"
        found = {why: row.error or "missing"} if row.value is None else {"value": row.value}
        lines.append(
            {"case_id": row.case_id, "measure": row.measure, "repeat": row.repeat, **found}
            | {"cluster": case.cluster, "tags": case.tags, "must_pass": case.must_pass}
        )
    return "".join(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n" for line in lines)


def _wrong(path: Path, number: int, what: str) -> ScoresError:
    return ScoresError(
        f"{path}:{number}: {what}.", next_step=f"Correct line {number} of {path}.", line=number
    )


def _record(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise _wrong(path, number, f"this is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise _wrong(path, number, f"expected an object, found {type(record).__name__}")
    return record


def _header(path: Path, number: int, record: dict[str, Any]) -> dict[str, Any]:
    names = {"release", "release_digest", "log_digest", "suite_digest", "judge_digest"}
    _known(path, number, record, names)
    for name, value in record.items():
        if not isinstance(value, str):
            raise _wrong(path, number, f"{name} is {value!r}, a text was expected")
    return record


def _row(
    path: Path, number: int, record: dict[str, Any], policy: GatePolicy
) -> tuple[ScoreRow, ScoredCase]:
    given = ("value", "error", "suite_problem")
    names = ("case_id", "measure", *given, "cluster", "tags", "must_pass", "repeat")
    _known(path, number, record, names)
    case_id, measure = (record.get(name) for name in ("case_id", "measure"))
    for name, found in (("case_id", case_id), ("measure", measure)):
        if not isinstance(found, str) or not found:
            raise _wrong(path, number, f"{name} is {found!r}, a text was expected")
    rule = policy.measures.get(str(measure))
    if rule is None:
        raise _wrong(
            path, number, f"the policy has no measure {measure!r}; it has {list(policy.measures)}"
        )
    value, error, problem = (record.get(name) for name in given)
    if sum(found is not None for found in (value, error, problem)) != 1:
        raise _wrong(path, number, "give either a value or an error, or a suite_problem")
    error = problem if error is None else error
    if value is not None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(path, number, f"value is {value!r}, a number was expected")
        reason = wrong_value(value, rule)
        if reason:
            raise _wrong(path, number, f"{measure} is {value!r}: {reason}")
    repeat, tags = record.get("repeat", 0), record.get("tags", [])
    if not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 0:
        raise _wrong(path, number, f"repeat is {repeat!r}, a number from 0 was expected")
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise _wrong(path, number, f"tags are {tags!r}, a list of texts was expected")
    row = ScoreRow(
        str(case_id),
        str(measure),
        None if value is None else float(value),
        None if error is None else str(error),
        repeat,
        suite_problem=problem is not None,
    )
    case = ScoredCase(
        str(case_id),
        str(record.get("cluster") or case_id),
        tuple(tags),
        record.get("must_pass", False) is True,
    )
    return row, case


def _known(path: Path, number: int, record: dict[str, Any], names: Iterable[str]) -> None:
    unknown = sorted(set(record) - set(names))
    if unknown:
        raise _wrong(path, number, f"unknown field(s) {unknown}; expected {sorted(names)}")
