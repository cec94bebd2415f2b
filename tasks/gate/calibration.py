"""A judge's scores + people's labels -> may this judge vote, vote with labels, or only report?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from tasks.config import Settings
from tasks.digest import Digest, digest
from tasks.gate.agreement import Agreement, Estimate, agreement, between_people
from tasks.gate.documents import read_document
from tasks.gate.draws import Draw, sampled_answers
from tasks.gate.drift import DriftResult
from tasks.gate.judge_bias import (
    Consistency,
    PairwiseVerdict,
    position_consistency,
    verbosity_slope,
)
from tasks.gate.labels import JudgedAnswer, Label, LabelTable, Scale
from tasks.store import Home, write_json

ROOM = "calibrations"

Vote = Literal["alone", "with_labels", "report_only"]
"""A measure's scores decide; decide together with human labels of the same releases; are shown."""


class JudgeRequirements(Settings):
    """What a judge must show before its scores have a vote."""

    min_labels: int = Field(default=50, ge=10)
    """Labelled answers."""
    min_kappa: float = Field(default=0.6, gt=0, lt=1)
    """Lower end of kappa's interval (weighted for grades) from which a judge votes alone."""
    max_verbosity_slope: float = Field(default=0.05, gt=0)
    """What twice the length may earn beside what people see, as a share of the scale."""
    min_position_consistency: float = Field(default=0.8, gt=0.5, le=1)
    """Share of pairs with the same winner in both orders, for a judge of pairs."""
    max_drift: float = Field(default=0.1, gt=0, lt=1)
    """Mean distance from the frozen scores, as a share of the scale."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of all intervals."""


class MeasureCalibration(Settings):
    """One judged measure against people."""

    vote: Vote
    reasons: tuple[str, ...]
    """In words: what speaks against more."""
    n_sampled: int
    """Labelled answers that belong to a recorded random draw."""
    agreement: Agreement
    between_people: float | None
    """Krippendorff's alpha among the labellers; None where each answer has one."""
    verbosity_slope: Estimate | None
    """For twice the length, as a share of the scale; None: can't be told."""


class JudgeCalibration(Settings):
    """What is known about a judge on one suite."""

    judge_digest: Digest
    suite_digest: Digest
    labels_digest: Digest
    requirements: JudgeRequirements
    measures: dict[str, MeasureCalibration]
    position: Consistency | None
    drift: DriftResult | None = None
    """The last asking of the frozen answers; over its limit, the judge only reports."""

    @property
    def digest(self) -> Digest:
        """Identity of everything that was found."""
        return digest("judge-calibration", 1, self.model_dump(mode="json"))

    def vote(self, measure: str) -> Vote:
        """What this measure's scores may do; one that nobody calibrated only reports."""
        found = self.measures.get(measure)
        void = self.drift is not None and bool(self.drift.over)
        return "report_only" if found is None or void else found.vote

    def reasons(self, measure: str) -> tuple[str, ...]:
        """Why it may not do more."""
        found = self.measures.get(measure)
        if found is None:
            return (f"{measure} was not calibrated.",)
        return (*drift_words(self.drift), *found.reasons)

    def with_drift(self, found: DriftResult) -> "JudgeCalibration":
        """The calibration after the frozen answers were asked again."""
        return self.model_copy(update={"drift": found})


def calibrate(
    judged: Iterable[JudgedAnswer],
    labels: Iterable[Label],
    *,
    judge_digest: Digest,
    suite_digest: Digest,
    scales: Mapping[str, Scale],
    draws: Mapping[Digest, Draw] | None = None,
    requirements: JudgeRequirements | None = None,
    pairwise: Sequence[PairwiseVerdict] = (),
    seed: int = 0,
) -> JudgeCalibration:
    """Hold a judge's scores against people's labels.

    Args:
        judged: answers with the scores of this judge; of equal answers to a case the last counts.
        labels: what people said; those of other suites are left out.
        judge_digest: the judge.
        suite_digest: the suite.
        scales: the measures that people can label.
        draws: the recorded draws; labels outside of them are no random sample.
        requirements: what the judge must show.
        pairwise: verdicts of a judge of pairs in both orders, if it is one.
        seed: of the bootstrap draws.

    Raises:
        ScoresError: a case has two pairwise verdicts in the same order.
    """
    rules = requirements or JudgeRequirements()
    answers = {(answer.case_id, answer.answer_digest): answer for answer in judged}
    table = LabelTable(labels, suite_digest=suite_digest)
    position = position_consistency(pairwise, confidence=rules.confidence)
    known = {name for answer in answers.values() for name in answer.scores}
    return JudgeCalibration(
        judge_digest=judge_digest,
        suite_digest=suite_digest,
        labels_digest=table.digest,
        requirements=rules,
        measures={
            name: _measure(
                name, scales[name], answers, table, draws or {}, rules, position, seed=seed
            )
            for name in sorted(known & set(scales))
        },
        position=position,
    )


