"""Draw -> a CSV file that a person fills in, and CSV -> labels."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.digest import Digest
from tasks.errors import ScoresError
from tasks.gate.draws import Draw
from tasks.gate.labels import Label, LabelKey, Scale, parse_label, refuse

_SHEET = ("draw", "case_id", "answer", "question", "reference", "text")
"""Columns of a sheet before those of the measures; `answer` is A or B."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NAMES = ("A", "B")


@dataclass(frozen=True, slots=True)
class SheetCase:
    """What a person has to see of one case; `texts` by answer digest."""

    question: str
    reference: str
    texts: Mapping[Digest, str]


def label_sheet(
    draw: Draw,
    case_ids: Iterable[str],
    shown: Mapping[str, SheetCase],
    measures: Sequence[str],
) -> str:
    """CSV text with a row for each answer and an empty column for each measure.

    Args:
        draw: a recorded draw.
        case_ids: the cases to label, in the draw's order.
        shown: what each of them asks and what was answered.
        measures: what is to be marked.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*_SHEET, *measures])
    by_id = {case.case_id: case for case in draw.cases}
    for case_id in case_ids:
        row = shown[case_id]
        for name, (_, answer) in zip(_NAMES, draw.shown(by_id[case_id]), strict=False):
            texts = (row.question, row.reference, row.texts[answer])
            empty = [""] * len(measures)
            writer.writerow([draw.digest, case_id, name, *map(_harmless, texts), *empty])
    return text.getvalue()


def load_csv(
    path: Path,
    *,
    draws: Mapping[Digest, Draw],
    scales: Mapping[str, Scale],
    labeller: str,
    at: str,
) -> tuple[Label, ...]:
    """Read labels from CSV: a sheet of `label_sheet`, or columns named as the fields of a label.

    In a sheet, empty cells are answers that nobody labelled yet.

    Args:
        path: the file, UTF-8, with a header.
        draws: the recorded draws.
        scales: what each measure may be.
        labeller: who filled in a sheet; the other form has a column for it.
        at: when, likewise.

    Raises:
        ScoresError: the file can't be read, or lines are wrong: unknown columns, measures, draws
            or cases, values that aren't on the scale, duplicates.
    """
    header, rows = _read(path)
    sheet = set(_SHEET[:3]) <= set(header)
    known = {*_SHEET, *scales} if sheet else set(Label.model_fields)
    unknown = sorted(set(header) - known)
    if unknown:
        raise ScoresError(
            f"{path} has unknown column(s) {unknown}; expected some of {sorted(known)}.",
            next_step="Correct its first line; both forms are in data/labels/README.md.",
        )
    seen: dict[LabelKey, tuple[int, Label]] = {}
    problems: list[str] = []
    for number, row in rows:
        try:
            contents = _of_sheet(row, draws, labeller=labeller, at=at) if sheet else [_plain(row)]
        except _WrongRow as wrong:
            problems.append(f"  {path}:{number}: {wrong}")
            continue
        for content in contents:
            label, found = parse_label(content, scales)
            if label is not None and label.key in seen:
                found.append(f"{label.measure} is labelled in line {seen[label.key][0]} already")
            elif label is not None:
                seen[label.key] = (number, label)
            problems += [f"  {path}:{number}: {problem}" for problem in found]
    refuse(problems)
    if not seen:
        raise ScoresError(f"{path} has no label yet.", next_step="Fill in the measures' columns.")
    return tuple(label for _, label in seen.values())


class _WrongRow(Exception):
    """Why a row of a sheet can't be understood."""


def _read(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    try:
        # utf-8-sig: Excel starts a file with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = list(reader.fieldnames or ())
            rows, line = [], reader.line_num
            for row in reader:
                # Where the row begins: cells may have line breaks.
                rows.append((line + 1, row))
                line = reader.line_num
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ScoresError(
            f"The labels in {str(path)!r} can't be read: {error}.",
            next_step="Give a UTF-8 CSV file with a header, columns separated by commas.",
        ) from error
    for number, row in rows:
        if None in row or None in row.values():
            raise ScoresError(
                f"{path}:{number}: expected {len(header)} columns as in the header.",
                next_step="Quote cells that hold commas, quotes or line breaks.",
            )
    return header, rows


def _of_sheet(
    row: Mapping[str, str], draws: Mapping[Digest, Draw], *, labeller: str, at: str
) -> list[dict[str, object]]:
    marks = {name: cell for name, cell in row.items() if name not in _SHEET and cell.strip()}
    if not marks:
        return []
    draw = draws.get(row["draw"])
    if draw is None:
        raise _WrongRow(f"draw {row['draw'][:12]!r} isn't recorded in data/labels/draws")
    case = next((case for case in draw.cases if case.case_id == row["case_id"]), None)
    if case is None:
        raise _WrongRow(f"case {row['case_id']!r} isn't in the draw {draw.digest[:12]}")
    answers = dict(zip(_NAMES, draw.shown(case), strict=False))
    if row["answer"] not in answers:
        raise _WrongRow(f"answer is {row['answer']!r}, expected one of {sorted(answers)}")
    release, answer = answers[row["answer"]]
    return [
        {
            "suite_digest": draw.suite_digest,
            "release_digest": release,
            "answer_digest": answer,
            "case_id": case.case_id,
            "measure": measure,
            "value": _number(cell),
            "labeller": labeller,
            "at": at,
            "draw": draw.digest,
        }
        for measure, cell in marks.items()
    ]


def _plain(row: Mapping[str, str]) -> dict[str, object]:
    filled: dict[str, object] = {name: cell for name, cell in row.items() if cell.strip()}
    return filled | ({"value": _number(row["value"])} if "value" in filled else {})


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell


def _harmless(cell: str) -> str:
    """The cell as a spreadsheet shows it: a model's answer must not become a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
