"""Two evaluations -> a recorded random order of their cases: which answers people label, and how.

Prediction-powered inference takes the labelled cases for a random sample of all. That holds because
the whole order is drawn, and written down, before anybody sees an answer: people label from its
top, and whoever stops early has labelled a random sample all the same. A case that was passed over
ends the sample there; what was labelled behind it waits until that one is labelled too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.config import Settings
from tasks.digest import SHORT, Digest, digest
from tasks.errors import CorruptArtifact, ScoresError
from tasks.gate.documents import read_document
from tasks.gate.labels import JudgedAnswer, LabelTable
from tasks.store import write_json


class DrawnCase(Settings):
    """One case with the digests of both answers."""

    case_id: str
    champion: Digest
    challenger: Digest


class Draw(Settings):
    """A random order of all cases that two releases answered."""

    suite_digest: Digest
    champion_release: Digest
    challenger_release: Digest
    seed: int
    cases: tuple[DrawnCase, ...]
    """The whole frame, in the order in which it is labelled."""
    who: str = ""
    at: str = ""
    """When it was recorded: UTC, ISO 8601."""

    @property
    def digest(self) -> Digest:
        """Identity: the same cases and seed are the same draw, whoever made it first."""
        return digest("label-draw", 1, self.model_dump(mode="json", exclude={"who", "at"}))

    def challenger_first(self, case_id: str) -> bool:
        """Whether answer A is the challenger's; no pattern that a person could learn."""
        return bool(hashlib.sha256(f"{self.digest}:{case_id}".encode()).digest()[0] & 1)

    def shown(self, case: DrawnCase) -> tuple[tuple[Digest, Digest], ...]:
        """Release and answer digest of answer A and of answer B; of one where both are equal."""
        sides = (
            (self.champion_release, case.champion),
            (self.challenger_release, case.challenger),
        )
        if case.champion == case.challenger:
            return sides[:1]
        return sides[::-1] if self.challenger_first(case.case_id) else sides


def draw_cases(
    champion: Sequence[JudgedAnswer],
    challenger: Sequence[JudgedAnswer],
    *,
    suite_digest: Digest,
    measures: Sequence[str],
    seed: int,
) -> Draw:
    """Put the cases that both releases answered, and the judge scored on both, in random order.

    Args:
        champion: answers of one evaluation.
        challenger: answers of the other one, on the same suite.
        suite_digest: of both.
        measures: a case belongs to the frame when the judge scored one of these on both sides.
        seed: of the order.

    Raises:
        ScoresError: there is no such case.
    """
    old = {answer.case_id: answer for answer in champion}
    frame = [
        DrawnCase(
            case_id=new.case_id,
            champion=old[new.case_id].answer_digest,
            challenger=new.answer_digest,
        )
        for new in challenger
        if new.case_id in old
        and any(name in new.scores and name in old[new.case_id].scores for name in measures)
    ]
    if not frame or not champion:
        raise ScoresError(
            f"The judge scored {', '.join(measures)} of no case in both evaluations, so there is "
            "nothing to compare it with.",
            next_step="Raise judge.sample in configs/evaluate.yaml and evaluate both again: "
            "ratchet evaluate champion",
        )
    return Draw(
        suite_digest=suite_digest,
        champion_release=champion[0].release_digest,
        challenger_release=challenger[0].release_digest,
        seed=seed,
        cases=tuple(
            sorted(
                frame,
                key=lambda case: hashlib.sha256(f"label:{seed}:{case.case_id}".encode()).digest(),
            )
        ),
    )


def record_draw(draw: Draw, directory: Path) -> Draw:
    """Write a draw to `directory/<digest>.json` before it is used; the first record stays."""
    path = directory / f"{draw.digest}.json"
    if (recorded := load_draw(path)) is not None:
        return recorded
    write_json(path, draw.model_dump(mode="json"))
    return draw


def load_draw(path: Path) -> Draw | None:
    """Read a draw that `record_draw` wrote; None when there is no such file.

    Raises:
        CorruptArtifact: it is unreadable, or its content has another digest than its name.
    """
    restore = f"Restore it: git checkout -- {path}"
    draw = read_document(path, Draw, what="draw", next_step=restore)
    if draw is not None and draw.digest != path.stem:
        raise CorruptArtifact(
            f"The draw in {str(path)!r} has digest {draw.digest[:SHORT]}, its name says "
            f"{path.stem[:SHORT]}: somebody changed it.",
            next_step=restore,
        )
    return draw


def load_draws(directory: Path) -> dict[Digest, Draw]:
    """Every recorded draw by its digest."""
    found = (load_draw(path) for path in sorted(directory.glob("*.json")))
    return {draw.digest: draw for draw in found if draw is not None}


@dataclass(frozen=True, slots=True)
class PairedLabels:
    """What people saw between two releases on a random sample of the cases."""

    measure: str
    differences: Mapping[str, float]
    """Challenger minus champion by case, in the measure's own unit; a mean over labellers."""
    frame: tuple[str, ...]
    """All cases that the sample was drawn from."""
    draw: Digest
    first_unlabelled: str | None
    """The case at which the sample ends; None when all are labelled."""


def paired_labels(
    table: LabelTable,
    draws: Mapping[Digest, Draw],
    champion: Sequence[JudgedAnswer],
    challenger: Sequence[JudgedAnswer],
    *,
    measure: str,
) -> PairedLabels | None:
    """Find the largest random sample that people labelled of exactly these two sets of answers.

    Returns:
        None when no draw of this pair was recorded.
    """
    old = {answer.case_id: answer for answer in champion}
    new = {answer.case_id: answer for answer in challenger}
    best: PairedLabels | None = None
    for name, draw in sorted(draws.items()):
        if draw.suite_digest != table.suite_digest or not _is_of(draw, old, new):
            continue
        differences: dict[str, float] = {}
        stopped = None
        for case in draw.cases:
            before = table.mean(old[case.case_id], measure)
            after = table.mean(new[case.case_id], measure)
            if before is None or after is None:
                stopped = case.case_id
                break
            differences[case.case_id] = after - before
        found = PairedLabels(
            measure, differences, tuple(case.case_id for case in draw.cases), name, stopped
        )
        if best is None or len(found.differences) > len(best.differences):
            best = found
    return best


def sampled_answers(
    table: LabelTable, draw: Draw, answers: Mapping[tuple[str, Digest], JudgedAnswer], measure: str
) -> set[tuple[str, Digest]]:
    """Case and digest of each answer in the labelled top of a draw."""
    found: set[tuple[str, Digest]] = set()
    for case in draw.cases:
        keys = {(case.case_id, digest) for _, digest in draw.shown(case)}
        if not all(
            key in answers and table.mean(answers[key], measure) is not None for key in keys
        ):
            break
        found |= keys
    return found


def _is_of(draw: Draw, old: Mapping[str, JudgedAnswer], new: Mapping[str, JudgedAnswer]) -> bool:
    return bool(draw.cases) and all(
        case.case_id in old
        and case.case_id in new
        and old[case.case_id].answer_digest == case.champion
        and new[case.case_id].answer_digest == case.challenger
        for case in draw.cases
    )