def _measure(
    name: str,
    scale: Scale,
    answers: Mapping[tuple[str, Digest], JudgedAnswer],
    table: LabelTable,
    draws: Mapping[Digest, Draw],
    rules: JudgeRequirements,
    position: Consistency | None,
    *,
    seed: int,
) -> MeasureCalibration:
    # Sorted: the order in which evaluations were read must not change a bootstrap draw.
    both = [
        (answer, said)
        for _, answer in sorted(answers.items())
        if name in answer.scores and (said := table.mean(answer, name)) is not None
    ]
    clusters = [answer.cluster for answer, _ in both]
    judge = [answer.scores[name] for answer, _ in both]
    people = [said for _, said in both]
    found = agreement(
        [scale.nearest(value) for value in people],
        [scale.nearest(value) for value in judge],
        levels=len(scale.values),
        clusters=clusters,
        confidence=rules.confidence,
        seed=seed,
    )
    slope = verbosity_slope(
        [value / scale.width for value in judge],
        [value / scale.width for value in people],
        [answer.length for answer, _ in both],
        clusters=clusters,
        confidence=rules.confidence,
    )
    scored = {key: answer for key, answer in answers.items() if name in answer.scores}
    sampled = {
        key
        for draw in draws.values()
        if draw.suite_digest == table.suite_digest
        for key in sampled_answers(table, draw, scored, name)
    }
    vote, reasons = _vote(found, slope, len(sampled), rules, position)
    return MeasureCalibration(
        vote=vote,
        reasons=tuple(reasons),
        n_sampled=len(sampled),
        agreement=found,
        between_people=between_people(
            [table.values(answer, name) for answer, _ in both], graded=scale.graded
        ),
        verbosity_slope=slope,
    )


def _vote(
    found: Agreement,
    slope: Estimate | None,
    sampled: int,
    rules: JudgeRequirements,
    position: Consistency | None,
) -> tuple[Vote, list[str]]:
    if found.n < rules.min_labels:
        text = f"{found.n} answer(s) have both a label and the judge's score; "
        return "report_only", [f"{text}{rules.min_labels} are needed."]
    kappa = found.decisive
    if kappa is None:
        return "report_only", [f"{found.problem.capitalize()}."]
    shown = f"{kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
    if kappa.low <= 0:
        return "report_only", [f"It may agree with people only by chance: kappa {shown}."]
    against = []
    if kappa.low < rules.min_kappa:
        against.append(f"Kappa is {shown}; to vote alone its low end must reach {rules.min_kappa}.")
    if slope is not None and not slope.low <= 0 <= slope.high:
        steep = abs(slope.value)
        word = "earns" if slope.value > 0 else "costs"
        if steep > rules.max_verbosity_slope:
            against.append(
                f"Twice the length {word} {steep:.1%} of the scale that people don't see; "
                f"{rules.max_verbosity_slope:.0%} is allowed."
            )
    if position is not None and position.share.value < rules.min_position_consistency:
        against.append(
            f"Only {position.share.value:.0%} of {position.n} pairs have the same winner in both "
            f"orders; {rules.min_position_consistency:.0%} is needed."
        )
    if not against:
        return "alone", []
    if sampled >= rules.min_labels:
        return "with_labels", against
    against.append(
        f"{sampled} of {found.n} labels are a recorded random draw; to vote with labels "
        f"{rules.min_labels} must be."
    )
    return "report_only", against


def drift_words(found: DriftResult | None) -> tuple[str, ...]:
    """Why a judge that moved has no vote; nothing when it hasn't."""
    if found is None or not found.over:
        return ()
    moved = "; ".join(f"{name} by {found.measures[name].absolute.value:.1%}" for name in found.over)
    text = f"Its scores of the frozen answers moved ({moved} of the scale; {found.limit:.0%} is "
    return (f"{text}allowed): calibrate it again.",)


def save_calibration(home: Home, calibration: JudgeCalibration) -> None:
    """Write what is known about a judge; an earlier calibration of it is replaced."""
    path = home.room(ROOM) / f"{calibration.judge_digest}.json"
    write_json(path, calibration.model_dump(mode="json"))


def load_calibration(home: Home, judge_digest: Digest) -> JudgeCalibration | None:
    """What is known about a judge; None: it was never calibrated.

    Raises:
        CorruptArtifact: it can't be read.
    """
    return read_document(
        home.path(ROOM, f"{judge_digest}.json"),
        JudgeCalibration,
        what="calibration",
        next_step="Calibrate again: ratchet judge calibrate",
    )
