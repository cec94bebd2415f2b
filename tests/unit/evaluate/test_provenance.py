import platform
import subprocess

from tasks.evaluate.provenance import read_provenance


def git(root, *arguments):
    options = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", str(root), *options, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_commit_and_whether_files_differ_from_it(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a").write_text("1")
    git(tmp_path, "add", "configs")
    git(tmp_path, "commit", "-q", "-m", "one")
    clean = read_provenance(tmp_path)
    assert clean.git_commit == git(tmp_path, "rev-parse", "HEAD")
    assert clean.git_dirty is False
    assert clean.clean
    (tmp_path / "configs" / "a").write_text("2")
    assert read_provenance(tmp_path).git_dirty is True
    assert not read_provenance(tmp_path).clean


def test_a_new_prompt_counts_as_a_difference_and_a_note_of_a_developer_does_not(tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "one")
    (tmp_path / "todo.txt").write_text("buy milk")
    assert read_provenance(tmp_path).git_dirty is False
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "new.yaml").write_text("1")
    assert read_provenance(tmp_path).git_dirty is True


def test_outside_a_repository_the_commit_is_unknown_and_nothing_is_said_about_files(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "inner").mkdir()
    found = read_provenance(tmp_path / "inner")
    assert (found.git_commit, found.git_dirty) == (None, None)


def test_without_git_the_commit_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = read_provenance(tmp_path)
    assert (found.git_commit, found.git_dirty) == (None, None)


def test_versions_of_all_that_a_number_depends_on_are_named(tmp_path):
    versions = read_provenance(tmp_path).versions
    assert versions["python"] == platform.python_version()
    assert {"torch", "faiss-cpu", "ragas"} <= set(versions)
    assert all(versions.values())
