"""Stored evaluations -> what people are asked to label; their labels -> data/labels/."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.workspace import Workspace, actor
from tasks.digest import SHORT, Digest, text_digest
from tasks.errors import BadInput, ScoresError
from tasks.evaluate.log import EvalLog, load_log
from tasks.evaluate.measures.rubric import NO_REFERENCE
from tasks.gate.draws import (
    Draw,
    DrawnCase,
    PairedLabels,
    draw_cases,
    load_draws,
    paired_labels,
    record_draw,
)
from tasks.gate.label_csv import SheetCase, load_csv
from tasks.gate.labels import (
    Label,
    LabelKey,
    LabelTable,
    Scale,
    judged_answers,
    load_labels,
    read_labels,
    save_labels,
    scale_of,
)
from tasks.gate.policy import load_policy


@dataclass
class Labelling:
    """Two evaluations in front of one person."""

    draw: Draw
    measures: tuple[str, ...]
    scales: Mapping[str, Scale]
    shown: Mapping[str, SheetCase]
    labeller: str
    path: Path
    """Where this person's labels of this draw go."""
    labels: dict[LabelKey, Label]
    """What the file holds."""
    elsewhere: frozenset[LabelKey]
    """Keys of labels in other files."""

    def label(
        self, case: DrawnCase, side: tuple[Digest, Digest], measure: str, value: float = 0.0
    ) -> Label:
        """What this person says about one measure of one answer, by its release and digest."""
        return Label(
            suite_digest=self.draw.suite_digest,
            release_digest=side[0],
            answer_digest=side[1],
            case_id=case.case_id,
            measure=measure,
            value=value,
            labeller=self.labeller,
            at=now(),
            draw=self.draw.digest,
        )

    def is_done(self, case: DrawnCase) -> bool:
        """Whether this person has labelled every measure of every answer of a case."""
        wanted = {
            self.label(case, side, measure).key
            for side in self.draw.shown(case)
            for measure in self.measures
        }
        return wanted <= self.labels.keys() | self.elsewhere

    def keep(self, labels: Iterable[Label]) -> None:
        """Write what was said about a case; it is on disk when this returns."""
        new = {label.key: label for label in labels if label.key not in self.elsewhere}
        self.labels |= new
        save_labels(self.labels.values(), self.path)


