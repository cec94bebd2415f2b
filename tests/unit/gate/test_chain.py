"""Fifty useless challengers in a row against one suite: how often is any of them promoted?"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from registry import Registry
from tasks.digest import text_digest
from tasks.gate.inference import mcnemar
from tasks.gate.spending import Look, Spending, look_at
from tasks.store import Home
from tests.evaluations import make_release

ALPHA, CASES, NIGHTS, CHAINS = 0.05, 200, 50, 2_000
PASSES = 0.6
"""Chance that a release passes a case, champion and challenger alike."""

p_value = cache(mcnemar)


@dataclass
class Ledger:
    """The looks of one chain, from the rule alone."""

    rule: Spending
    looks: list[Look] = field(default_factory=list)
    promotions: list[int] = field(default_factory=list)

    def spend(self) -> Look:
        number = len(self.looks) + 1
        look = look_at(
            self.rule,
            alpha=ALPHA,
            number=number,
            promotions=self.promotions,
            spent_before=sum(look.alpha for look in self.looks),
            recorded=True,
        )
        self.looks.append(look)
        return look

    def decide(self, look: Look, *, promote: bool) -> None:
        if promote:
            self.promotions.append(look.number)


class RegistryLedger:
    """The looks of one chain as the registry keeps them, with a release for every night."""

    def __init__(self, rule: Spending, directory: Path) -> None:
        self.rule: Spending = rule
        home = Home(directory)
        self.registry = Registry(None, home)
        self.releases = [make_release(number) for number in range(NIGHTS + 1)]
        for release in self.releases:
            home.path("index", release.index_digest).mkdir(parents=True)
            self.registry.register(release, who="test")
        first = self.releases[0].digest
        self.registry.promote(first, expected_champion=None, who="test", why="1", override=True)
        self.night = 0

    def spend(self) -> Look:
        self.night += 1
        champion = self.registry.champion_digest()
        self.spent = self.registry.spend_look(
            suite=text_digest("suite"),
            judge=text_digest("judge"),
            policy_digest=text_digest("policy"),
            challenger=self.releases[self.night].digest,
            champion=champion,
            challenger_log=text_digest(f"log {self.night}"),
            champion_log=text_digest(f"log of {champion}"),
            rule=self.rule,
            alpha=ALPHA,
            who="gate",
        )
        return self.spent.look

    def decide(self, look: Look, *, promote: bool) -> None:
        decision = text_digest(f"decision {look.number}")
        pair = (self.spent.challenger, self.spent.champion)
        self.registry.record_decision(
            decision,
            verdict="PROMOTE" if promote else "HOLD",
            challenger=pair[0],
            champion=pair[1],
            who="gate",
            look=self.spent.id,
        )
        if promote:
            self.registry.promote(
                pair[0], expected_champion=pair[1], decision_digest=decision, who="x", why="y"
            )


def play(chain: int, ledger: Ledger | RegistryLedger) -> list[tuple[Look, bool]]:
    """Let the same challengers come every night; each look, and whether it promoted."""
    generator = np.random.default_rng([20, chain])
    champion, *challengers = generator.random((NIGHTS + 1, CASES)) < PASSES
    played = []
    for challenger in challengers:
        look = ledger.spend()
        wins, losses = np.sum(challenger & ~champion), np.sum(champion & ~challenger)
        promote = p_value(int(wins), int(losses)) <= look.alpha
        ledger.decide(look, promote=promote)
        if promote:
            champion = challenger
        played.append((look, promote))
    return played


def any_promoted(rule: Spending) -> list[bool]:
    return [any(won for _, won in play(chain, Ledger(rule))) for chain in range(CHAINS)]


@pytest.fixture(scope="module")
def with_a_ledger() -> list[bool]:
    return any_promoted("inverse_square")


def test_with_a_ledger_any_of_fifty_useless_challengers_is_promoted_at_most_as_often_as_alpha(
    with_a_ledger: list[bool],
) -> None:
    error = np.sqrt(ALPHA * (1 - ALPHA) / CHAINS)
    assert np.mean(with_a_ledger) <= ALPHA + 2 * error
    assert np.mean(any_promoted("lord")) <= ALPHA + 2 * error
    # The same challengers, each tested at alpha: what the ledger is there for.
    assert np.mean(any_promoted("none")) > 0.3


@pytest.mark.parametrize("promoted", [True, False])
@pytest.mark.parametrize("rule", ["inverse_square", "lord"])
def test_the_registry_keeps_the_very_looks_that_the_simulation_had(
    with_a_ledger: list[bool], tmp_path: Path, rule: Spending, promoted: bool
) -> None:
    chain = with_a_ledger.index(promoted)
    simulated = play(chain, Ledger(rule))
    ledger = RegistryLedger(rule, tmp_path)
    kept = play(chain, ledger)
    assert [won for _, won in kept] == [won for _, won in simulated]
    for (found, _), (expected, _) in zip(kept, simulated, strict=True):
        assert (found.number, found.alpha, found.left) == (
            expected.number,
            expected.alpha,
            expected.left,
        )
        assert found.spent_before == pytest.approx(expected.spent_before, rel=1e-12)
    moves = [event for event in ledger.registry.history() if event.kind == "promoted"]
    assert len(moves) == 1 + sum(won for _, won in simulated)
    if rule == "inverse_square":
        assert any(won for _, won in simulated) == promoted
