from tasks.gate.scores import ScoredCase, ScoreRow, Scores
from tasks.report.evidence import evidence
from tasks.report.failures import ABSENT, NO_REASON, failures


def test_an_evaluations_failures_are_grouped_by_kind_with_what_the_model_said(held) -> None:
    (group,) = failures(evidence(held.old, held.new))
    assert (group.side, group.error_type) == ("challenger", "Unreadable")
    assert [row.case_id for row in group.rows] == ["case-01", "case-39"]
    assert all(row.raw for row in group.rows)


def test_scores_alone_miss_what_has_an_error_and_what_only_the_other_side_has() -> None:
    cases = (ScoredCase("a", "a"), ScoredCase("b", "b"))
    old = Scores(cases=cases, rows=(ScoreRow("a", "f1", None), ScoreRow("b", "f1", 0.5)))
    new = Scores(cases=cases, rows=(ScoreRow("a", "f1", None, "Timeout: 30 s"),))
    challenger, champion = failures(evidence(old, new))
    assert [(row.case_id, row.message) for row in challenger.rows] == [
        ("a", "Timeout: 30 s"),
        ("b", ABSENT),
    ]
    assert [(row.case_id, row.message) for row in champion.rows] == [("a", NO_REASON)]


def test_a_case_without_any_answer_is_one_row_with_many_measures() -> None:
    new = Scores(
        cases=(ScoredCase("a", "a"),),
        rows=(ScoreRow("a", "f1", None, "gone"), ScoreRow("a", "em", None, "gone")),
    )
    ((row,),) = (group.rows for group in failures(evidence(None, new)))
    assert row.measures == ("f1", "em")


def test_what_a_corpus_lacks_is_nobodys_failure() -> None:
    old = Scores(cases=(ScoredCase("a", "a"),), rows=(ScoreRow("a", "f1", 0.5),))
    gone = ScoreRow("a", "f1", None, "NotInCorpus: no document", suite_problem=True)
    assert failures(evidence(old, Scores(cases=old.cases, rows=(gone,)))) == ()
