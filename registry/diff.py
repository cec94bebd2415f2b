"""Two releases -> what changed between them: prompt text, parameters, documents, measures."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from tasks.answer.release import Release
from tasks.corpus.digests import CorpusDiff, compare_digests
from tasks.digest import SHORT, Digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import EvalLog, MeasureInfo
from tasks.index.inspect import ChunkDiff, compare_chunks
from tasks.index.version import StoredIndex, open_version
from tasks.report.numbers import mean

SHOWN = 8
"""Names of documents that a person gets to see; JSON has all."""


@dataclass(frozen=True, slots=True)
class Change:
    """One parameter that differs; None where a release doesn't have it."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class IndexSide:
    """One of the two indexes; counts are None when its manifest isn't on this machine."""

    digest: Digest
    corpus_digest: Digest
    n_documents: int | None
    n_chunks: int | None

    def __str__(self) -> str:
        counts = (
            "not on this machine"
            if self.n_documents is None or self.n_chunks is None
            else f"{self.n_documents:,} documents, {self.n_chunks:,} chunks"
        )
        return f"{self.digest[:SHORT]} ({counts})"


@dataclass(frozen=True, slots=True)
class MeasureChange:
    """Means of one measure over the cases that have a value in both evaluations."""

    info: MeasureInfo
    old: float
    new: float
    n: int
    currency: str

    def shown(self, value: float) -> str:
        """A mean in the measure's unit."""
        return mean(self.info.kind, self.info.name, value, currency=self.currency)


@dataclass(frozen=True, slots=True)
class ReleaseDiff:
    """What differs between two releases; all parts are empty when nothing does."""

    old: str
    new: str
    prompt: tuple[str, ...]
    """Lines of a unified diff."""
    parameters: tuple[Change, ...]
    index: tuple[IndexSide, IndexSide] | None
    documents: CorpusDiff | None = None
    """None when the index is the same, or one of the two isn't on this machine."""
    chunks: ChunkDiff | None = None

    def __bool__(self) -> bool:
        return bool(self.prompt or self.parameters or self.index)

    def __str__(self) -> str:
        if not self:
            return f"{self.old} and {self.new} are the same."
        lines = [f"{self.old} -> {self.new}"]
        if self.prompt:
            lines += ["", "Prompt", *self.prompt]
        if self.parameters:
            lines += ["", "Parameters"]
            lines += [
                f"  {change.name}: {change.old} -> {change.new}" for change in self.parameters
            ]
        if self.index:
            lines += ["", "Index", f"  {self.index[0]} -> {self.index[1]}"]
            if self.index[0].corpus_digest == self.index[1].corpus_digest:
                lines.append("  made from the same documents")
        if self.documents:
            lines += ["", "Documents", *_document_lines(self.documents)]
        if self.chunks:
            lines += ["", "Chunks", f"  {self.chunks.added:,} added"]
            lines += [f"  {self.chunks.removed:,} removed", f"  {self.chunks.shared:,} the same"]
        return "\n".join(lines)


def compare_releases(old: Release, new: Release, *, indexes: Path) -> ReleaseDiff:
    """Compare two releases part by part.

    Args:
        old: the release to compare with.
        new: the release that replaces it.
        indexes: the room with one directory an index version, for its counts.
    """
    moved = old.index_digest != new.index_digest
    stored = _stored(old, new, indexes) if moved else None
    before, after = dict(_parameters(old)), dict(_parameters(new))
    names = [*before, *(name for name in after if name not in before)]
    return ReleaseDiff(
        old=old.label,
        new=new.label,
        prompt=tuple(
            difflib.unified_diff(
                _prompt_lines(old), _prompt_lines(new), old.label, new.label, lineterm=""
            )
        )
        if old.prompt.digest != new.prompt.digest
        else (),
        parameters=tuple(
            Change(name, before.get(name), after.get(name))
            for name in names
            if before.get(name) != after.get(name)
        ),
        index=(index_side(old, indexes), index_side(new, indexes)) if moved else None,
        documents=compare_digests(*(side.documents() for side in stored)) if stored else None,
        chunks=compare_chunks(*stored) if stored else None,
    )


def compare_evaluations(old: EvalLog, new: EvalLog) -> tuple[MeasureChange, ...]:
    """Compare the means of two evaluations on the same suite.

    Says how far they are apart and not whether that is luck: that is the gate's work. Measures that
    have another version, and judged ones when the judge is another one, aren't compared.
    """
    known = {info.name: info for info in new.manifest.measures}
    same_judge = old.manifest.judge_digest == new.manifest.judge_digest
    changes = []
    for info in old.manifest.measures:
        if known.get(info.name) != info or (info.judged and not same_judge):
            continue
        before, after = old.values(info.name), new.values(info.name)
        cases = sorted(before.keys() & after.keys())
        if cases:
            first, second = (
                fsum(side[case] for case in cases) / len(cases) for side in (before, after)
            )
            changes.append(
                MeasureChange(info, first, second, len(cases), currency=new.manifest.currency)
            )
    return tuple(changes)


def _stored(old: Release, new: Release, indexes: Path) -> tuple[StoredIndex, StoredIndex] | None:
    """Both indexes; None when one isn't on this machine, or isn't whole."""
    try:
        return (
            open_version(indexes / old.index_digest),
            open_version(indexes / new.index_digest),
        )
    except CorruptArtifact:
        return None


def _document_lines(documents: CorpusDiff) -> Iterator[str]:
    parts = (("+", documents.added), ("-", documents.removed), ("~", documents.changed))
    for (sign, names), word in zip(parts, ("added", "removed", "changed"), strict=True):
        if names:
            yield f"  {len(names):,} {word}"
            yield from (f"  {sign} {name}" for name in names[:SHOWN])
        if len(names) > SHOWN:
            yield f"    and {len(names) - SHOWN:,} more"


def _prompt_lines(release: Release) -> list[str]:
    return [
        line
        for message in release.prompt.messages
        for line in (f"[{message.role}]", *message.content.splitlines(), "")
    ]


def _parameters(release: Release) -> Iterator[tuple[str, str]]:
    # Retrieval without the settings that its kind doesn't use.
    content = release.model_dump(mode="json") | {"retrieval": release.retrieval.parameters()}
    for part in (
        "model",
        "retrieval",
        "reranker_digest",
        "chunking",
        "embedding",
        "embedding_digest",
        "index_settings",
    ):
        yield from _flat(part, content[part])


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _flat(f"{name}.{key}", value[key])
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def index_side(release: Release, indexes: Path) -> IndexSide:
    """A release's index with its counts, where its manifest is on this machine."""
    try:
        manifest = json.loads((indexes / release.index_digest / "manifest.json").read_bytes())
        counts = int(manifest["n_documents"]), int(manifest["n_chunks"])
    except (OSError, ValueError, KeyError, TypeError):
        counts = None
    return IndexSide(
        digest=release.index_digest,
        corpus_digest=release.corpus_digest,
        n_documents=counts[0] if counts else None,
        n_chunks=counts[1] if counts else None,
    )
