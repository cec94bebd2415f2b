import json

import pytest

from flows.steps.index import IndexRef, snapshot_corpus, wanted_release
from flows.steps.reindex_report import write_reindex_report
from flows.workspace import open_workspace
from tasks.corpus.stored import open_snapshot
from tasks.index.build import build_index
from tests.embedders import HashingEmbedder
from tests.unit.flows.conftest import publish, silent


@pytest.fixture
def two(project, release):
    """A second version from the first one: a document is new, one changed, one gone."""
    project.note("dates")
    project.note("apples", "Keep apples warm.\n")
    (project.root / "data" / "notes" / "bread.md").unlink()
    workspace = open_workspace()
    snapshot = snapshot_corpus(workspace, silent)
    wanted = wanted_release(workspace, snapshot.digest)
    model = HashingEmbedder()
    model.digest = wanted.embedding_digest
    room = workspace.home.room("index")
    build_index(
        open_snapshot(snapshot.directory),
        wanted.chunking,
        model,
        room=room,
        previous=room / release.index_digest,
    )
    with workspace.registry() as registry:
        registry.register(wanted, who="tester")
    return release, wanted


def test_a_version_is_shown_by_its_digest_and_by_its_release(ratchet, release):
    for name in (release.index_digest[:8], release.digest[:8]):
        shown = ratchet("index", "show", name)
        assert shown.exit_code == 0, shown.output
        assert "3 documents, 3 chunks" in shown.stdout
        assert "exact" in shown.stdout
    found = json.loads(ratchet("index", "show", release.digest[:8], "--json").stdout)
    assert found["digest"] == release.index_digest
    assert [segment["chunks"] for segment in found["segments"]] == [3]


def test_the_chunks_of_a_version_are_drawn_into_a_file(ratchet, two, tmp_path):
    old, new = (release.digest[:8] for release in two)
    file = tmp_path / "index.svg"
    shown = ratchet("index", "show", new, "--picture", str(file), "--against", old)
    assert shown.exit_code == 0, shown.output
    assert file.read_bytes().startswith(b"<?xml")
    assert "Picture: " in shown.stdout
    wrong = ratchet("index", "show", new, "--picture", "index.xls")
    assert wrong.exit_code == 2
    assert "png, svg, pdf" in wrong.stderr


def test_a_report_is_written_once_and_names_what_differs(two, workspace):
    old, new = two
    index = IndexRef(new.index_digest, 3, 2, 1)
    ref = write_reindex_report(workspace, old, index, None)
    page = ref.page.read_text(encoding="utf-8")
    for name in ("notes/dates.md", "notes/apples.md", "notes/bread.md"):
        assert name in page
    facts = json.loads((ref.directory / "reindex.json").read_text())
    assert (facts["chunks_new"], facts["chunks_removed"], facts["embedded"]) == (2, 2, 2)
    assert ref.picture.read_bytes().startswith(b"\x89PNG")
    (ref.directory / "mlflow.json").write_text("{}")
    # A second run embeds nothing; the report still says what the first one did.
    write_reindex_report(workspace, old, IndexRef(new.index_digest, 3, 0, 3), None)
    assert json.loads((ref.directory / "reindex.json").read_text()) == facts
    assert (ref.directory / "mlflow.json").exists()
    # Beside another champion it is another report, and MLflow gets it again.
    write_reindex_report(workspace, None, IndexRef(new.index_digest, 3, 0, 3), None)
    assert json.loads((ref.directory / "reindex.json").read_text())["live"] is None
    assert not (ref.directory / "mlflow.json").exists()


def test_two_versions_are_compared_by_documents_and_by_texts(ratchet, two):
    old, new = (release.digest[:8] for release in two)
    found = json.loads(ratchet("index", "diff", old, new, "--json").stdout)
    assert found["documents"] == {
        "added": ["notes/dates.md"],
        "changed": ["notes/apples.md"],
        "removed": ["notes/bread.md"],
    }
    counts = [found[f"chunks_{name}"] for name in ("added", "removed", "shared")]
    assert counts == [2, 2, 1]
    shown = ratchet("index", "diff", old, new)
    assert "2 added, 2 removed, 1 the same" in shown.stdout


