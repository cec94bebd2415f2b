import copy
import inspect
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks import errors
from tasks.errors import BadInput, CallFailed, ConfigError, RatchetError, Terminal, Transient

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, RatchetError) and kind is not RatchetError
]
BRANCHES = {BadInput, Terminal, Transient}


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_error_is_in_the_tree_of_the_docstring_and_has_one_branch(kind):
    assert kind.__name__ in (errors.__doc__ or "")
    assert len([branch for branch in BRANCHES if issubclass(kind, branch)]) == 1


def test_what_the_user_can_fix_has_another_exit_code_than_what_failed():
    assert BadInput("x").exit_code == ConfigError("x").exit_code == 2
    assert Terminal("x").exit_code == Transient("x").exit_code == 1


def test_the_next_step_is_a_line_of_its_own():
    assert str(ConfigError("It is 3.", next_step="Make it 4.")) == "It is 3.\nNext: Make it 4."
    assert str(ConfigError("It is 3.")) == "It is 3."


def test_values_are_attributes_and_an_unknown_one_is_an_attribute_error():
    error = CallFailed("no answer", attempts=4, status=503)
    assert (error.attempts, error.status) == (4, 503)
    with pytest.raises(AttributeError, match="retries"):
        _ = error.retries


@given(st.sampled_from(ALL), st.text(), st.text(), st.lists(st.integers()))
def test_an_error_survives_pickling_with_all_that_it_knows(kind, message, next_step, found):
    error = kind(message, next_step=next_step, found=found)
    for same in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is kind
        assert (same.message, same.next_step, same.found) == (message, next_step, found)
        assert str(same) == str(error)
