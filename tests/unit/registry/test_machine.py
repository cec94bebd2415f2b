"""Any order of registrations, promotions, rollbacks and crashes leaves one whole champion."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from registry import Registry
from registry.verify import verify_ledger
from tasks.digest import text_digest
from tasks.errors import PromotionConflict, RegistryError
from tasks.store import Home
from tests.unit.registry.conftest import POSTGRESQL

NUMBERS = st.integers(0, 3)


class RegistryMachine(RuleBasedStateMachine):
    make_release = None
    make_url = None

    @initialize()
    def start(self):
        self.directory = Path(tempfile.mkdtemp())
        self.home = Home(self.directory)
        self.releases = [type(self).make_release(number) for number in range(4)]
        for release in self.releases:
            self.home.path("index", release.index_digest).mkdir(parents=True)
        self.url = type(self).make_url()
        self.registry = Registry(self.url, self.home)
        self.registered = set()
        self.decided = set()
        self.used = set()
        self.line = []
        self.length = 0

    def teardown(self):
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)

    def digest(self, number):
        return self.releases[number].digest

    @property
    def champion(self):
        return self.line[-1] if self.line else None

    @rule(number=NUMBERS)
    def register(self, number):
        self.registry.register(self.releases[number], who="test")
        self.registered.add(number)

    @rule(challenger=NUMBERS, champion=st.none() | NUMBERS)
    def decide(self, challenger, champion):
        if not {challenger, champion} - {None} <= self.registered or challenger == champion:
            return
        self.registry.record_decision(
            text_digest(f"{challenger} {champion}"),
            verdict="PROMOTE",
            challenger=self.digest(challenger),
            champion=None if champion is None else self.digest(champion),
            who="gate",
        )
        self.decided.add((challenger, champion))

    @rule(challenger=NUMBERS, expected=st.none() | NUMBERS)
    def promote(self, challenger, expected):
        self._promote(challenger, expected)

    @rule(challenger=NUMBERS)
    def promote_against_the_champion(self, challenger):
        self.decide(challenger, self.champion)
        self._promote(challenger, self.champion)

    def _promote(self, challenger, expected):
        pair = (challenger, expected)
        before = self.line.copy()
        allowed = (
            pair in self.decided
            and pair not in self.used
            and expected == self.champion
            and challenger in self.registered
        )
        try:
            move = self.registry.promote(
                self.digest(challenger),
                expected_champion=None if expected is None else self.digest(expected),
                decision_digest=text_digest(f"{challenger} {expected}"),
                who="test",
                why="better",
            )
        except (RegistryError, PromotionConflict):
            assert not allowed
            assert self.line == before
            return
        if move.changed:
            assert allowed
            self.used.add(pair)
            self.line.append(challenger)
        else:
            assert self.champion == challenger

    @rule(number=NUMBERS)
    def override(self, number):
        if number not in self.registered:
            return
        move = self.registry.promote(
            self.digest(number),
            expected_champion=self.registry.champion_digest(),
            who="test",
            why="because",
            override=True,
        )
        assert move.changed == (number != self.champion)
        if move.changed:
            self.line.append(number)

    @rule()
    def rollback(self):
        try:
            self.registry.rollback(who="test", why="bad")
        except RegistryError:
            assert len(self.line) < 2
        else:
            self.line.pop()

    @rule()
    def open_again(self):
        self.registry.close()
        self.registry = Registry(self.url, self.home)

    @rule(content=st.sampled_from([None, "", "{", '{"digest": "x"}']))
    def die_before_the_view_was_written(self, content):
        if content is None:
            self.registry.view.unlink(missing_ok=True)
        else:
            self.registry.view.write_text(content)
        self.open_again()

    @invariant()
    def one_whole_champion_is_live(self):
        if not hasattr(self, "registry"):
            return
        champion = self.registry.champion()
        if self.champion is None:
            assert champion is None
            assert not self.registry.view.exists()
        else:
            assert champion == self.releases[self.champion]
            view = json.loads(self.registry.view.read_text())
            assert view["release"] == champion.model_dump(mode="json")
        assert sum(row.champion for row in self.registry.releases()) == bool(self.line)

    @invariant()
    def the_chain_is_unbroken_and_the_pointers_fit_it(self):
        if not hasattr(self, "registry"):
            return
        with self.registry._ledger.reading() as connection:
            found, _ = verify_ledger(self.registry._ledger, connection)
        assert found.fits, found.misfit

    @rule(number=NUMBERS)
    def stage(self, number):
        if number in self.registered:
            self.registry.promote(
                self.digest(number),
                expected_champion=self.registry.channel_digest("staging"),
                who="test",
                why="because",
                override=True,
                channel="staging",
            )

    @invariant()
    def history_only_grows(self):
        if not hasattr(self, "registry"):
            return
        history = self.registry.history()
        assert len(history) >= self.length
        assert [event.id for event in history] == list(range(1, len(history) + 1))
        self.length = len(history)


@pytest.fixture(params=["sqlite", POSTGRESQL])
def machine(request, make_release):
    def make_url():
        if request.param == "sqlite":
            return None
        server, database = map(request.getfixturevalue, ("postgres", "database"))
        server.empty_database(database)
        return server.url(database)

    RegistryMachine.make_release = staticmethod(make_release)
    RegistryMachine.make_url = staticmethod(make_url)
    yield RegistryMachine
    if request.param != "sqlite":
        request.getfixturevalue("postgres").empty_database(request.getfixturevalue("database"))


def test_any_order_of_events_leaves_one_whole_champion(machine):
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
