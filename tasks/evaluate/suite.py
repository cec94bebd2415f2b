"""JSONL -> the cases that every release is judged on."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from tasks.config import Settings
from tasks.digest import Digest, digest
from tasks.errors import SuiteError
from tasks.store import write_atomic

_SUITE_VERSION = 1
_SHOWN_ERRORS = 20
_FORMAT = "Every field is explained in data/suites/README.md."

Lost = Literal["quote", "document", "both"]


@dataclass(frozen=True, slots=True)
class Span:
    """A passage that answers a question: `document.text[start:end] == quote`, in characters.

    `lost` is what a corpus lacks of it, once somebody looked (`relocate`): the quote, which its
    document doesn't have; the document, while another one has the quote; or both. It is said of the
    corpus alone, so that a chunking or an index can't excuse itself by it.
    """

    doc_id: str
    start: int
    end: int
    quote: str
    lost: Lost | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One question with its reference answer and the passages that hold it.

    Attributes:
        case_id: unique in a suite, and the same in every version of it.
        question: as a user would ask it.
        reference: a short correct answer.
        gold: passages that answer the question, each of them alone; empty: nothing in the corpus
            answers it and the right answer is to say so.
        cluster: cases that may fail together, such as those about one module; the gate's
            statistics treat a cluster as one piece of evidence.
        tags: slices of the report.
        must_pass: a release that gets this case wrong is never promoted.
        aliases: other answers that are as good as the reference.
    """

    case_id: str
    question: str
    reference: str
    gold: tuple[Span, ...]
    cluster: str
    tags: tuple[str, ...]
    must_pass: bool
    aliases: tuple[str, ...]

    @property
    def answerable(self) -> bool:
        """Whether the corpus holds an answer."""
        return bool(self.gold)


@dataclass(frozen=True)
class Suite:
    """A named, ordered set of cases.

    The digest covers all content but the positions of spans: a refreshed corpus moves quotes, and
    the champion on the old corpus must be comparable with the challenger on the new one.
    """

    name: str
    cases: tuple[Case, ...]

    @cached_property
    def digest(self) -> Digest:
        """Identity of the cases, in their order; the name doesn't count."""
        content = []
        for case in self.cases:
            row = asdict(case)
            row["gold"] = [[span.doc_id, span.quote] for span in case.gold]
            content.append(row)
        return digest("suite", _SUITE_VERSION, content)

    def subset(self, case_ids: Collection[str]) -> "Suite":
        """The suite of these cases alone, in this suite's order, under the same name.

        Raises:
            SuiteError: an id isn't in the suite, or no id is given.
        """
        unknown = sorted(set(case_ids) - {case.case_id for case in self.cases})
        if unknown or not case_ids:
            raise SuiteError(
                f"Suite {self.name!r} has no case {unknown[0]!r}."
                if unknown
                else f"A part of suite {self.name!r} needs at least one case, got none.",
                next_step="Choose from the case_id values of the suite's file.",
            )
        chosen = set(case_ids)
        return Suite(self.name, tuple(case for case in self.cases if case.case_id in chosen))


def load_suite(path: Path) -> Suite:
    """Read a suite from JSONL, one case a line; blank lines are allowed.

    Raises:
        SuiteError: the file is missing, empty or not UTF-8, or lines are wrong; the message names
            file, line, field and value of each (the first 20).
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise SuiteError(
            f"There is no suite {str(path)!r}.",
            next_step="Correct `suite` in configs/evaluate.yaml.",
        ) from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path} is not UTF-8: {error}.", next_step="Save it as UTF-8.") from error
    cases: dict[str, tuple[int, Case]] = {}
    questions: dict[str, int] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        case, problems = _parse(line)
        if case is not None:
            if case.case_id in cases:
                first = cases[case.case_id][0]
                problems.append(f"case_id {case.case_id!r} is the one of line {first} already")
            if case.question in questions:
                first = questions[case.question]
                problems.append(f"the question is the one of line {first}: {case.question!r}")
            cases.setdefault(case.case_id, (number, case))
            questions.setdefault(case.question, number)
        wrong += [f"  {path}:{number}: {problem}" for problem in problems]
    if wrong:
        more = f"\n  and {len(wrong) - _SHOWN_ERRORS} more" if len(wrong) > _SHOWN_ERRORS else ""
        raise SuiteError(
            f"{path} has {len(wrong)} wrong value(s):\n" + "\n".join(wrong[:_SHOWN_ERRORS]) + more,
            next_step=f"Edit {path}. {_FORMAT}",
            problems=wrong,
        )
    if not cases:
        raise SuiteError(
            f"{path} has no cases; expected one JSON object a line.", next_step=_FORMAT
        )
    return Suite(path.stem, tuple(case for _, case in cases.values()))


def save_suite(suite: Suite, path: Path) -> None:
    """Write a suite as JSONL, whole or not at all; `load_suite` reads it back."""
    rows = [asdict(case) for case in suite.cases]
    for span in [span for row in rows for span in row["gold"]]:
        # Of a corpus, not of the suite.
        del span["lost"]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_atomic(path, "\n".join(lines) + "\n")


# --- one line of the file -----------------------------------------------------------------------

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _SpanRow(Settings):
    doc_id: _Text
    start: int = Field(ge=0)
    end: int
    quote: str = Field(min_length=1)

    @model_validator(mode="after")
    def _length_fits(self) -> "_SpanRow":
        if self.end - self.start != len(self.quote):
            raise ValueError(
                f"end - start is {self.end - self.start}, "
                f"but the quote has {len(self.quote)} characters"
            )
        return self


class _CaseRow(Settings):
    case_id: _Text
    question: _Text
    reference: _Text
    aliases: tuple[_Text, ...] = ()
    gold: tuple[_SpanRow, ...] = ()
    cluster: _Text
    tags: tuple[_Text, ...] = ()
    must_pass: bool = False


def _parse(line: str) -> tuple[Case | None, list[str]]:
    """A case, or what is wrong with its line."""
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        return None, [f"this is not JSON: {error.msg} at character {error.pos + 1}"]
    if not isinstance(content, dict):
        return None, [f"expected a JSON object, found {type(content).__name__}"]
    try:
        row = _CaseRow.model_validate(content)
    except ValidationError as error:
        return None, [_problem(item) for item in error.errors()]
    fields = {name: getattr(row, name) for name in _CaseRow.model_fields}
    gold = tuple(Span(**span.model_dump()) for span in row.gold)
    return Case(**fields | {"gold": gold}), []


def _problem(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "case"
    found = "" if item["type"] == "missing" else f" (found {item['input']!r:.80})"
    return f"{where}: {item['msg']}{found}"
