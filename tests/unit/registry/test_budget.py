"""Looks at a suite: spent once, before the result is seen, and by one process each."""

import multiprocessing
import os
import signal
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest
from sqlalchemy import inspect

from registry import LookId, Registry
from tasks.digest import text_digest
from tasks.errors import RegistryError
from tasks.gate.spending import alpha_of, look_at
from tests.evaluations import make_release
from tests.unit.registry.databases import change, inside

SUITE, JUDGE = text_digest("suite"), text_digest("judge")
NEW, OLD = make_release(0).digest, make_release(1).digest
# Each process is a fork of one that has only imported this module and what a look needs.
FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload([__name__, "scipy.special"])
PROCESSES, EACH = 8, 5


def spend(registry, evidence="1", **changes):
    """Spend a look on the evidence of one night."""
    options = {
        "suite": SUITE,
        "judge": JUDGE,
        "policy_digest": text_digest("policy"),
        "challenger": NEW,
        "champion": OLD,
        "challenger_log": text_digest(f"challenger's log {evidence}"),
        "champion_log": text_digest("champion's log"),
        "rule": "inverse_square",
        "alpha": 0.05,
        "who": "gate",
    }
    return registry.spend_look(**options | changes)


def decide(registry, look, verdict, *, decision=None, challenger=NEW, champion=OLD):
    digest = text_digest(decision or f"decision {look.number}")
    registry.record_decision(
        digest, verdict=verdict, challenger=challenger, champion=champion, who="gate", look=look
    )
    return digest


def spent_events(registry):
    return [event for event in registry.history() if event.kind == "alpha_spent"]


def test_looks_are_numbered_and_get_their_share_of_alpha(registry):
    looks = [spend(registry, evidence).look for evidence in "abc"]
    assert looks == [
        look_at("inverse_square", alpha=0.05, number=number, recorded=True) for number in (1, 2, 3)
    ]


def test_history_says_what_was_spent_on_what_by_whom(registry):
    spent = spend(registry, who="nightly")
    [event] = spent_events(registry)
    assert (event.subject, event.who, event.at) == (NEW, "nightly", spent.at)
    assert event.detail["alpha"] == spent.look.alpha
    assert (event.detail["suite"], event.detail["number"]) == (SUITE, 1)
    assert event.detail["policy"] == text_digest("policy")
    assert event.why == f"look 1 at suite {SUITE[:12]} by judge {JUDGE[:12]}"


def test_the_same_evidence_gets_its_look_back_and_spends_nothing(registry, home, url):
    first = spend(registry, "a")
    spend(registry, "b")
    registry.close()
    with Registry(url, home) as another:
        assert spend(another, "a", who="somebody else") == first
        assert len(spent_events(another)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"challenger": make_release(2).digest},
        {"champion": make_release(2).digest},
        {"champion": None, "champion_log": None},
        {"challenger_log": text_digest("evaluated again")},
        {"champion_log": text_digest("evaluated again")},
        {"policy_digest": text_digest("a wider margin")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_evidence_is_another_look(registry, change):
    spend(registry)
    assert spend(registry, **change).look.number == 2


def test_an_abbreviated_release_is_the_same_evidence(registry):
    assert spend(registry, challenger=NEW[:16]) == spend(registry)


@pytest.mark.parametrize("what", ["suite", "judge"])
def test_another_suite_or_judge_has_a_budget_of_its_own(registry, what):
    spend(registry)
    assert spend(registry, **{what: text_digest("another")}).look.number == 1


def test_a_look_that_was_decided_comes_back_with_its_decision(registry):
    look = spend(registry).id
    decision = decide(registry, look, "HOLD")
    again = spend(registry)
    assert (again.id, again.decision, again.verdict) == (look, decision, "HOLD")
    [event] = [event for event in registry.history() if event.kind == "decided"]
    assert event.detail["look"] == {"suite": SUITE, "judge": JUDGE, "number": 1}


def die_after_spending(url, home):
    spend(Registry(url, home))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.integration
def test_a_process_that_dies_before_it_decides_finds_its_look_again(registry, home, url):
    child = FORKSERVER.Process(target=die_after_spending, args=(url, home))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert len(spent_events(registry)) == 1
    again = spend(registry)
    assert (again.look.number, again.decision) == (1, None)
    # Other evidence doesn't get what was spent.
    assert spend(registry, "2").look.number == 2


def test_a_promotion_raises_the_levels_after_it_and_no_level_before(registry):
    first, second = (spend(registry, evidence, rule="lord") for evidence in "ab")
    decide(registry, first.id, "HOLD")
    decide(registry, second.id, "PROMOTE")
    third = spend(registry, "c", rule="lord").look
    assert third.alpha == alpha_of("lord", alpha=0.05, number=3, promotions=[2])
    assert third.alpha > alpha_of("lord", alpha=0.05, number=3)
    assert spend(registry, "b", rule="lord").look == second.look


@pytest.mark.parametrize("rule", ["inverse_square", "lord", "none"])
def test_a_budget_is_what_the_next_look_will_find(registry, rule):
    for number in range(4):
        before = registry.budget(SUITE, JUDGE, rule=rule, alpha=0.05)
        assert [spent.look.number for spent in before.looks] == list(range(1, number + 1))
        spent = spend(registry, str(number), rule=rule)
        assert before.next_alpha == spent.look.alpha
        assert before.spent == spent.look.spent_before
        if before.left is not None:
            assert before.left == pytest.approx(spent.look.alpha + (spent.look.left or 0))
        decide(registry, spent.id, "PROMOTE" if number == 1 else "REJECT")
    after = registry.budget(SUITE, JUDGE, rule=rule, alpha=0.05)
    assert [spent.verdict for spent in after.looks] == ["REJECT", "PROMOTE", "REJECT", "REJECT"]


def test_a_suite_that_nobody_looked_at_has_all_of_alpha(registry):
    budget = registry.budget(SUITE, JUDGE, rule="inverse_square", alpha=0.05)
    assert (budget.looks, budget.spent) == ((), 0.0)
    assert budget.left == pytest.approx(0.05)


def test_every_suite_is_listed_the_latest_last(registry):
    assert registry.budgets(rule="lord", alpha=0.05) == []
    for suite in ("one", "two", "one"):
        spend(registry, str(len(registry.history())), suite=text_digest(suite))
    budgets = registry.budgets(rule="lord", alpha=0.05)
    assert {budget.suite for budget in budgets} == {text_digest("one"), text_digest("two")}
    assert [budget.looks[-1].at for budget in budgets] == sorted(
        budget.looks[-1].at for budget in budgets
    )
    for budget in budgets:
        assert budget == registry.budget(budget.suite, JUDGE, rule="lord", alpha=0.05)


def test_deciding_again_is_the_same_as_once(registry):
    look = spend(registry).id
    for _ in range(2):
        decide(registry, look, "PROMOTE")
    assert [event.kind for event in registry.history()].count("decided") == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision": "another"}, "ended HOLD with decision '.*'; now '.*' says PROMOTE"),
        ({"challenger": OLD, "champion": NEW}, "was spent on '.*' against '.*', not on"),
        ({"champion": None}, "against None"),
        ({"look": LookId(SUITE, JUDGE, 2)}, "There is no look 2"),
        ({"look": LookId(JUDGE, JUDGE, 1)}, "There is no look 1"),
    ],
)
def test_a_look_takes_one_decision_and_only_about_its_pair(registry, change, said):
    look = spend(registry).id
    decide(registry, look, "HOLD")
    before = registry.history()
    with pytest.raises(RegistryError, match=said):
        decide(registry, **{"look": look, "verdict": "PROMOTE", "decision": "new"} | change)
    assert registry.history() == before
    assert spend(registry).verdict == "HOLD"


