import json
import math
import multiprocessing
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.store import Home, locked, new_directory, write_atomic, write_json, write_lines


def contents(directory):
    return sorted(path.name for path in directory.iterdir())


def test_home_is_below_the_project_unless_the_environment_names_another(tmp_path, monkeypatch):
    monkeypatch.delenv("RATCHET_HOME", raising=False)
    assert Home.find(tmp_path).root == tmp_path / ".ratchet"
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path / "elsewhere"))
    assert Home.find(tmp_path).root == tmp_path / "elsewhere"


def test_looking_at_a_home_makes_nothing_and_opening_a_room_makes_it(tmp_path):
    home = Home(tmp_path / "state")
    assert home.path("evals", "abc") == tmp_path / "state" / "evals" / "abc"
    assert not home.root.exists()
    assert home.room("evals").is_dir()
    assert home.room("evals") == home.path("evals")


def test_a_file_is_written_with_its_parents_and_is_readable_by_others(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomic(path, "ü")
    assert path.read_bytes() == "ü".encode()
    write_atomic(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert contents(path.parent) == ["b.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "manifest.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"value": math.nan})
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "\ud800")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "x")
    assert json.loads(path.read_text()) == {"value": 1}
    assert contents(tmp_path) == ["folder", "manifest.json"]


def _write_many(path: Path, letter: str) -> None:
    for _ in range(30):
        write_atomic(path, letter * 100_000)


def test_a_reader_sees_the_old_or_the_new_content_and_never_a_part(tmp_path):
    path = tmp_path / "shared"
    write_atomic(path, "a" * 100_000)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        text = path.read_text()
        seen.add((len(text), len(set(text))))
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen == {(100_000, 1)}


def test_json_is_the_same_text_for_the_same_content(tmp_path):
    write_json(tmp_path / "a", {"b": 1, "a": "ü"})
    write_json(tmp_path / "b", {"a": "ü", "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_text().endswith("}\n")


def test_a_directory_appears_whole_or_not_at_all(tmp_path):
    final = tmp_path / "room" / "abc"
    with new_directory(final) as partial:
        (partial / "part").mkdir()
        (partial / "part" / "file").write_text("x")
        assert not final.exists()
    assert contents(final.parent) == ["abc"]
    assert (final / "part" / "file").read_text() == "x"
    assert stat.S_IMODE(final.stat().st_mode) == 0o755


def test_a_directory_whose_making_fails_leaves_nothing(tmp_path):
    final = tmp_path / "abc"

    def fail():
        with new_directory(final) as partial:
            (partial / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert contents(tmp_path) == []


def test_of_two_that_make_the_same_directory_the_first_wins_and_both_are_done(tmp_path):
    final = tmp_path / "abc"
    with new_directory(final) as second:
        (second / "file").write_text("second")
        with new_directory(final) as first:
            (first / "file").write_text("first")
    assert (final / "file").read_text() == "first"
    assert contents(tmp_path) == ["abc"]


def test_a_lock_keeps_another_process_out_and_ends_with_its_holder(tmp_path):
    path = tmp_path / "locks" / "one"
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom tasks.store import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path.cwd()) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        asks = multiprocessing.get_context("fork").Process(target=_take, args=(path,))
        asks.start()
        asks.join(timeout=0.3)
        assert asks.is_alive()
        holder.kill()
        asks.join(timeout=10)
        assert asks.exitcode == 0


def _take(path: Path) -> None:
    with locked(path):
        os._exit(0)


def test_lines_are_written_all_or_none(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_lines(path, ("a", "ä"))
    assert path.read_text(encoding="utf-8") == "a\nä\n"

    def dies():
        yield "b"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_lines(path, dies())
    assert path.read_text(encoding="utf-8") == "a\nä\n"
    assert contents(tmp_path) == ["rows.jsonl"]