def test_what_everything_takes_is_counted_once(ratchet, two):
    found = json.loads(ratchet("index", "stats", "--json").stdout)
    assert found["versions"] == 2
    assert list(found["cached_texts"].values()) == [5]
    assert found["segment_bytes"] <= found["bytes_without_sharing"]
    assert "5 texts of 1 model(s)" in ratchet("index", "stats").stdout


def test_a_version_that_is_not_there_is_named(ratchet, workspace):
    missing = ratchet("index", "show", "0123456789ab")
    assert missing.exit_code == 2
    gone = publish(workspace)
    directory = workspace.home.path("index", gone.index_digest)
    directory.rename(directory.with_name("." + directory.name))
    assert "ratchet reindex" in ratchet("index", "show", gone.digest[:8]).stderr


def test_searching_wants_the_model_of_the_version(ratchet, project, release):
    project.edit(
        "models",
        embeddings={
            "all-minilm-l6-v2": {
                "sources": [{"kind": "path", "path": str(project.root / "no-model")}],
                "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "dimensions": 384,
                "max_tokens": 256,
            },
            "hashing": {
                "sources": [{"kind": "path", "path": str(project.root / "no-model")}],
                "sha256": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                "dimensions": 384,
                "max_tokens": 256,
            },
        },
    )
    found = ratchet("index", "search", "apples", "--index", release.index_digest[:8])
    assert found.exit_code == 1
    assert "no-model" in found.stderr


def test_a_version_is_pushed_to_a_store_and_pulled_by_another_machine(
    ratchet, project, two, monkeypatch
):
    url = f"file://{project.root}/store"
    project.edit("services", storage={"url": url})
    _, new = two
    pushed = ratchet("index", "push", new.digest[:8], "--embeddings")
    assert pushed.exit_code == 0, pushed.output
    assert "pushed: " in pushed.stdout
    # Another machine has no registry that knows the release; the index's digest is enough.
    monkeypatch.setenv("RATCHET_HOME", str(project.root / "elsewhere"))
    found = json.loads(
        ratchet("index", "pull", new.index_digest[:8], "--url", url, "--json").stdout
    )
    assert found["files"] > 3
    assert "3 documents" in ratchet("index", "show", new.index_digest[:8]).stdout
    unknown = ratchet("index", "pull", "0123456789ab")
    assert unknown.exit_code == 2
    assert new.index_digest[:12] in unknown.stderr


def test_without_a_store_nothing_can_be_pushed(ratchet, release):
    refused = ratchet("index", "push", release.index_digest[:8])
    assert refused.exit_code == 2
    assert "--url" in refused.stderr


@pytest.mark.usefixtures("served")
def test_a_search_says_which_part_found_what(ratchet):
    release = publish(open_workspace())
    by_release = json.loads(
        ratchet("index", "search", "store bread", "--index", release.digest[:8], "--json").stdout
    )
    # As the release searches: dense, four passages; here are three.
    assert [row["dense_rank"] for row in by_release] == [1, 2, 3]
    assert {row["lexical_rank"] for row in by_release} == {None}
    hybrid = ["--index", release.index_digest[:8], "--kind", "hybrid", "--json"]
    found = json.loads(ratchet("index", "search", "bread", *hybrid).stdout)
    assert found[0]["doc_id"] == "notes/bread.md"
    assert [found[0][f"{name}_rank"] for name in ("dense", "lexical", "fused")] == [1, 1, 1]
    # Only one note has the word; the others are near it, if anything.
    assert [row["lexical_rank"] for row in found[1:]] == [None, None]
    shown = ratchet("index", "search", "bread", *hybrid[:-1])
    assert "words" in shown.stdout
    assert "notes/bread.md" in shown.stdout


@pytest.mark.usefixtures("served")
def test_a_search_looks_only_where_its_filters_say(ratchet):
    release = publish(open_workspace())
    search = ["index", "search", "bread", "--index", release.digest[:8]]
    found = ratchet(*search, "--filter", "source=elsewhere", "--json")
    assert json.loads(found.stdout) == []
    found = ratchet(*search, "--filter", "source=elsewhere", "--filter", "source=notes", "--json")
    assert len(json.loads(found.stdout)) == 3
    wrong = ratchet(*search, "--filter", "source")
    assert wrong.exit_code == 2
    assert "name=value" in wrong.stderr
    unknown = ratchet(*search, "--rerank", "nobody")
    assert unknown.exit_code == 2
    assert "nobody" in unknown.stderr