@pytest.mark.parametrize("what", ["suite", "judge"])
@pytest.mark.parametrize("name", [None, ""])
def test_a_look_needs_a_suite_and_a_judge(registry, what, name):
    with pytest.raises(RegistryError, match=f"the {what} is {name!r}"):
        spend(registry, **{what: name})
    assert spent_events(registry) == []


def test_a_look_at_an_unregistered_release_is_refused(registry):
    with pytest.raises(RegistryError, match="There is no release"):
        spend(registry, challenger=make_release(99).digest)
    assert spent_events(registry) == []


def test_a_registry_of_another_version_is_refused_and_left_as_it_is(registry, home, url):
    registry.close()
    change(url, home, "DROP TABLE looks")
    change(url, home, "UPDATE ratchet_schema SET version = 0")
    with pytest.raises(RegistryError, match="schema version 0"):
        Registry(url, home)
    with inside(url, home) as connection:
        assert not inspect(connection).has_table("looks")


def wait_for_all(barrier):
    """Give a worker process what it waits for before it spends."""
    global start
    start = barrier.wait


def spend_all(url, home, names):
    with Registry(url, home) as registry:
        start()
        return [spend(registry, name) for name in names]


def in_processes(url, home, names):
    """Let processes spend at the same time, each for its own names."""
    workers = ProcessPoolExecutor(
        len(names), FORKSERVER, initializer=wait_for_all, initargs=(FORKSERVER.Barrier(len(names)),)
    )
    with workers:
        return list(workers.map(partial(spend_all, url, home), names))


@pytest.mark.integration
def test_gates_at_the_same_time_never_spend_the_same_look(registry, home, url):
    names = [[f"{gate} {night}" for night in range(EACH)] for gate in range(PROCESSES)]
    found = in_processes(url, home, names)
    numbers = [spent.look.number for looks in found for spent in looks]
    assert sorted(numbers) == list(range(1, PROCESSES * EACH + 1))
    budget = registry.budget(SUITE, JUDGE, rule="inverse_square", alpha=0.05)
    assert {spent.look for spent in budget.looks} == {s.look for looks in found for s in looks}
    assert [event.detail["number"] for event in spent_events(registry)] == sorted(numbers)
    assert budget.spent < 0.05


@pytest.mark.integration
def test_gates_with_the_same_evidence_at_the_same_time_share_one_look(registry, home, url):
    found = in_processes(url, home, [["the same"]] * PROCESSES)
    assert all(looks == found[0] for looks in found)
    assert len(spent_events(registry)) == 1
    assert found[0][0].look.number == 1
