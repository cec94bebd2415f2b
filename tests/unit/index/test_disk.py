import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.errors import SetupError
from tasks.index.build import build_index
from tasks.index.disk import free_bytes, needed_bytes
from tasks.index.search import open_index
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import CHUNKING, build, corpus


def test_a_disk_that_is_too_small_is_found_before_anything_is_embedded(tmp_path: Path):
    first = build(tmp_path, corpus())
    model = HashingEmbedder()
    with pytest.raises(SetupError, match=r"has 1,000,000; [\d,]+ bytes are missing") as raised:
        build_index(
            corpus(doc1="New."),
            CHUNKING,
            model,
            room=tmp_path,
            previous=first.directory,
            free=lambda path: 1_000_000,
        )
    assert raised.value.missing > 0
    assert model.texts == []
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert open_index(first.directory, model).search(["text"], top_k=1)


def test_more_rows_texts_and_documents_need_more_room():
    base = {"rows": 1_000, "dimensions": 384, "embedded": 1_000, "documents": 100}
    for name in base:
        assert needed_bytes(**base | {name: 2_000}) > needed_bytes(**base)
    assert needed_bytes(**base) > 1_000 * 384 * 4 * 2


def test_room_is_known_for_a_directory_that_will_be(tmp_path: Path):
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(free_bytes(tmp_path), rel=0.1)


LIMITED = """
import resource, sys
from pathlib import Path
from tests.embedders import HashingEmbedder
from tests.unit.index.test_build import build, corpus

first = Path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
build(Path(sys.argv[1]), corpus(doc1="New. " * 400), first)
"""


@pytest.mark.parametrize("limit", [0, 2_000, 8_000, 30_000])
def test_a_disk_that_fills_up_meanwhile_leaves_the_old_version(tmp_path: Path, limit: int):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    first = build(tmp_path, corpus())
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(first.directory), str(limit)]
    failed = subprocess.run(command, check=False, cwd=Path.cwd(), capture_output=True, text=True)
    assert failed.returncode == 1
    assert "ratchet gc --yes" in failed.stderr, failed.stderr
    assert open_index(first.directory, HashingEmbedder()).search(["text"], top_k=1)
    again = build(tmp_path, corpus(doc1="New. " * 400), first.directory)
    assert open_index(again.directory, HashingEmbedder()).search(["New"], top_k=1)
