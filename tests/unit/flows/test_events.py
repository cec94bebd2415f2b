"""Events as Prefect's own recording client sees them, and the automation of docs/releases.md."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from ruamel.yaml import YAML

from flows.events import Happening, announce, announce_move
from tests.unit.flows.evaluations import registered

DOCS = Path(__file__).resolve().parents[3] / "docs" / "releases.md"


@pytest.fixture
def sent() -> Iterator[list]:
    """What Prefect's worker would send to the server."""
    from prefect.events.clients import AssertingEventsClient
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        EventsWorker.set_client_override(AssertingEventsClient)
        try:
            yield AssertingEventsClient.all
        finally:
            EventsWorker.set_client_override(None)
            AssertingEventsClient.reset()


def drained(sent: list) -> list:
    """Every event so far, when the worker is done with it."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all()
    return [event for client in sent for event in client.events]


def test_a_promotion_is_an_event_about_the_release(sent, workspace):
    release = registered(workspace)
    with workspace.registry() as registry:
        move = registry.promote(
            release.digest, expected_champion=None, who="a", why="because", override=True
        )
    announce_move(workspace, move)
    [event] = drained(sent)
    assert event.event == "ratchet.release.promoted"
    assert event.resource["prefect.resource.id"] == f"ratchet.release.{release.digest}"
    assert event.resource["prefect.resource.name"] == release.label
    assert event.payload["why"] == "because"
    assert event.payload["who"] == "a"
    assert event.payload["replaced"] is None
    assert event.resource["ratchet.channel"] == "production"


def test_a_promotion_to_staging_is_no_promotion(sent, workspace):
    release = registered(workspace)
    with workspace.registry() as registry:
        move = registry.promote(
            release.digest,
            expected_champion=None,
            who="a",
            why="try",
            override=True,
            channel="staging",
        )
    announce_move(workspace, move)
    [event] = drained(sent)
    assert event.event == "ratchet.release.staged"
    assert event.resource["ratchet.channel"] == event.payload["channel"] == "staging"


def test_a_rollback_says_what_it_replaced_and_doing_nothing_says_nothing(sent, workspace):
    first, second = registered(workspace), registered(workspace, 1)
    with workspace.registry() as registry:
        for release in (first, second):
            registry.promote(
                release.digest,
                expected_champion=registry.champion_digest(),
                who="a",
                why="b",
                override=True,
            )
        move = registry.rollback(who="a", why="slow")
        again = registry.rollback(first.digest, who="a", why="slow")
    announce_move(workspace, move)
    assert not again.changed
    announce_move(workspace, again)
    [event] = drained(sent)
    assert event.event == "ratchet.release.rolled_back"
    assert event.payload["release"] == first.label
    assert event.payload["replaced"] == second.digest


@pytest.mark.parametrize("happening", ["held", "rejected"])
def test_a_verdict_names_its_decision(sent, workspace, happening):
    announce(happening, registered(workspace), why="too few cases", decision="abc")
    [event] = drained(sent)
    assert event.event == f"ratchet.release.{happening}"
    assert event.payload["decision"] == "abc"


def test_the_documented_automation_is_one_that_prefect_takes_and_that_fires(sent, workspace):
    from prefect.events.schemas.automations import AutomationCore
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import ReceivedEvent

    [text] = re.findall(r"```yaml\n(name: .*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    content = YAML(typ="safe").load(text)
    automation = AutomationCore.model_validate(content)
    trigger = EventTrigger.model_validate(automation.trigger.model_dump(mode="json"))
    fires = {}
    for happening in get_args(Happening):
        event = announce(happening, registered(workspace), why="x")
        received = ReceivedEvent.model_validate(event.model_dump(mode="json"))
        fires[happening] = trigger.covers(received)
    assert {happening for happening, fired in fires.items() if fired} == {"rolled_back", "rejected"}
