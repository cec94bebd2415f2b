"""data/labels/*.jsonl -> what people said about answers, and the judge's scores beside it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from tasks.config import Settings
from tasks.digest import Digest, digest, text_digest
from tasks.errors import ScoresError
from tasks.store import write_atomic

if TYPE_CHECKING:
    # The statistics need no model client: labels come from plain files.
    from tasks.evaluate.log import EvalLog
    from tasks.gate.policy import MeasurePolicy

FORMAT = "Every field is explained in data/labels/README.md."
GRADES = 5
"""Steps in which a person marks a measure that isn't binary."""
_SHOWN_ERRORS = 20

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Scale(Settings):
    """The values that a person may give one measure, worst or smallest first."""

    values: tuple[float, ...] = Field(min_length=2)

    @property
    def width(self) -> float:
        """Largest difference of two values."""
        return self.values[-1] - self.values[0]

    @property
    def graded(self) -> bool:
        """Whether the values have an order beyond yes and no."""
        return len(self.values) > 2  # yes and no

    @property
    def keys(self) -> tuple[str, ...]:
        """What is typed for each value: 0 and 1, or 1 to 5."""
        first = 1 if self.graded else 0
        return tuple(str(first + step) for step in range(len(self.values)))

    @property
    def whole(self) -> bool:
        """Whether each value is the whole number that is typed for it."""
        return self.values == tuple(float(key) for key in self.keys)

    def allows(self, value: float) -> bool:
        """Whether a label may have this value: between the ends, and for yes and no one of them."""
        return self.values[0] <= value <= self.values[-1] if self.graded else value in self.values

    def nearest(self, value: float) -> int:
        """Position of the nearest value; of the lower one in the middle of two."""
        return min(range(len(self.values)), key=lambda step: abs(self.values[step] - value))


def scale_of(rule: "MeasurePolicy") -> Scale | None:
    """How people mark a measure of the policy; None for one without ends, such as latency."""
    if rule.kind == "positive":
        return None
    if rule.kind == "binary":
        return Scale(values=(0.0, 1.0))
    low, high = rule.range
    return Scale(values=tuple(low + (high - low) * step / (GRADES - 1) for step in range(GRADES)))


LabelKey = tuple[Digest, str, Digest, str, str]
"""Suite, case, answer, measure and labeller."""


class Label(Settings):
    """What one person said about one measure of one answer; a line of the file."""

    suite_digest: _Digest
    release_digest: _Digest | None = None
    answer_digest: _Digest | None = None
    """SHA-256 of the answer's UTF-8 text; a label with it holds for this text in any release."""
    case_id: _Text
    measure: _Text
    value: Annotated[float, Field(strict=True)]
    labeller: _Text
    at: _Text
    """ISO 8601 with its time zone."""
    draw: _Digest | None = None
    """Which recorded draw chose the case; None: somebody chose it."""

    @field_validator("at")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        if datetime.fromisoformat(value).tzinfo is None:
            raise ValueError("a time with its zone was expected, such as 2026-11-24T09:00:00+00:00")
        return value

    @model_validator(mode="after")
    def _names_an_answer(self) -> Self:
        if self.answer_digest is None and self.release_digest is None:
            raise ValueError("give answer_digest or release_digest: which answer is it about?")
        return self

    @property
    def answer(self) -> Digest:
        """The answer's text, or else the release that gave it."""
        return self.answer_digest or str(self.release_digest)

    @property
    def key(self) -> LabelKey:
        """One person labels one measure of one answer once."""
        return (self.suite_digest, self.case_id, self.answer, self.measure, self.labeller)


def load_labels(directory: Path, scales: Mapping[str, Scale]) -> tuple[Label, ...]:
    """Read every `*.jsonl` of a directory, in the order of their names; see `read_labels`."""
    return read_labels(sorted(directory.glob("*.jsonl")), scales)


def read_labels(paths: Iterable[Path], scales: Mapping[str, Scale]) -> tuple[Label, ...]:
    """Read labels, one JSON object a line; blank lines are allowed.

    Args:
        paths: the files; none is no label.
        scales: what each measure may be, by its name.

    Raises:
        ScoresError: lines are wrong; the message names file, line, field and value of each (the
            first 20): unknown fields or measures, NaN, values outside the scale, duplicates.
    """
    labels: dict[LabelKey, tuple[str, Label]] = {}
    wrong: list[str] = []
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            label, problems = _parse(line, scales)
            if label is not None and label.key in labels:
                problems.append(
                    f"{label.labeller!r} labelled {label.measure} of this answer to "
                    f"{label.case_id!r} in {labels[label.key][0]} already"
                )
            elif label is not None:
                labels[label.key] = (where, label)
            wrong += [f"  {where}: {problem}" for problem in problems]
    refuse(wrong)
    return tuple(label for _, label in labels.values())


