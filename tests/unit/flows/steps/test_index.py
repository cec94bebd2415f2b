import json
import os
import shutil
from dataclasses import replace

import pytest

from flows.steps.index import (
    ensure_index,
    open_embedder,
    open_release,
    snapshot_corpus,
    wanted_release,
)
from flows.workspace import open_workspace
from tasks.errors import ConfigError, CorruptArtifact, SetupError
from tests.embedders import HashingEmbedder
from tests.processes import printed_by


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


def test_a_snapshot_is_stored_under_its_digest_and_again_is_the_same(project, workspace):
    first = snapshot_corpus(workspace, silent)
    assert first.documents == 3
    assert first.problems == {}
    assert first.directory == workspace.home.path("corpus", first.digest)
    assert snapshot_corpus(workspace, silent) == first
    project.note("dates")
    assert snapshot_corpus(workspace, silent).digest != first.digest


def test_documents_that_were_left_out_are_counted_by_reason(project, workspace):
    project.note("empty", "\n")
    project.note("same", "Keep apples cool. They last a week.\n")
    found = snapshot_corpus(workspace, silent)
    assert found.documents == 3
    assert found.problems == {"duplicate": 1, "empty": 1}
    assert "empty.md" in (found.directory / "problems.json").read_text()


def test_reading_says_how_far_it_is(workspace):
    seen = []
    snapshot_corpus(workspace, lambda *step: seen.append(step))
    assert seen[0] == ("read the corpus", 0, 0)


def test_the_wanted_release_is_described_without_building_anything(workspace):
    snapshot = snapshot_corpus(workspace, silent)
    wanted = wanted_release(workspace, snapshot.digest)
    assert wanted.corpus_digest == snapshot.digest
    assert wanted.prompt.name == "answer"
    assert wanted.retrieval.top_k == 4
    assert not workspace.home.path("index").exists()
    assert wanted == wanted_release(workspace, snapshot.digest)


def test_every_setting_of_the_release_and_every_document_makes_another_release(project, workspace):
    corpus = snapshot_corpus(workspace, silent).digest
    base = wanted_release(workspace, corpus)
    project.note("dates")
    newer = wanted_release(workspace, snapshot_corpus(workspace, silent).digest)
    assert newer.refreshes(base)
    assert wanted_release(open_workspace(top_k=2), corpus).differences(base) == ("retrieval",)
    assert wanted_release(open_workspace(prompt="baseline"), corpus).differences(base) == (
        "prompt",
    )
    project.edit("release", chunking={"max_tokens": 100})
    smaller = wanted_release(open_workspace(), corpus)
    assert smaller.differences(base) == ("index",)
    assert not smaller.refreshes(base)


def test_a_prompt_that_is_not_there_is_found_before_anything_is_built(workspace):
    other = open_workspace(prompt="poem")
    with pytest.raises(ConfigError, match=r"no file '.*poem\.yaml'"):
        wanted_release(other, snapshot_corpus(workspace, silent).digest)


def test_an_index_that_is_there_is_found_without_loading_a_model(workspace, release):
    found = ensure_index(workspace, release, silent)
    assert found.digest == release.index_digest
    assert (found.chunks, found.embedded) == (3, 0)
    assert (found.added, found.changed, found.removed) == ((), (), ())


NOTHING_CHANGED = """
import sys
from flows.steps.index import ensure_index, snapshot_corpus, wanted_release
from flows.workspace import open_workspace

def silent(*step):
    pass

workspace = open_workspace()
found = snapshot_corpus(workspace, silent)
index = ensure_index(workspace, wanted_release(workspace, found.digest), silent)
heavy = {"datasets", "faiss", "httpx", "mlflow", "prefect", "rich", "scipy", "sklearn"}
heavy |= {"sentence_transformers", "sqlalchemy", "tokenizers", "torch", "transformers"}
print(index.chunks, index.embedded, sorted(heavy & set(sys.modules)))
"""


def test_a_night_without_changes_loads_no_heavy_library(release):
    assert printed_by(NOTHING_CHANGED) == "3 0 []\n"


DESCRIBED = """
import sys
from flows.steps.index import wanted_release
from flows.workspace import open_workspace

wanted_release(open_workspace(), "c" * 64)
print(sorted({"numpy", "pandas", "pyarrow"} & set(sys.modules)))
"""


