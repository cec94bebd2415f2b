import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.corpus import columns
from tasks.corpus.columns import integers, offsets_of, strings

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"])))


@given(texts, st.sampled_from([None, pa.string(), pa.large_string()]))
def test_texts_make_the_column_that_arrow_makes_of_them(values, kind):
    found = strings(values, kind)
    found.validate(full=True)
    assert found.equals(pa.array(values, kind or pa.string()))


@given(st.lists(st.integers(-128, 127)), st.sampled_from([None, pa.int64(), pa.int8()]))
def test_integers_make_the_column_that_arrow_makes_of_them(values, kind):
    found = integers(iter(values), kind)
    found.validate(full=True)
    assert found.equals(pa.array(values, kind or pa.int64()))


@given(st.lists(texts))
def test_offsets_cut_what_is_joined_into_the_lists_that_it_was(rows):
    joined = strings(value for row in rows for value in row)
    assert pa.ListArray.from_arrays(offsets_of(rows), joined).to_pylist() == rows


def test_a_number_that_a_column_has_no_room_for_is_refused():
    with pytest.raises(pa.ArrowInvalid, match="300"):
        integers([300], pa.int8())


def test_more_text_than_a_column_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(columns, "_LONGEST", 3)
    assert strings(["ab", "c"]).to_pylist() == ["ab", "c"]
    assert strings(["ab", "cd"], pa.large_string()).to_pylist() == ["ab", "cd"]
    with pytest.raises(pa.ArrowCapacityError, match="4 bytes"):
        strings(["ab", "cd"])
