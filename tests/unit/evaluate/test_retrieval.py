from dataclasses import replace

import pytest

from tasks.errors import ConfigError, SuiteError
from tasks.evaluate.retrieval import RetrievalSide, compare_retrieval
from tasks.evaluate.suite import Suite

MEASURES = ("R@2", "P@2", "RR")


def test_an_index_is_as_good_as_itself(index, suite):
    side = RetrievalSide(suite=suite, index=index, top_k=2)
    rows = compare_retrieval(side, side, measures=MEASURES)
    assert [row.measure for row in rows] == list(MEASURES)
    assert all(row.old == row.new for row in rows)
    # The case that no document answers has no right place.
    assert {row.n for row in rows} == {len(suite.cases) - 1}


def test_a_side_that_looks_at_fewer_passages_finds_less(index, suite):
    wide = replace(
        suite,
        cases=tuple(
            replace(case, gold=(*case.gold, *other.gold))
            for case, other in zip(
                suite.cases[:-1], suite.cases[1:-1] + suite.cases[:1], strict=True
            )
        ),
    )
    old, new = (RetrievalSide(suite=wide, index=index, top_k=k) for k in (8, 1))
    [recall] = compare_retrieval(old, new, measures=["R@8"])
    assert (recall.old, recall.new, recall.n) == (1.0, 0.5, 8)


def test_without_a_case_that_can_be_found_there_is_nothing_to_compare(index, suite):
    side = RetrievalSide(suite=Suite("none", suite.cases[-1:]), index=index, top_k=2)
    assert compare_retrieval(side, side, measures=MEASURES) == ()


def test_sides_with_different_cases_are_refused(index, suite):
    side = RetrievalSide(suite=suite, index=index, top_k=2)
    other = replace(side, suite=suite.subset([suite.cases[0].case_id]))
    with pytest.raises(SuiteError, match=r"different cases \(9 and 1\)"):
        compare_retrieval(side, other, measures=MEASURES)


def test_a_measure_that_nobody_knows_is_refused(index, suite):
    side = RetrievalSide(suite=suite, index=index, top_k=2)
    with pytest.raises(ConfigError, match="no measure 'R@many'"):
        compare_retrieval(side, side, measures=["R@many"])
