"""The nightly flow on a real Prefect server, with a model whose quality the test decides."""

import pytest

from flows.nightly import nightly

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_api")]


def run(**parameters):
    state = nightly(**parameters, return_state=True)
    return state.name, state.result()


def champion(project):
    from registry import Registry

    with Registry(None, project.home) as registry:
        return registry.champion()


def test_the_first_release_is_promoted_and_the_next_run_finds_nothing_to_do(project, double):
    name, outcome = run(release="configs/baseline.yaml")
    assert (name, outcome.verdict, outcome.promoted) == ("Promoted", "PROMOTE", True)
    live = champion(project)
    assert live is not None
    assert live.prompt.name == "baseline"
    assert len(double.requests) == len(project.cases)

    view = project.home.path("champion.json").read_bytes()
    name, outcome = run(release="configs/baseline.yaml")
    assert (name, outcome.verdict, outcome.decision) == ("Unchanged", "UNCHANGED", None)
    assert len(double.requests) == len(project.cases)
    assert project.home.path("champion.json").read_bytes() == view
