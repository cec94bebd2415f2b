import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.digest import canonical_json, digest, digest_of_list, file_digest, text_digest

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
CONTENT = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), CONTENT))
def test_the_order_of_keys_makes_no_difference(content):
    backwards = dict(reversed(content.items()))
    assert canonical_json(content) == canonical_json(backwards)
    assert digest("kind", 1, content) == digest("kind", 1, backwards)


@given(CONTENT)
def test_canonical_json_says_what_the_content_is(content):
    assert json.loads(canonical_json(content)) == content


def test_kind_version_and_content_each_change_the_digest():
    names = {digest("a", 1, "x"), digest("b", 1, "x"), digest("a", 2, "x"), digest("a", 1, "y")}
    assert len(names) == 4
    assert all(len(name) == 64 and set(name) <= set("0123456789abcdef") for name in names)


def test_a_digest_is_the_same_on_every_machine_and_in_every_version():
    assert digest("golden", 1, {"b": [1, 2.5, None, True], "a": "ü"}) == (
        "891b15f571d153087ffbd0cdd39916574b57ded0af288f02c7596a22e8103fb1"
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_has_no_digest(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        digest("kind", 1, {"value": number})


def test_a_value_without_a_json_form_has_no_digest():
    with pytest.raises(TypeError, match="not JSON serializable"):
        digest("kind", 1, {1, 2})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_and_a_file_that_holds_it_have_one_digest(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_bytes(text.encode())
    assert file_digest(path) == text_digest(text)


def test_a_text_that_no_file_can_hold_has_a_digest_too():
    assert text_digest("\ud800") != text_digest("\ud801")


@given(st.lists(st.lists(st.text(), max_size=3), max_size=4))
def test_a_list_in_batches_has_the_digest_of_the_list(batches):
    whole = [item for batch in batches for item in batch]
    assert digest_of_list("kind", 1, batches) == digest("kind", 1, whole)
