"""Retrieval tests -> sentences and a table for people."""

from tasks.gate.decision import Comparison
from tasks.gate.retrieval import IndexTests, RetrievalTest, Status
from tasks.report import numbers

STATUS_WORDS: dict[Status, str] = {
    "passed": "no worse",
    "worse": "worse",
    "not_shown": "not shown",
    "too_few": "too few",
}
QUESTION_WORDS = {"suite": "the suite's questions", "probes": "probes"}


def line_of(test: RetrievalTest) -> str:
    """One test in one line: `R@4 on probes: 0.970 -> 0.812 (200 questions): worse`."""
    row = test.comparison
    return (
        f"{row.measure} on {QUESTION_WORDS[test.questions]}: {means(row)} "
        f"({numbers.plural(row.n, 'question')}): {STATUS_WORDS[test.status]}"
    )


def means(row: Comparison) -> str:
    """Both means: `0.970 -> 0.812`."""
    old, new = (
        numbers.mean(row.kind, row.measure, value)
        for value in (row.mean_champion, row.mean_challenger)
    )
    return f"{old} → {new}"


def refusal_lines(tests: IndexTests) -> tuple[str, ...]:
    """Why a challenger can't have this index; empty when it can."""
    return tuple(_why(test, tests.margin) for test in tests.refused)


def _why(test: RetrievalTest, margin: float) -> str:
    row = test.comparison
    where = f"{row.measure} on {QUESTION_WORDS[test.questions]}"
    if test.status == "worse":
        return f"{where} is worse by more than {numbers.fixed(margin, 3)}: {means(row)}."
    return (
        f"{where} isn't shown to be no worse than {numbers.fixed(margin, 3)} allows: "
        f"{means(row)}, at worst {numbers.fixed(row.ci_low, 3)}."
    )


def headline(tests: IndexTests) -> str:
    """What the tests came to, in one sentence."""
    if tests.refused:
        return "The new index isn't shown to find passages as well as the live one."
    if all(test.status == "too_few" for test in tests.tests):
        return "There are too few questions to say which index finds passages better."
    return "The new index finds passages no worse than the live one."


def questions_line(tests: IndexTests) -> str:
    """What couldn't be asked, and why that isn't the index's fault; empty when all could."""
    if not tests.left_out:
        return ""
    return (
        f"{numbers.plural(len(tests.left_out), 'case')} of the suite can't be answered from both "
        "corpora and counted for neither index."
    )
