from tasks.report.cases import slices, sorting_measure, view_cases


def test_wins_and_losses_are_the_gates(promoted, held) -> None:
    for shown in (promoted, held):
        views = view_cases(shown.policy, shown.old, shown.new)
        row = shown.decision.comparison("correct")
        assert sum(view.change == "won" for view in views) == row.wins
        assert sum(view.change == "lost" for view in views) == row.losses


def test_passages_say_what_holds_the_answer_and_what_is_new(promoted) -> None:
    view = view_cases(promoted.policy, promoted.old, promoted.new)[5]
    gold, other = view.new.passages
    assert (gold.gold, gold.new) == (True, False)
    assert (other.gold, other.new) == (False, True)
    assert view.new.missed == ()


def test_slices_cover_every_case_and_start_with_the_most_changed(promoted) -> None:
    views = view_cases(promoted.policy, promoted.old, promoted.new)
    rows = slices(views, by="tag")
    assert {row.name: row.n for row in rows} == {"even": 20, "odd": 20}
    assert sum(row.won for row in rows) == 14
    clusters = slices(views, by="cluster")
    assert len(clusters) == 20
    assert clusters[0].won >= clusters[-1].won


def test_a_refresh_sorts_cases_by_what_stands_in_for_the_primary(promoted) -> None:
    assert sorting_measure(promoted.policy) == "correct"
    assert sorting_measure(promoted.policy.for_refresh()) == "correct"
