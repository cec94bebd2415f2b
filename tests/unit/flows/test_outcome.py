from dataclasses import replace
from typing import get_args

from flows.outcome import EXIT_CODES, STATE_NAMES, Outcome, Word
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
