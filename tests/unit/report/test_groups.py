from tasks.gate.policy import GatePolicy, MeasurePolicy
from tasks.gate.scores import ScoredCase, ScoreRow, Scores
from tasks.report.cases import view_cases
from tasks.report.evidence import evidence
from tasks.report.groups import SHOWN_UNCHANGED, anchors, group_cases

POLICY = GatePolicy(
    measures={
        "f1": MeasurePolicy(kind="bounded", role="primary", direction="higher"),
        "length": MeasurePolicy(kind="positive", role="guardrail", direction="lower", margin=0.5),
    }
)


def scores(n: int, f1: dict[int, float | None], length: dict[int, float]) -> Scores:
    cases = tuple(ScoredCase(f"c{i}", f"c{i}") for i in range(n))
    rows = [ScoreRow(f"c{i}", "f1", f1.get(i, 0.5)) for i in range(n - 1)]
    rows += [ScoreRow(f"c{i}", "length", length.get(i, 10.0)) for i in range(n)]
    return Scores(cases=cases, rows=tuple(rows))


def test_a_case_that_another_measure_lost_is_on_the_page_however_many_ties_there_are() -> None:
    n = SHOWN_UNCHANGED + 100
    last = n - 2
    old, new = scores(n, {}, {}), scores(n, {3: 0.9, 7: 0.1}, {last: 20.0})
    views = view_cases(POLICY, evidence(old, new))
    lost, won, ties, other = group_cases(POLICY, views, compared=True)
    assert [view.case.case_id for view in lost.shown] == ["c7"]
    assert [view.case.case_id for view in won.shown] == ["c3"]
    assert ties.shown[0].case.case_id == f"c{last}"
    assert (len(ties.shown), ties.total) == (SHOWN_UNCHANGED, n - 3)
    assert (other.title, other.total) == ("Cases without f1", 1)
    places = anchors(views, (lost, won, ties, other))
    assert places["c7"] == "case-8"
    assert len(set(places.values())) == len(places) == SHOWN_UNCHANGED + 3
    assert "c250" not in places


def test_a_first_release_starts_with_what_is_missing_and_what_is_worst() -> None:
    new = scores(5, {0: 0.9, 1: None, 2: 0.1}, {})
    views = view_cases(POLICY, evidence(None, new))
    missing, scored, other = group_cases(POLICY, views, compared=False)
    assert [view.case.case_id for view in missing.shown] == ["c1"]
    assert [view.case.case_id for view in scored.shown] == ["c2", "c3", "c0"]
    assert other.total == 1