def test_what_a_night_needs_where_every_file_is_as_it_was_is_loaded_without_numpy(project):
    assert printed_by(DESCRIBED) == "[]\n"


def unreachable_model(project):
    """Settings under which the embedding model can't be had, so that a need for it shows."""
    project.edit(
        "models",
        embeddings={
            "all-minilm-l6-v2": {
                "sources": [{"kind": "path", "path": str(project.root / "no-model")}],
                "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "dimensions": 384,
                "max_tokens": 256,
            }
        },
    )
    return open_workspace()


def test_an_embedding_model_that_cannot_be_had_is_an_error_with_the_reason(project):
    workspace = unreachable_model(project)
    with pytest.raises(SetupError, match=r"nothing at '.*no-model'") as caught:
        open_embedder(workspace, "all-minilm-l6-v2", silent)
    assert caught.value.next_step


def test_a_build_that_was_killed_is_not_taken_for_an_index(project, release):
    """It has a manifest already, and is newer than every whole index."""
    workspace = unreachable_model(project)
    room = workspace.home.path("index")
    killed = room / ".0123456789abcdef.partial-x1y2"
    shutil.copytree(room / release.index_digest, killed)
    os.utime(killed / "manifest.json")
    project.note("dates")
    wanted = wanted_release(workspace, snapshot_corpus(workspace, silent).digest)
    # It gets as far as wanting the model, and no damaged index is in its way.
    with pytest.raises(SetupError, match="no-model"):
        ensure_index(workspace, wanted, silent)


def test_an_index_whose_manifest_was_changed_is_refused_by_name(workspace, release):
    manifest = workspace.home.path("index", release.index_digest, "manifest.json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(content | {"embedding_digest": "0" * 64}))
    with pytest.raises(CorruptArtifact, match=release.index_digest[:12]):
        ensure_index(workspace, release, silent)
    assert replace(snapshot_corpus(workspace, silent)).documents == 3


def test_a_release_finds_only_what_passes_its_filters(project, release):
    project.edit("release", retrieval={"kind": "hybrid", "filters": {"source": ["elsewhere"]}})
    workspace = open_workspace()
    wanted = wanted_release(workspace, release.corpus_digest)
    assert wanted.differences(release) == ("retrieval",)
    embedder = HashingEmbedder()
    embedder.digest = release.embedding_digest
    assert open_release(workspace, wanted, embedder, silent).search(["apples"], top_k=3) == [[]]
    (hits,) = open_release(workspace, release, embedder, silent).search(["apples"], top_k=3)
    assert hits[0].doc_id.endswith("apples.md")


def test_a_reranker_that_is_not_in_the_settings_is_an_error_that_lists_them(project):
    project.edit("release", retrieval={"rerank": "unknown"})
    with pytest.raises(ConfigError, match=r"no 'unknown' under 'rerankers'; it has \[\]"):
        open_workspace()


def test_a_reranker_that_was_replaced_under_its_name_is_refused(project):
    reranker = {
        "sources": [{"kind": "path", "path": str(project.root / "no-model")}],
        "sha256": "1" * 64,
        "max_tokens": 512,
    }
    project.edit("models", rerankers={"small": reranker})
    project.edit("release", retrieval={"rerank": "small"})
    workspace = open_workspace()
    wanted = wanted_release(workspace, snapshot_corpus(workspace, silent).digest)
    assert wanted.reranker_digest is not None
    other = wanted.model_copy(update={"reranker_digest": "2" * 64})
    with pytest.raises(ConfigError, match="another model of that name"):
        open_release(workspace, other, HashingEmbedder(), silent)
    with pytest.raises(SetupError, match=r"nothing at '.*no-model'"):
        open_release(workspace, wanted, HashingEmbedder(), silent)


def test_a_served_embedding_model_is_asked_through_its_client(project):
    served = {
        "backend": "endpoint",
        "url": "http://127.0.0.1:9/v1",
        "served_name": "tiny",
        "tokenizer": "tokenizer.json",
        "dimensions": 3,
        "max_tokens": 512,
        "price": {"machine_hour": 1.0},
    }
    project.edit("models", embeddings={"served": served})
    project.edit("release", embedding="served")
    (project.root / "tokenizer.json").write_text("{}")
    assert open_embedder(open_workspace(), "served", silent).name == "served"
