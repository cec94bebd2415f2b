import json

from tasks.digest import text_digest
from tasks.serve.cache import CachedCall, CallCache


def fill(project) -> None:
    with CallCache(project.home / "cache") as cache:
        for number in range(3):
            call = CachedCall("{}", 1.0, None, model="tiny", purpose="judge")
            cache.put(text_digest(str(number)), call)
        cache.put(text_digest("a"), CachedCall("{}", 1.0, None, model="tiny", purpose="answer"))


def test_the_cache_is_shown_by_model_and_purpose(ratchet, project):
    fill(project)
    shown = ratchet("cache", "show")
    assert shown.exit_code == 0, shown.output
    assert "judge" in shown.stdout
    assert "4 answers" in shown.stdout
    found = json.loads(ratchet("cache", "show", "--json").stdout)
    assert found["entries"] == 4
    assert {group["purpose"]: group["entries"] for group in found["groups"]} == {
        "judge": 3,
        "answer": 1,
    }


def test_only_what_was_named_is_pruned(ratchet, project):
    fill(project)
    assert json.loads(ratchet("cache", "prune", "--purpose", "judge", "--json").stdout) == {
        "removed": 3
    }
    assert "0 answers" in ratchet("cache", "prune", "--older-than", "1").stdout


def test_nothing_is_removed_without_being_asked_for(ratchet, project):
    fill(project)
    for command in (("cache", "prune"), ("cache", "clear")):
        refused = ratchet(*command)
        assert refused.exit_code == 2
        assert "ratchet cache clear --yes" in refused.stderr
    assert "4 answers" in ratchet("cache", "clear", "--yes").stdout
