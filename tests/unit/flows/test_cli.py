import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from flows.cli import app

HEAVY = {
    "datasets",
    "faiss",
    "ir_measures",
    "matplotlib",
    "mlflow",
    "openai",
    "pandas",
    "prefect",
    "pyarrow",
    "ragas",
    "scipy",
    "sentence_transformers",
    "sklearn",
    "torch",
    "transformers",
}


def commands() -> list[tuple[str, ...]]:
    """Every command, also hidden ones and those of a group."""
    top = typer.main.get_command(app)
    found: list[tuple[str, ...]] = []
    for name, command in getattr(top, "commands", {}).items():
        inner = getattr(command, "commands", None)
        found += [(name, each) for each in inner] if inner else [(name,)]
    return found


def test_the_commands_are_those_that_the_product_promises():
    names = {" ".join(path) for path in commands()}
    runs = {"nightly", "reindex", "evaluate", "demo", "suite check", "replay", "measures"}
    runs |= {"cache show", "cache prune", "cache clear"}
    gate = {"gate plan", "gate noise", "gate budget"}
    people = {"label import"} | {
        f"judge {name}" for name in ("calibrate", "anchor", "rejudge", "status")
    }
    releases = {"ask", "releases", "show", "diff", "history"}
    releases |= {f"index {name}" for name in ("show", "diff", "search", "stats", "push", "pull")}
    releases |= {"promote", "rollback", "anchor", "verify", "gc", "registry sync"}
    servers = {"up", "down", "status", "doctor", "serve probe", "serve bench"}
    stages = {"stage corpus", "stage index", "stage evaluate", "stage decide"}
    assert names == runs | gate | people | releases | servers | stages


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_the_help_of_a_command_has_an_example_that_the_command_takes(ratchet, path):
    shown = ratchet(*path, "--help")
    assert shown.exit_code == 0
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", shown.stdout).split())
    found = re.search(r"Example: (ratchet [^│]+?)(?= Arguments| Options)", text)
    assert found, text
    assert found[1].startswith(" ".join(("ratchet", *path)))
    options = set(re.findall(r"(?<!\S)--[a-z-]+", found[1]))
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert options <= known


def test_without_a_command_the_help_is_shown(ratchet):
    shown = ratchet()
    assert "Usage" in shown.output
    assert "Exit codes" in ratchet("--help").stdout
    # Stages are for dvc.yaml.
    assert "stage" not in ratchet("--help").stdout


def test_a_command_that_is_none_is_bad_input(ratchet):
    shown = ratchet("promte")
    assert shown.exit_code == 2
    assert "No such command 'promte'" in shown.stderr
    assert "--help" in shown.stderr


def test_the_command_line_starts_without_a_heavy_library():
    program = "import json, sys, flows.cli\nprint(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", program], cwd=Path.cwd()))
    assert not HEAVY & set(loaded)
    assert "flows.commands.runs" in loaded


def test_importing_the_command_line_changes_nothing(tmp_path):
    program = (
        "import logging, os, sys\n"
        "before = (dict(os.environ), logging.root.handlers[:], logging.root.level)\n"
        "import flows.cli\n"
        "assert before == (dict(os.environ), logging.root.handlers, logging.root.level)\n"
    )
    path = [str(Path.cwd()), *sys.path]
    subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path[:0] = {path}\n{program}"],
        check=True,
        cwd=tmp_path,
    )
    assert list(tmp_path.iterdir()) == []
