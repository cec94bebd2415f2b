from tasks.gate.scores import ScoredCase, ScoreRow, Scores
from tasks.report.means import Mean, means


def test_every_measure_has_a_mean_over_what_was_scored(policy) -> None:
    cases = tuple(ScoredCase(name, name) for name in "abc")
    rows = (
        ScoreRow("a", "correct", 1.0),
        ScoreRow("b", "correct", 0.0),
        ScoreRow("c", "correct", None, "gone"),
        ScoreRow("a", "unknown", 3.0),
        ScoreRow("a", "declared", None, "gone"),
    )
    scores = Scores(cases=cases, rows=rows, declared={"declared": ("bounded", True)})
    assert means(scores, policy) == (
        Mean("correct", "binary", 0.5, 2, 1),
        Mean("unknown", "positive", 3.0, 1, 0),
        Mean("declared", "bounded", None, 0, 1),
    )