def refuse(problems: Sequence[str]) -> None:
    """Raise when there are problems; each is a line of text that names its place.

    Raises:
        ScoresError: there are.
    """
    if not problems:
        return
    more = len(problems) - _SHOWN_ERRORS
    raise ScoresError(
        f"{len(problems)} wrong label(s):\n"
        + "\n".join(problems[:_SHOWN_ERRORS])
        + (f"\n  and {more} more" if more > 0 else ""),
        next_step=f"Correct these lines. {FORMAT}",
        problems=list(problems),
    )


def save_labels(labels: Iterable[Label], path: Path) -> None:
    """Write labels as JSONL, whole or not at all; `load_labels` reads them back."""
    lines = [
        json.dumps(label.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
        for label in labels
    ]
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def check_value(label: Label, scales: Mapping[str, Scale]) -> str | None:
    """Say why a label can't have its measure or value, or None when it can."""
    scale = scales.get(label.measure)
    if scale is None:
        return f"measure is {label.measure!r}; people can label {sorted(scales)}"
    if scale.allows(label.value):
        return None
    ends = f"{scale.values[0]:g} to {scale.values[-1]:g}" if scale.graded else "0 or 1"
    return f"{label.measure} is {label.value!r}; {ends} was expected"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ScoresError(
            f"The labels in {str(path)!r} can't be read: {error}.",
            next_step="Save them as UTF-8, one JSON object a line.",
        ) from error


def _parse(line: str, scales: Mapping[str, Scale]) -> tuple[Label | None, list[str]]:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        return None, [f"this is not JSON: {error.msg} at character {error.pos + 1}"]
    if not isinstance(content, dict):
        return None, [f"expected a JSON object, found {type(content).__name__}"]
    return parse_label(content, scales)


def parse_label(
    content: Mapping[str, Any], scales: Mapping[str, Scale]
) -> tuple[Label | None, list[str]]:
    """A label, or what is wrong with its fields."""
    try:
        label = Label.model_validate(content)
    except ValidationError as error:
        return None, [_problem(item) for item in error.errors()]
    reason = check_value(label, scales)
    return (None, [reason]) if reason else (label, [])


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "label"
    shown = item["type"] != "missing" and item["loc"]
    return f"{where}: {item['msg']}" + (f" (found {item['input']!r:.80})" if shown else "")


# --- labels beside the judge's scores -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """One answer with what the judge gave it."""

    case_id: str
    cluster: str
    release_digest: Digest
    answer_digest: Digest
    length: int
    """Characters of the answer."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Mean over the judge's repeats, by measure; a measure that it failed at isn't in it."""


def judged_answers(log: "EvalLog") -> tuple[JudgedAnswer, ...]:
    """The answers of an evaluation, in the suite's order; a case without an answer is left out."""
    judged = [info.name for info in log.manifest.measures if info.judged]
    values: dict[tuple[str, str], list[float]] = {}
    for score in log.scores:
        values.setdefault((score.case_id, score.measure), []).append(score.value)
    return tuple(
        JudgedAnswer(
            case_id=result.case.case_id,
            cluster=result.case.cluster or result.case.case_id,
            release_digest=log.manifest.release_digest,
            answer_digest=text_digest(result.answer.text),
            length=len(result.answer.text),
            scores={
                name: fsum(found) / len(found)
                for name in judged
                if (found := values.get((result.case.case_id, name)))
            },
        )
        for result in log.results
        if result.answer is not None
    )


class LabelTable:
    """Labels of one suite, found by the answer that they are about."""

    def __init__(self, labels: Iterable[Label], *, suite_digest: Digest) -> None:
        self.suite_digest = suite_digest
        self.labels = tuple(label for label in labels if label.suite_digest == suite_digest)
        self._found: dict[tuple[str, str, Digest], dict[str, float]] = {}
        for label in self.labels:
            place = (label.case_id, label.measure, label.answer)
            self._found.setdefault(place, {})[label.labeller] = label.value

    @property
    def digest(self) -> Digest:
        """Identity of everything that was said."""
        return digest("labels", 1, sorted([*label.key, label.value] for label in self.labels))

    def values(self, answer: JudgedAnswer, measure: str) -> dict[str, float]:
        """What people gave this answer, by labeller."""
        by_release = self._found.get((answer.case_id, measure, answer.release_digest), {})
        by_text = self._found.get((answer.case_id, measure, answer.answer_digest), {})
        return by_release | by_text

    def mean(self, answer: JudgedAnswer, measure: str) -> float | None:
        """Mean over the labellers; None when nobody labelled it."""
        values = self.values(answer, measure).values()
        return fsum(values) / len(values) if values else None
