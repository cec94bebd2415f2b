import json

import pytest
import typer
from typer.testing import CliRunner

from flows.commands.budget import SHOWN, budget
from tasks.digest import text_digest
from tests.unit.flows.evaluations import POLICY, registered

SUITE, JUDGE = text_digest("suite"), text_digest("judge")


@pytest.fixture(name="show")
def show_fixture(project, tmp_path):
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY)
    app = typer.Typer()
    app.command()(budget)

    def show(*arguments):
        shown = CliRunner().invoke(app, ["--policy", str(policy), *arguments])
        assert shown.exit_code == 0, shown.output
        return shown.stdout

    return show


@pytest.fixture
def spend(workspace):
    old, new = registered(workspace), registered(workspace, 1)

    def spend_one(name, *, suite=SUITE, verdict=None):
        with workspace.registry() as registry:
            spent = registry.spend_look(
                suite=suite,
                judge=JUDGE,
                policy_digest=text_digest("policy"),
                challenger=new.digest,
                champion=old.digest,
                challenger_log=text_digest(name),
                champion_log=text_digest("log"),
                rule="inverse_square",
                alpha=0.05,
                who="tester",
            )
            if verdict:
                registry.record_decision(
                    text_digest(f"decision {name}"),
                    verdict=verdict,
                    challenger=new.digest,
                    champion=old.digest,
                    who="tester",
                    look=spent.id,
                )
        return spent

    return spend_one


def test_before_the_first_look_it_says_what_spends_one(show):
    assert "ratchet nightly" in show()
    assert json.loads(show("--json")) == []


def test_each_suite_shows_its_looks_what_they_ended_with_and_what_is_left(show, spend):
    spend("a", verdict="HOLD")
    spend("b")
    spend("c", suite=text_digest("more cases"), verdict="PROMOTE")
    lines = show().splitlines()
    [first, second] = [line for line in lines if line.startswith("Suite")]
    # Two looks of 0.05 * 6 / pi^2 / t^2: 0.0304 and 0.00760; 0.0120 is left.
    assert first.startswith(f"Suite {SUITE[:12]}, judge {JUDGE[:12]}: 2 looks, alpha spent 0.0380")
    assert "left 0.0120, of it for the next look 0.00338" in first
    assert "1 look, alpha spent 0.0304, left 0.0196" in second
    ended = [line.split()[-2:] for line in lines if line.startswith("   1 ") or " 2 " in line[:6]]
    assert ended == [["0.0304", "HOLD"], ["0.00760", "undecided"], ["0.0304", "PROMOTE"]]


def test_json_has_every_look_with_unrounded_numbers(show, spend):
    spent = [spend(f"{night}") for night in range(SHOWN + 2)]
    [found] = json.loads(show("--json"))
    assert (found["suite"], found["judge"]) == (SUITE, JUDGE)
    assert [look["alpha"] for look in found["looks"]] == [each.look.alpha for each in spent]
    assert found["left"] == pytest.approx(0.05 - found["spent"])
    assert found["looks"][0]["verdict"] is None
    assert "2 earlier looks: --json" in show()
