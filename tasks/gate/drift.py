"""A judge's frozen scores beside its scores of now -> how far it has moved."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np

from tasks.config import Settings
from tasks.digest import Digest, digest
from tasks.errors import ScoresError
from tasks.gate.agreement import (
    CONFIDENCE,
    RESAMPLES,
    Estimate,
    numbered,
    percentile,
    resampled,
)
from tasks.gate.documents import read_document
from tasks.gate.labels import Scale
from tasks.store import Home, write_json

ROOM = "judge-anchors"
"""One frozen set a suite."""
ASKED = "judge-rounds"
"""The newest round of each judge."""


class FrozenAnswer(Settings):
    """One answer of the frozen set, and where its text and passages are."""

    case_id: str
    cluster: str
    answer_digest: Digest
    log_digest: Digest
    """The evaluation that holds it."""
    scores: dict[str, float]
    """What the judge gave it when it was frozen, by measure."""


class FrozenSet(Settings):
    """Labelled answers with a judge's scores, to ask a judge again and again."""

    suite_digest: Digest
    judge_digest: Digest
    """Whose scores these are."""
    answers: tuple[FrozenAnswer, ...]
    at: str
    """When it was frozen: UTC, ISO 8601."""

    @property
    def digest(self) -> Digest:
        """Identity of the answers and scores, not of the time."""
        return digest("judge-anchor", 1, self.model_dump(mode="json", exclude={"at"}))


class AskedAgain(Settings):
    """The newest scores of the frozen answers by one judge, made without the cache."""

    anchor_digest: Digest
    judge_digest: Digest
    round: int
    """How often this judge was asked; no two rounds share an answer of the cache."""
    answers: tuple[FrozenAnswer, ...]
    """With the scores of now; a measure that the judge failed at is left out."""
    at: str


class MeasureDrift(Settings):
    """How far one measure's scores moved, as a share of the scale's width."""

    n: int
    unreadable: int
    """Answers that the judge has no readable score for now; each counts as the whole scale."""
    absolute: Estimate
    """Mean distance."""
    signed: Estimate
    """Mean difference, now minus frozen: above 0 is more generous."""
    over: bool
    """Whether the mean distance is over the limit."""


class DriftResult(Settings):
    """One asking of a judge about the frozen set."""

    anchor_digest: Digest
    frozen_judge: Digest
    judge_digest: Digest
    """Who was asked now."""
    limit: float
    measures: dict[str, MeasureDrift]

    @property
    def over(self) -> tuple[str, ...]:
        """Measures that moved by more than the limit."""
        return tuple(name for name, found in self.measures.items() if found.over)


def drift(
    frozen: FrozenSet,
    now: AskedAgain,
    *,
    scales: Mapping[str, Scale],
    limit: float,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> DriftResult:
    """Compare a judge's scores with the frozen ones.

    Args:
        frozen: answers with the scores of that time.
        now: the scores of now; what is missing counts as moved by the whole scale.
        scales: of the measures; others are left out.
        limit: largest mean distance, as a share of the scale's width.
        confidence: of the bootstrap intervals over clusters.
        seed: of the draws.

    Raises:
        ScoresError: the set has no answers.
    """
    if not frozen.answers:
        raise ScoresError("The frozen set has no answers.", next_step="Label some: ratchet label")
    scores = {(answer.case_id, answer.answer_digest): answer.scores for answer in now.answers}
    names = {name for answer in frozen.answers for name in answer.scores} & set(scales)
    found = {}
    for name in sorted(names):
        rows = [answer for answer in frozen.answers if name in answer.scores]
        after = [scores.get((row.case_id, row.answer_digest), {}).get(name) for row in rows]
        moved = [
            None if score is None else (score - row.scores[name]) / scales[name].width
            for row, score in zip(rows, after, strict=True)
        ]
        absolute = _mean(
            [1.0 if each is None else abs(each) for each in moved],
            rows,
            confidence=confidence,
            seed=seed,
        )
        found[name] = MeasureDrift(
            n=len(rows),
            unreadable=moved.count(None),
            absolute=absolute,
            signed=_mean([each or 0.0 for each in moved], rows, confidence=confidence, seed=seed),
            over=absolute.value > limit,
        )
    return DriftResult(
        anchor_digest=frozen.digest,
        frozen_judge=frozen.judge_digest,
        judge_digest=now.judge_digest,
        limit=limit,
        measures=found,
    )


def _mean(
    values: Sequence[float], rows: Sequence[FrozenAnswer], *, confidence: float, seed: int
) -> Estimate:
    """Mean with its bootstrap interval over clusters."""
    parts = np.zeros((len({row.cluster for row in rows}), 2))
    groups = numbered([row.cluster for row in rows])
    np.add.at(parts, groups, np.column_stack([values, np.ones(len(values))]))
    drawn = resampled(parts, resamples=RESAMPLES, seed=seed)
    return percentile(fmean(values), drawn[:, 0] / drawn[:, 1], confidence=confidence)


def save_frozen(frozen: FrozenSet, home: Home) -> None:
    """Write the frozen set of a suite; an earlier one is replaced."""
    write_json(home.room(ROOM) / f"{frozen.suite_digest}.json", frozen.model_dump(mode="json"))


def load_frozen(home: Home, suite_digest: Digest) -> FrozenSet | None:
    """The frozen set of a suite; None when there is none.

    Raises:
        CorruptArtifact: it can't be read.
    """
    return read_document(
        home.path(ROOM, f"{suite_digest}.json"),
        FrozenSet,
        what="set of frozen answers",
        next_step="Freeze them again: ratchet judge anchor",
    )


def save_asked(asked: AskedAgain, home: Home) -> None:
    """Write a judge's newest scores of the frozen answers."""
    write_json(home.room(ASKED) / f"{asked.judge_digest}.json", asked.model_dump(mode="json"))


def load_asked(home: Home, judge_digest: Digest) -> AskedAgain | None:
    """A judge's newest scores of the frozen answers; None: it was never asked again.

    Raises:
        CorruptArtifact: they can't be read.
    """
    return read_document(
        home.path(ASKED, f"{judge_digest}.json"),
        AskedAgain,
        what="judge's newest scores",
        next_step="Ask it again: ratchet judge rejudge",
    )