def now() -> str:
    """This second in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def labels_directory(workspace: Workspace) -> Path:
    """Where labels are; `draws/` below it has the recorded draws."""
    return workspace.project.root / "data" / "labels"


def label_scales(workspace: Workspace) -> dict[str, Scale]:
    """How each measure of the policy is marked by people; those without ends are left out.

    Raises:
        ConfigError: configs/gate.yaml is wrong.
    """
    rules = load_policy(workspace.project.gate_policy).measures
    found = {name: scale_of(rule) for name, rule in rules.items()}
    return {name: scale for name, scale in found.items() if scale is not None}


def stored_labels(workspace: Workspace) -> tuple[Label, ...]:
    """Every label of the project.

    Raises:
        ScoresError: a file is wrong.
    """
    return load_labels(labels_directory(workspace), label_scales(workspace))


def stored_draws(workspace: Workspace) -> dict[Digest, Draw]:
    """Every recorded draw by its digest.

    Raises:
        CorruptArtifact: one was changed.
    """
    return load_draws(labels_directory(workspace) / "draws")


def labels_of_pair(
    workspace: Workspace, champion: EvalLog, challenger: EvalLog
) -> dict[str, PairedLabels]:
    """What people saw between two evaluations, by measure, where a draw of them was recorded."""
    table = LabelTable(stored_labels(workspace), suite_digest=challenger.manifest.suite_digest)
    draws = stored_draws(workspace)
    sides = [judged_answers(log) for log in (champion, challenger)]
    found = {
        name: paired_labels(table, draws, sides[0], sides[1], measure=name)
        for name in sorted({label.measure for label in table.labels})
    }
    return {name: pair for name, pair in found.items() if pair is not None}


def evaluated_pair(
    workspace: Workspace, *, champion: str = "champion", challenger: str | None = None
) -> tuple[EvalLog, EvalLog]:
    """The newest evaluation of the champion, and the newest one of another release beside it.

    Args:
        workspace: settings and state.
        champion: another release than the live one, by name or digest.
        challenger: this release; None: whichever other one was evaluated last.

    Raises:
        RegistryError: a release isn't known, or none is live.
        BadInput: there are no such evaluations of one suite.
    """
    with workspace.registry() as registry:
        first = registry.resolve(champion)
        second = registry.resolve(challenger) if challenger else None
        evaluated = [event for event in registry.history() if event.kind == "evaluated"]
    here = [
        event
        for event in reversed(evaluated)
        if workspace.home.path("evals", event.subject).is_dir()
    ]
    old = next((event for event in here if event.detail["release"] == first), None)
    if old is None:
        raise BadInput(
            f"Release {first[:SHORT]} has no evaluation on this machine.",
            next_step=f"ratchet evaluate {first[:SHORT]}",
        )
    new = next(
        (
            event
            for event in here
            if event.detail["suite"] == old.detail["suite"]
            and event.detail["release"] != first
            and second in (None, event.detail["release"])
        ),
        None,
    )
    if new is None:
        which = f"Release {second[:SHORT]}" if second else "No release but the champion"
        raise BadInput(
            f"{which} was evaluated on the champion's suite{' not yet' if second else ''}.",
            next_step="Evaluate another one: ratchet nightly   or   ratchet evaluate RELEASE",
        )
    old_log, new_log = (load_log(workspace.home.path("evals", e.subject)) for e in (old, new))
    return old_log, new_log


def open_labelling(
    workspace: Workspace,
    champion: EvalLog,
    challenger: EvalLog,
    *,
    measures: Sequence[str] = (),
    labeller: str | None = None,
    seed: int = 0,
) -> Labelling:
    """Record the draw, then give everything that a person needs to label from its top.

    Args:
        workspace: settings and state.
        champion: one evaluation.
        challenger: another one of the same suite.
        measures: what to mark; none: every judged measure that is marked in whole numbers.
        labeller: who labels; None: the user.
        seed: of the draw.

    Raises:
        BadInput: a measure isn't one that people can mark here.
        ScoresError: the judge scored no case in both, or a file of labels is wrong.
    """
    scales = label_scales(workspace)
    chosen = tuple(measures) or _judged(champion, challenger, scales)
    unknown = [name for name in chosen if name not in scales]
    if unknown or not chosen:
        raise BadInput(
            f"People can't mark {unknown[0]!r}."
            if unknown
            else "No measure of these evaluations is judged in whole numbers.",
            next_step=f"Name measures to mark: --measure, one of {', '.join(sorted(scales))}",
        )
    who = labeller or actor()
    directory = labels_directory(workspace)
    draw = record_draw(
        draw_cases(
            judged_answers(champion),
            judged_answers(challenger),
            suite_digest=champion.manifest.suite_digest,
            measures=chosen,
            seed=seed,
        ).model_copy(update={"who": who, "at": now()}),
        directory / "draws",
    )
    path = directory / f"{_file_name(who)}-{draw.digest[:SHORT]}.jsonl"
    known = {label.key: label for label in load_labels(directory, scales)}
    here = read_labels([path], scales) if path.is_file() else ()
    labels: dict[LabelKey, Label] = {label.key: label for label in here}
    return Labelling(
        draw=draw,
        measures=chosen,
        scales=scales,
        shown=_shown(champion, challenger),
        labeller=who,
        path=path,
        labels=labels,
        elsewhere=frozenset(known.keys() - labels.keys()),
    )


def import_csv(
    workspace: Workspace, path: Path, *, labeller: str | None = None
) -> tuple[int, int, tuple[Path, ...]]:
    """Read a CSV file into data/labels/; a label that is there already is replaced.

    Returns:
        How many labels are new, how many replace another value, and the files.

    Raises:
        ScoresError: the file or a file of labels is wrong, or another file has a label already.
    """
    scales, directory = label_scales(workspace), labels_directory(workspace)
    labels = load_csv(
        path,
        draws=stored_draws(workspace),
        scales=scales,
        labeller=labeller or actor(),
        at=now(),
    )
    by_file: dict[Path, list[Label]] = {}
    for label in labels:
        name = f"{_file_name(label.labeller)}-{label.draw[:SHORT]}" if label.draw else path.stem
        by_file.setdefault(directory / f"{name}.jsonl", []).append(label)
    _refuse_labels_of(labels, directory, scales, without=by_file)
    added = replaced = 0
    for target, rows in by_file.items():
        known = read_labels([target], scales) if target.is_file() else ()
        merged = {label.key: label for label in known}
        added += sum(row.key not in merged for row in rows)
        changed = [r for r in rows if r.key in merged and merged[r.key].value != r.value]
        replaced += len(changed)
        # A label that says the same keeps its time: importing a file again changes nothing.
        merged |= {row.key: row for row in rows if row.key not in merged or row in changed}
        save_labels(merged.values(), target)
    return added, replaced, tuple(by_file)


def _refuse_labels_of(
    labels: Iterable[Label],
    directory: Path,
    scales: Mapping[str, Scale],
    *,
    without: Collection[Path],
) -> None:
    others = [path for path in sorted(directory.glob("*.jsonl")) if path not in without]
    taken = {label.key for label in read_labels(others, scales)}
    for label in labels:
        if label.key in taken:
            raise ScoresError(
                f"{label.labeller!r} labelled {label.measure} of this answer to "
                f"{label.case_id!r} in another file of {directory} already.",
                next_step="Remove it from one of the two, and import again.",
            )


def _judged(champion: EvalLog, challenger: EvalLog, scales: Mapping[str, Scale]) -> tuple[str, ...]:
    both = {info.name for info in champion.manifest.measures}
    return tuple(
        info.name
        for info in challenger.manifest.measures
        if info.judged and info.name in both and info.name in scales and scales[info.name].whole
    )


def _shown(champion: EvalLog, challenger: EvalLog) -> dict[str, SheetCase]:
    texts: dict[str, dict[Digest, str]] = {}
    for result in (*champion.results, *challenger.results):
        if result.answer is not None:
            text = result.answer.text
            texts.setdefault(result.case.case_id, {})[text_digest(text)] = text
    return {
        case.case_id: SheetCase(
            case.question,
            case.reference if case.answerable else NO_REFERENCE,
            texts.get(case.case_id, {}),
        )
        for case in challenger.cases
    }


def _file_name(labeller: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", labeller).strip("-") or "somebody"
