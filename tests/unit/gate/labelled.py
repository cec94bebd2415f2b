"""Judged answers, labels and draws of two small releases."""

from collections.abc import Sequence

from tasks.digest import text_digest
from tasks.gate.draws import Draw, draw_cases
from tasks.gate.labels import JudgedAnswer, Label, Scale

SUITE = text_digest("suite")
JUDGE = text_digest("judge")
SCALES = {
    "accuracy": Scale(values=(1.0, 2.0, 3.0, 4.0, 5.0)),
    "right": Scale(values=(0.0, 1.0)),
}
AT = "2026-11-24T09:00:00+00:00"


def answers(
    release: str, scores: Sequence[float], *, measure: str = "accuracy"
) -> list[JudgedAnswer]:
    """One answer a score, each with a text and a length of its own."""
    return [
        JudgedAnswer(
            case_id=f"q{number:03d}",
            cluster=f"c{number // 2}",
            release_digest=text_digest(release),
            answer_digest=text_digest(f"{release} {number}"),
            length=40 + (number * 37) % 200,
            scores={measure: score},
        )
        for number, score in enumerate(scores)
    ]


def label(
    answer: JudgedAnswer,
    value: float,
    *,
    measure: str = "accuracy",
    by: str = "kim",
    draw: Draw | None = None,
    suite: str = SUITE,
) -> Label:
    return Label(
        suite_digest=suite,
        release_digest=answer.release_digest,
        answer_digest=answer.answer_digest,
        case_id=answer.case_id,
        measure=measure,
        value=value,
        labeller=by,
        at=AT,
        draw=draw.digest if draw else None,
    )


def drawn(old: Sequence[JudgedAnswer], new: Sequence[JudgedAnswer], *, seed: int = 0) -> Draw:
    return draw_cases(old, new, suite_digest=SUITE, measures=list(SCALES), seed=seed)
