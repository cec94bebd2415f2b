"""What a run says of itself, as Prefect keeps it."""

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows import show
from flows.show import prefect_progress

pytestmark = pytest.mark.integration


def test_prefect_keeps_what_was_done_and_what_the_calls_took(prefect_api, monkeypatch):
    monkeypatch.setattr(show, "EVERY_S", 0.05)

    @flow
    def run() -> None:
        with prefect_progress("shown") as progress:
            progress("answer", 1, 4)
            progress("calls: 3 made, 1 cached, 0 failed, 2.5 EUR", 0, 0)
            progress("answer", 4, 4)

    run()
    with get_client(sync_client=True) as client:
        [artifact] = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["shown"]))
        )
    assert artifact.data == 100.0
    assert artifact.description == "answer 4/4; calls: 3 made, 1 cached, 0 failed, 2.5 EUR"
