from dataclasses import replace
from typing import get_args

from flows.outcome import EXIT_CODES, STAGED, STATE_NAMES, Outcome, Word, verdict_of
from tasks.gate.decision import Verdict


def test_every_verdict_has_an_exit_code_and_a_state_that_is_not_anothers():
    assert set(EXIT_CODES) == set(STATE_NAMES) == set(get_args(Word))
    assert set(get_args(Verdict)) < set(get_args(Word))
    assert len(set(STATE_NAMES.values())) == len(STATE_NAMES)


def test_only_what_leaves_the_wanted_release_live_is_a_success_for_a_script():
    assert {word for word, code in EXIT_CODES.items() if code == 0} == {"PROMOTE", "UNCHANGED"}
    # 1 and 2 are a failure and bad input.
    assert not {1, 2} & set(EXIT_CODES.values())


def test_an_outcome_that_says_nothing_moved_nothing():
    outcome = Outcome(verdict="UNCHANGED", release="answer@1f2e", message="nothing to do")
    assert not outcome.promoted
    assert outcome.decision is None
    assert replace(outcome, promoted=True) != outcome


def test_a_release_on_staging_is_not_called_promoted():
    outcome = Outcome(verdict="PROMOTE", release="answer@1f2e", message="better", staged=True)
    assert outcome.state_name == STAGED
    assert STAGED not in STATE_NAMES.values()
    assert replace(outcome, staged=False).state_name == "Promoted"


def test_a_verdict_is_known_by_the_name_of_its_state():
    assert {verdict_of(name) for name in STATE_NAMES.values()} == set(STATE_NAMES)
    assert verdict_of(STAGED) == "PROMOTE"
