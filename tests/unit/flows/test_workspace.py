import getpass
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows.workspace import actor, find_root, open_workspace
from tasks.errors import ConfigError


def test_the_project_is_found_from_any_directory_below_it(project, monkeypatch):
    monkeypatch.delenv("RATCHET_PROJECT")
    assert find_root(project.root / "configs" / "prompts") == project.root
    monkeypatch.chdir(project.root / "data")
    assert find_root() == project.root


def test_the_environment_names_the_project_whatever_the_directory_is(project, tmp_path):
    assert find_root(tmp_path) == project.root


def test_outside_a_project_the_error_says_what_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("RATCHET_PROJECT", raising=False)
    with pytest.raises(ConfigError, match=r"expected configs/release\.yaml") as caught:
        find_root(tmp_path)
    assert "RATCHET_PROJECT" in caught.value.next_step


def test_a_workspace_has_the_settings_of_the_files_and_its_state_beside_them(project):
    workspace = open_workspace()
    assert workspace.project.root == project.root
    assert workspace.project.release.prompt == "answer"
    assert workspace.home.root == project.root / ".ratchet"
    # Looking changes nothing.
    assert not workspace.home.root.exists()


def test_a_run_may_change_release_prompt_passages_and_cases(project):
    project.edit("baseline", retrieval={"top_k": 1})
    changed = open_workspace(
        release="configs/baseline.yaml", prompt="answer", top_k=7, cases=2
    ).project
    assert changed.release.prompt == "answer"
    assert changed.release.retrieval.top_k == 7
    assert changed.evaluate.cases == 2
    assert changed.release.chunking == open_workspace().project.release.chunking
    assert open_workspace(release="configs/baseline.yaml").project.release.retrieval.top_k == 1


@pytest.mark.parametrize("change", [{"top_k": 0}, {"top_k": 101}, {"cases": 0}, {"cases": -3}])
def test_a_change_is_checked_like_a_line_of_a_file(project, change):
    [(name, value)] = change.items()
    with pytest.raises(ConfigError, match=f"{name} is {value}: Input should be"):
        open_workspace(**change)


def test_a_release_file_that_is_not_there_is_named(project):
    with pytest.raises(ConfigError, match=r"no file '.*nightly\.yaml'"):
        open_workspace(release="configs/nightly.yaml")


def test_the_registry_is_in_the_state_directory_unless_the_settings_name_another(
    project, workspace, tmp_path
):
    with workspace.registry() as registry:
        assert registry.champion() is None
    assert workspace.home.path("registry.db").is_file()
    project.edit("services", registry={"url": f"sqlite:///{tmp_path / 'other.db'}"})
    with open_workspace().registry():
        assert (tmp_path / "other.db").is_file()


def test_a_run_has_one_budget_for_all_its_doors_and_the_next_run_another(project, workspace):
    project.edit("evaluate", budget={"run": 2.0})
    run = open_workspace()
    other_model = replace(run, project=run.project.model_copy())
    assert other_model.budget("USD") is run.budget("USD")
    assert run.budget("USD").run == 2.0
    assert open_workspace().budget("USD") is not run.budget("USD")


def test_who_runs_it_is_the_user_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setenv("RATCHET_ACTOR", "nightly@ci")
    assert actor() == "nightly@ci"
    monkeypatch.setenv("RATCHET_ACTOR", "")
    assert actor() == getpass.getuser()


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_without_a_name_is_named_by_number():
    program = "import os\nfrom flows.workspace import actor\nos.setuid(54321)\nprint(actor())"
    bare = {"PATH": os.environ["PATH"]}
    output = subprocess.check_output([sys.executable, "-c", program], env=bare, cwd=Path.cwd())
    assert output.decode().strip() == "user 54321"
