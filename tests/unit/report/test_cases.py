from tasks.report.cases import sorting_measure, tallies, view_cases
from tasks.report.evidence import evidence


def views_of(shown):
    return view_cases(shown.policy, evidence(shown.old, shown.new))


def test_wins_losses_and_ties_are_the_gates(promoted, held, plain) -> None:
    for shown in (promoted, held, plain):
        views = views_of(shown)
        row = shown.decision.comparison("correct")
        assert sum(view.change == "won" for view in views) == row.wins
        assert sum(view.change == "lost" for view in views) == row.losses
        assert sum(view.change == "tie" for view in views) == row.ties


def test_every_deciding_measure_names_the_cases_that_it_lost_and_won(plain) -> None:
    rows = tallies(plain.policy, views_of(plain))
    assert [row.measure for row in rows] == ["correct", "f1"]
    for row in rows:
        counted = plain.decision.comparison(row.measure)
        assert len(row.lost) == counted.losses
        assert len(row.won) == counted.wins
        assert len(row.tied) == counted.ties
    assert rows[0].lost[1:3] == ("case-03", "case-05")


def test_a_score_that_failed_has_no_value_and_says_why(held, plain) -> None:
    failed = views_of(held)[39]
    assert (failed.new.value, failed.failed) == (None, True)
    assert failed.new.error.startswith("Unreadable: ")
    assert failed.new.answered.raw is not None
    without_log = views_of(plain)[4]
    assert (without_log.new.value, without_log.new.answered) == (None, None)
    assert without_log.new.error


def test_passages_say_what_holds_the_answer_and_what_is_new(promoted) -> None:
    view = views_of(promoted)[5]
    gold, other = view.new.answered.passages
    assert (gold.gold, gold.new) == (True, False)
    assert (other.gold, other.new) == (False, True)
    assert view.new.answered.missed == ()


def test_scores_alone_have_no_questions_and_no_answers(plain) -> None:
    assert {view.question for view in views_of(plain)} == {None}
    assert {view.old.answered for view in views_of(plain)} == {None}


def test_an_evaluation_beside_plain_scores_counts_as_scores(promoted, plain) -> None:
    shown = evidence(plain.old, promoted.new)
    assert shown.logs is None
    assert len(shown.new.cases) == 40


def test_a_refresh_sorts_cases_by_what_stands_in_for_the_primary(promoted) -> None:
    assert sorting_measure(promoted.policy) == "correct"
    assert sorting_measure(promoted.policy.for_refresh()) == "correct"
