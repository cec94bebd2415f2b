import pytest

from tasks.gate.retrieval import IndexTests, RetrievalTest
from tasks.index.projection import Point, Projection
from tasks.report.projection import PICTURE_FORMATS, picture
from tasks.report.reindex import ReindexFacts, SegmentFacts, reindex_markdown, reindex_page
from tasks.report.retrieval import headline, line_of, refusal_lines
from tasks.track.reindexes import reindex_metrics
from tests.unit.report.conftest import HOSTILE

STARTS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def projection(names=("a", "b", "c")):
    points = tuple(
        Point(float(place), -float(place), name, state)
        for place, (name, state) in enumerate(zip(names, ("kept", "new", "removed"), strict=True))
    )
    return Projection(points, 1, 1, 1, 0.25)


@pytest.fixture
def tests_of(promoted):
    """Tests of which the last has this outcome."""

    def make(outcome, *, could_pass=True):
        row = promoted.decision.comparisons[0].model_copy(
            update={
                "measure": "R@4",
                "kind": "bounded",
                "mean_champion": 0.97,
                "mean_challenger": 0.812,
                "delta": -0.158,
                "ci_low": -0.2,
                "n": 200,
                "outcome": outcome,
            }
        )
        test = RetrievalTest(questions="probes", comparison=row, could_pass=could_pass)
        return IndexTests(tests=(test,), margin=0.05, alpha=0.05)

    return make


def facts(**changes):
    values = {
        "index": "a" * 64,
        "live": "b" * 64,
        "embedding": "mini",
        "documents": 1200,
        "chunks": 3400,
        "embedded": 12,
        "reused": 3388,
        "chunks_new": 12,
        "chunks_removed": 5,
        "sampled": True,
        "added": ("new.md",),
        "segments": (SegmentFacts(digest="c" * 64, kind="ivf", chunks=1, deleted=0, recall=0.987),),
    }
    return ReindexFacts.model_validate(values | changes)


@pytest.mark.parametrize("form", PICTURE_FORMATS)
def test_a_picture_is_drawn_in_every_format_and_again_with_the_same_bytes(form):
    drawn = picture(projection(), {"a": "notes"}, form=form)
    assert drawn.startswith(STARTS[form])
    assert drawn == picture(projection(), {"a": "notes"}, form=form)


def test_other_peoples_names_are_drawn_as_they_are():
    odd = projection(("$a_b$", "x" * 200, "\u202eevil\n$"))
    assert picture(odd, {"$a_b$": "$source"}, theme="dark") != picture(odd, {})


def test_every_outcome_of_a_test_has_its_sentence(tests_of):
    assert refusal_lines(tests_of("not_worse")) == ()
    assert "no worse than the live one" in headline(tests_of("not_worse"))
    worse = tests_of("worse")
    assert refusal_lines(worse) == ("R@4 on probes is worse by more than 0.050: 0.970 → 0.812.",)
    assert line_of(worse.tests[0]) == "R@4 on probes: 0.970 → 0.812 (200 questions): worse"
    (unclear,) = refusal_lines(tests_of("unclear"))
    assert "isn't shown to be no worse than 0.050 allows" in unclear
    few = tests_of("unclear", could_pass=False)
    assert refusal_lines(few) == ()
    assert "too few questions" in headline(few)


def test_the_page_says_what_changed_what_it_cost_and_what_the_tests_found(tests_of):
    tests = tests_of("worse").model_copy(
        update={"suite_problems": ("case-1: the corpus has no document 'gone'.",)}
    )
    page = reindex_page(
        facts(tests=tests, refused=refusal_lines(tests)), light=b"light", dark=b"dark"
    )
    for text in (
        "1,200",
        "12 new, 5 removed",
        "3,388 taken over",
        "ivf, recall 0.987",
        "HELD",
        "is worse by more than 0.050",
        "new.md",
        "Problems of the suite, not of the index",
        "the corpus has no document",
        "data:image/png;base64,bGlnaHQ=",
        "data:image/png;base64,ZGFyaw==",
    ):
        assert text in page


def test_hostile_names_stay_text():
    hostile = facts(added=(HOSTILE,), refused=(HOSTILE,), embedding=HOSTILE)
    page = reindex_page(hostile, light=b"", dark=b"")
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    summary = reindex_markdown(hostile, page="a/b.html")
    for raw in ("<script", "![", "](", "http://evil", "javascript:"):
        assert raw not in summary


def test_the_summary_has_the_tests_and_where_the_page_is(tests_of):
    summary = reindex_markdown(facts(tests=tests_of("not_worse")), page="page")
    assert "| 0.970 → 0.812 | no worse |" in summary
    assert "12 embedded, 3,388 taken over" in summary
    assert summary.endswith("Page with the picture: page\n")
    assert "The first index" in reindex_markdown(facts(live=None), page="page")


def test_numbers_have_names_that_mlflow_takes(tests_of):
    found = reindex_metrics(facts(tests=tests_of("worse")))
    assert found["chunks_embedded"] == 12.0
    assert (found["probes/R_at_4/old"], found["probes/R_at_4/new"]) == (0.97, 0.812)
