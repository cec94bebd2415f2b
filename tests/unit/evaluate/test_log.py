import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.answer.generate import Answer
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import EvalLog, load_log, save_log
from tasks.evaluate.measures.base import CaseResult, Score, ScoringFailure
from tasks.evaluate.suite import Case, Span
from tasks.index.search import Retrieved
from tests.evaluations import make_log, make_release

LOG = make_log(make_release())

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNT = st.integers(0, 2**53)
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
SPANS = st.builds(Span, TEXT, COUNT, COUNT, TEXT)
TEXTS = st.lists(TEXT, max_size=2).map(tuple)
CASES = st.builds(
    Case,
    case_id=TEXT,
    question=TEXT,
    reference=TEXT,
    gold=st.lists(SPANS, max_size=2).map(tuple),
    cluster=TEXT,
    tags=TEXTS,
    must_pass=st.booleans(),
    aliases=TEXTS,
)
PASSAGES = st.builds(Retrieved, TEXT, TEXT, TEXT, TEXT, COUNT, COUNT, FLOAT, COUNT)
ANSWERS = st.builds(
    Answer,
    case_id=TEXT,
    text=TEXT,
    finish_reason=st.none() | TEXT,
    input_tokens=st.none() | COUNT,
    cached_tokens=st.none() | COUNT,
    output_tokens=st.none() | COUNT,
    latency_s=FLOAT,
    cost=st.none() | FLOAT,
)
FAILURES = st.builds(ScoringFailure, TEXT, TEXT, TEXT, TEXT, st.none() | TEXT)
RESULTS = st.builds(
    CaseResult,
    case=CASES,
    retrieved=st.lists(PASSAGES, max_size=2).map(tuple),
    answer=st.none() | ANSWERS,
    failure=st.none() | FAILURES,
)
ROWS = st.fixed_dictionaries(
    {
        "results": st.lists(RESULTS, max_size=3).map(tuple),
        "scores": st.lists(st.builds(Score, TEXT, TEXT, FLOAT, COUNT), max_size=3).map(tuple),
        "failures": st.lists(FAILURES, max_size=3).map(tuple),
    }
)


@given(rows=ROWS)
def test_a_log_is_read_as_it_was_written(tmp_path_factory, rows):
    log = replace(LOG, **rows)
    room = tmp_path_factory.mktemp("evals")
    assert load_log(save_log(log, room)) == log
    shutil.rmtree(room)


def test_a_log_is_in_a_directory_of_its_digest_and_stays_as_it_is(tmp_path):
    directory = save_log(LOG, tmp_path)
    assert directory == tmp_path / LOG.digest
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert sorted(before) == [
        "calls.parquet",
        "cases.parquet",
        "failures.parquet",
        "manifest.json",
        "observed.json",
        "observed.parquet",
        "scores.parquet",
        "timings.parquet",
    ]
    assert save_log(replace(LOG, scores=()), tmp_path) == directory
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_other_tools_can_read_questions_answers_and_scores(tmp_path):
    import pyarrow.parquet as pq

    directory = save_log(LOG, tmp_path)
    rows = pq.read_table(directory / "cases.parquet").to_pylist()
    assert rows[0]["question"] == LOG.results[0].case.question
    assert rows[0]["answer"] == LOG.results[0].answer.text
    # A case that has no answer has none, and not an empty one.
    assert rows[-1]["answer"] is None
    scores = pq.read_table(directory / "scores.parquet").to_pylist()
    observed = pq.read_table(directory / "observed.parquet").to_pylist()
    assert len(scores) + len(observed) == len(LOG.scores)
    assert {row["measure"] for row in observed} == {"latency_s"}


def test_a_log_without_failures_has_their_columns_all_the_same(tmp_path):
    import pyarrow.parquet as pq

    directory = save_log(replace(LOG, failures=()), tmp_path)
    assert pq.read_schema(directory / "failures.parquet").names == [
        "case_id",
        "measure",
        "error_type",
        "message",
        "raw",
    ]
    assert load_log(directory).failures == ()


@pytest.mark.parametrize("measure", [info.name for info in LOG.manifest.measures])
def test_a_case_that_failed_has_no_value(measure):
    assert not set(LOG.values(measure)) & set(LOG.failed(measure))
    assert set(LOG.values(measure)) | set(LOG.failed(measure)) == {
        case.case_id for case in LOG.cases
    }


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def replace_with_text(path: Path) -> None:
    path.write_text("hello")


@pytest.mark.parametrize("damage", [remove, cut, replace_with_text])
@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "observed.json",
        "cases.parquet",
        "timings.parquet",
        "scores.parquet",
        "observed.parquet",
        "failures.parquet",
    ],
)
def test_a_damaged_log_is_refused_with_what_to_do(tmp_path, name, damage):
    directory = save_log(LOG, tmp_path)
    damage(directory / name)
    with pytest.raises(CorruptArtifact, match="can't be read") as caught:
        load_log(directory)
    assert caught.value.next_step.endswith(f"rm -r {directory}")


def test_an_evaluation_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CorruptArtifact, match="can't be read"):
        load_log(tmp_path / "none")


def test_a_manifest_with_a_number_that_is_none_is_never_written(tmp_path):
    broken: Any = LOG.manifest.model_copy(update={"wall_s": float("nan")})
    with pytest.raises(ValueError, match="JSON compliant"):
        save_log(EvalLog(broken, LOG.results, LOG.scores, LOG.failures), tmp_path)
    assert list(tmp_path.iterdir()) == []
