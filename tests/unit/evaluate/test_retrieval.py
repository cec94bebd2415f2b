import pytest

from tasks.errors import ConfigError
from tasks.evaluate.measures.base import Score
from tasks.evaluate.retrieval import RetrievalSide, score_retrieval, shared_cases
from tasks.evaluate.suite import Suite
from tests.corpora import MemorySnapshot

MEASURES = ("R@2", "nDCG@2", "span_recall")


def answerable(suite):
    return Suite(suite.name, tuple(case for case in suite.cases if case.answerable))


def test_every_question_gets_every_measure_without_an_answer(index, suite):
    cases = answerable(suite)
    rows = score_retrieval(RetrievalSide(cases, index, 2), measures=MEASURES)
    assert {(row.case_id, row.measure) for row in rows} == {
        (case.case_id, name) for case in cases.cases for name in MEASURES
    }
    # Each document is one passage, and each question names its document's word.
    assert all(isinstance(row, Score) and row.value == 1.0 for row in rows)


def test_a_measure_that_nobody_knows_is_refused(index, suite):
    with pytest.raises(ConfigError, match="no measure 'R@many'"):
        score_retrieval(RetrievalSide(answerable(suite), index, 2), measures=["R@many"])


def test_questions_that_nothing_answers_are_left_out_and_are_no_problem(suite):
    shared = shared_cases(suite, MemorySnapshot([]), MemorySnapshot([]))
    assert shared.new.cases == ()
    assert len(shared.left_out) == len(suite.cases) - 1
