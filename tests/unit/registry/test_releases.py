import pytest

from registry.releases import ReleaseFiles, resolve
from tasks.errors import CorruptArtifact, RegistryError

LABELS = {"abc1" + "0" * 60: "answer@abc1", "abc2" + "0" * 60: "brief@abc2"}
FIRST, SECOND = LABELS


def test_a_release_comes_back_as_it_was_stored(tmp_path, make_release):
    files = ReleaseFiles(tmp_path)
    release = make_release()
    assert files.load(files.save(release)) == release
    assert files.path(release.digest).name == f"{release.digest}.json"


def test_a_stored_release_is_never_written_again(tmp_path, make_release):
    files = ReleaseFiles(tmp_path)
    release = make_release()
    files.save(release)
    renamed = release.model_copy(
        update={"prompt": release.prompt.model_copy(update={"name": "other"})}
    )
    assert files.save(renamed) == release.digest
    assert files.load(release.digest).prompt.name == "answer"


def test_a_release_that_was_changed_is_found_out(tmp_path, make_release):
    files = ReleaseFiles(tmp_path)
    path = files.path(files.save(make_release()))
    path.write_text(path.read_text().replace('"top_k": 4', '"top_k": 5'))
    with pytest.raises(CorruptArtifact, match="it was changed"):
        files.load(path.stem)
    path.write_text("{}")
    with pytest.raises(CorruptArtifact, match="is not a release"):
        files.load(path.stem)


def test_a_release_that_is_not_there_is_none(tmp_path):
    assert ReleaseFiles(tmp_path).load(FIRST) is None


@pytest.mark.parametrize("name", [FIRST, "abc1", "ABC1", " abc10 ", "answer@abc1"])
def test_a_name_finds_its_release(name):
    assert resolve(name, labels=LABELS) == FIRST


def test_an_ambiguous_name_lists_what_it_may_mean():
    with pytest.raises(RegistryError, match="means 2 releases: answer@abc1, brief@abc2") as caught:
        resolve("abc", labels=LABELS)
    assert caught.value.candidates == (FIRST, SECOND)


@pytest.mark.parametrize("name", ["abd", "", "   ", "answer"])
def test_an_unknown_name_says_what_there_is(name):
    with pytest.raises(RegistryError, match="the newest are answer@abc1, brief@abc2"):
        resolve(name, labels=LABELS)


def test_with_nothing_registered_the_error_says_so():
    with pytest.raises(RegistryError, match="none is known"):
        resolve("abc", labels={})
