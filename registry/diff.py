"""Two releases -> what changed between them: prompt text, parameters, index."""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.answer.release import Release
from tasks.digest import SHORT, Digest


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
class ReleaseDiff:
    """What differs between two releases; all parts are empty when nothing does."""

    old: str
    new: str
    prompt: tuple[str, ...]
    """Lines of a unified diff."""
    parameters: tuple[Change, ...]
    index: tuple[IndexSide, IndexSide] | None

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
        return "\n".join(lines)


def compare_releases(old: Release, new: Release, *, indexes: Path) -> ReleaseDiff:
    """Compare two releases part by part.

    Args:
        old: the release to compare with.
        new: the release that replaces it.
        indexes: the room with one directory an index version, for its counts.
    """
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
        index=(_side(old, indexes), _side(new, indexes))
        if old.index_digest != new.index_digest
        else None,
    )


def _prompt_lines(release: Release) -> list[str]:
    return [
        line
        for message in release.prompt.messages
        for line in (f"[{message.role}]", *message.content.splitlines(), "")
    ]


def _parameters(release: Release) -> Iterator[tuple[str, str]]:
    content = release.model_dump(mode="json")
    for part in ("model", "retrieval", "chunking", "embedding", "embedding_digest"):
        yield from _flat(part, content[part])


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key in sorted(value):
            yield from _flat(f"{name}.{key}", value[key])
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _side(release: Release, indexes: Path) -> IndexSide:
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
