"""Ratchet's side of P1 and P2: one re-index in a process of its own, as `ratchet reindex` does it.

    python -m benchmarks.reindex_own DIRECTORY [check]

Prints what it cost as JSON. The directory is a project that `write_project` made. Where the index
is there, this is what the product's steps do and nothing else; where it isn't, the model that they
would open is replaced by one that costs nothing.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from flows.steps import index as steps
from flows.workspace import Workspace, open_workspace
from tasks.index.identity import embedder_digest


def write_project(home: Path) -> None:
    """Settings for the documents in `docs`: the shipped ones, with small chunks."""
    import shutil

    from ruamel.yaml import YAML

    from benchmarks.harness import ROOT
    from benchmarks.reindex_files import DIMENSIONS, MAX_WORDS, OVERLAP_WORDS

    shutil.copytree(ROOT / "configs", home / "configs")
    yaml = YAML()

    def edit(name: str, change: Any) -> None:
        path = home / "configs" / name
        tree = yaml.load(path.read_text(encoding="utf-8"))
        change(tree)
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(tree, file)

    edit(
        "corpus.yaml",
        lambda tree: tree.update(sources=[{"kind": "folder", "name": "docs", "path": "docs"}]),
    )
    # Flat: how vectors are searched is nothing that a night without changes looks at.
    edit(
        "release.yaml",
        lambda tree: tree.update(
            chunking={"max_tokens": MAX_WORDS, "overlap_tokens": OVERLAP_WORDS},
            index={"kind": "flat", "recall": 0.98},
        ),
    )
    edit(
        "models.yaml",
        lambda tree: tree["embeddings"]["all-minilm-l6-v2"].update(dimensions=DIMENSIONS),
    )


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def main(home: Path) -> None:
    """Re-index once."""
    texts: list[str] = []

    def open_counting(workspace: Workspace, name: str, progress: object) -> Any:
        from benchmarks.reindex_files import CountingEmbedder

        model = workspace.project.models.embedding(name)
        embedder = CountingEmbedder(embedder_digest(model))
        embedder.texts = texts
        return embedder

    steps.open_embedder = open_counting
    workspace = open_workspace()
    snapshot = steps.snapshot_corpus(workspace, _silent)
    wanted = steps.wanted_release(workspace, snapshot.digest)
    found = steps.ensure_index(workspace, wanted, _silent)
    print(
        json.dumps(
            {
                "embedded": len(texts),
                "documents": snapshot.documents,
                "chunks": found.chunks,
                "loaded": sorted(_HEAVY & set(sys.modules)),
            }
        )
    )
    (home / "embedded.json").write_text(json.dumps(texts))


def check(home: Path) -> None:
    """Compare the newest index with chunks that are cut anew from the files; prints it."""
    from benchmarks.reindex_checks import compare
    from benchmarks.reindex_files import count_words
    from tasks.corpus.chunk import chunk_document
    from tasks.corpus.update import update_corpus
    from tasks.index.chunks import embedded_text
    from tasks.index.sharing import version_directories
    from tasks.index.version import open_version

    workspace = open_workspace()
    project = workspace.project
    with tempfile.TemporaryDirectory() as room:
        anew = update_corpus(
            project.corpus,
            root=project.root,
            room=Path(room, "corpus"),
            readings=Path(room, "read"),
        ).snapshot
        wanted = [
            (chunk.chunk_id, embedded_text(chunk.title, chunk.text))
            for document in anew.read()
            for chunk in chunk_document(
                document, project.release.chunking, count_tokens=count_words
            )
        ]
    newest = max(
        version_directories(workspace.home.path("index")), key=lambda path: path.stat().st_mtime_ns
    )
    stored: list[tuple[str, str]] = []
    for _, _, batch in open_version(newest).batches(["chunk_id", "title", "text"]):
        columns = batch.to_pydict()
        texts = map(embedded_text, columns["title"], columns["text"])
        stored += zip(columns["chunk_id"], texts, strict=True)
    print(json.dumps(compare(wanted, stored)))
    (home / "wanted.json").write_text(json.dumps([text for _, text in wanted]))


_HEAVY = {"torch", "faiss", "numpy", "pyarrow", "pandas", "prefect", "mlflow", "transformers"}

if __name__ == "__main__":
    (check if sys.argv[2:] else main)(Path(sys.argv[1]))
