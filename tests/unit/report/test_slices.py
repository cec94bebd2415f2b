from tasks.report.cases import view_cases
from tasks.report.evidence import evidence
from tasks.report.slices import slices


def test_slices_cover_every_case_and_start_with_the_most_changed(promoted) -> None:
    views = view_cases(promoted.policy, evidence(promoted.old, promoted.new))
    rows = slices(views, by="tag")
    assert {row.name: row.n for row in rows} == {"even": 20, "odd": 20}
    assert sum(row.won for row in rows) == 14
    clusters = slices(views, by="cluster")
    assert len(clusters) == 20
    assert clusters[0].won >= clusters[-1].won


def test_unrelated_cases_are_no_clusters_to_look_at(plain) -> None:
    views = view_cases(plain.policy, evidence(plain.old, plain.new))
    assert slices(views, by="cluster") == ()
    assert len(slices(views, by="tag")) == 2
