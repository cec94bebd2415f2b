import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import SuiteError
from tasks.evaluate.suite import Case, Span, Suite, load_suite, save_suite

GOLD = {"doc_id": "heapq.heapify", "start": 10, "end": 14, "quote": "heap"}
LINE = {
    "case_id": "heapify",
    "question": "What makes a heap of a list?",
    "reference": "heapq.heapify",
    "aliases": ["heapify"],
    "gold": [GOLD],
    "cluster": "heapq",
    "tags": ["lookup"],
    "must_pass": True,
}


def write(tmp_path, *lines):
    path = tmp_path / "small.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def refuse(tmp_path, *lines):
    with pytest.raises(SuiteError) as caught:
        load_suite(write(tmp_path, *lines))
    return str(caught.value)


def test_a_line_becomes_a_case(tmp_path):
    suite = load_suite(write(tmp_path, LINE))
    assert suite.name == "small"
    assert suite.cases == (
        Case(
            case_id="heapify",
            question="What makes a heap of a list?",
            reference="heapq.heapify",
            gold=(Span("heapq.heapify", 10, 14, "heap"),),
            cluster="heapq",
            tags=("lookup",),
            must_pass=True,
            aliases=("heapify",),
        ),
    )


def test_optional_fields_may_be_left_out_and_blank_lines_are_allowed(tmp_path):
    line = {key: LINE[key] for key in ("case_id", "question", "reference", "cluster")}
    suite = load_suite(write(tmp_path, "", line, "  "))
    case = suite.cases[0]
    assert (case.gold, case.tags, case.aliases, case.must_pass) == ((), (), (), False)
    assert not case.answerable


def test_a_case_with_gold_is_answerable(tmp_path):
    assert load_suite(write(tmp_path, LINE)).cases[0].answerable


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"question": " "}, "question: String should have at least 1 character (found ' ')"),
        ({"reference": ""}, "reference: String should have at least 1 character (found '')"),
        ({"gold": [GOLD | {"end": 15}]}, "end - start is 5, but the quote has 4 characters"),
        ({"gold": [GOLD | {"start": -1, "end": 3}]}, "gold.0.start"),
        ({"answer": "x"}, "answer: Extra inputs are not permitted (found 'x')"),
        ({"must_pass": "maybe"}, "must_pass"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_field(tmp_path, changes, expected):
    message = refuse(tmp_path, LINE, LINE | {"case_id": "b", "question": "Other?"} | changes)
    assert "small.jsonl:2: " in message
    assert expected in message
    assert "data/suites/README.md" in message


def test_a_missing_field_is_named(tmp_path):
    line = {key: value for key, value in LINE.items() if key != "reference"}
    assert "small.jsonl:1: reference: Field required" in refuse(tmp_path, line)


def test_an_id_or_a_question_that_was_there_before_is_named_with_its_first_line(tmp_path):
    message = refuse(tmp_path, LINE, "", LINE)
    assert "small.jsonl:3: case_id 'heapify' is the one of line 1 already" in message
    assert "small.jsonl:3: the question is the one of line 1" in message


def test_all_wrong_lines_are_reported_at_once(tmp_path):
    message = refuse(tmp_path, "{", "[]", LINE)
    assert "has 2 wrong value(s)" in message
    assert "small.jsonl:1: this is not JSON" in message
    assert "small.jsonl:2: expected a JSON object, found list" in message


def test_a_long_list_of_errors_is_cut_and_counted(tmp_path):
    message = refuse(tmp_path, *["{"] * 30)
    assert message.count("this is not JSON") == 20
    assert "and 10 more" in message


def test_a_file_that_is_missing_empty_or_not_utf8_is_named(tmp_path):
    with pytest.raises(SuiteError, match=r"There is no suite .*none\.jsonl"):
        load_suite(tmp_path / "none.jsonl")
    assert "has no cases" in refuse(tmp_path, "")
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes(json.dumps(LINE, ensure_ascii=False).replace("heap", "hép").encode("latin1"))
    with pytest.raises(SuiteError, match="is not UTF-8"):
        load_suite(latin)


def case(**changes):
    span = Span("d", 0, 4, "heap")
    return replace(Case("a", "Q?", "R", (span,), "c", ("t",), False, ("S",)), **changes)


def digest_of(*cases):
    return Suite("s", cases).digest


def test_the_digest_covers_all_content_but_the_place_of_a_quote():
    same = digest_of(case())
    moved = case(gold=(Span("d", 5, 9, "heap"),))
    assert digest_of(moved) == same
    others = [
        case(case_id="b"),
        case(question="Other?"),
        case(reference="T"),
        case(gold=(Span("e", 0, 4, "heap"),)),
        case(gold=(Span("d", 0, 4, "hoop"),)),
        case(cluster="d"),
        case(tags=()),
        case(must_pass=True),
        case(aliases=()),
    ]
    assert len({same, *map(digest_of, others)}) == len(others) + 1
    assert digest_of(case(), case(case_id="b")) != digest_of(case(case_id="b"), case())


def test_the_digest_does_not_depend_on_the_name():
    assert Suite("one", (case(),)).digest == Suite("other", (case(),)).digest


def test_the_digest_of_a_known_suite_is_a_known_value():
    # A golden value: when it changes, no old evaluation is comparable; bump _SUITE_VERSION.
    assert digest_of(case()) == "d3af42ee222b809f36028fc6909ffcce6cba27bd273eeb99f883b81f829e90c6"


def test_a_subset_keeps_the_order_of_the_suite():
    suite = Suite("s", (case(), case(case_id="b"), case(case_id="c")))
    part = suite.subset(["c", "a"])
    assert [item.case_id for item in part.cases] == ["a", "c"]
    assert part.name == "s"
    assert part.digest != suite.digest


def test_a_subset_of_unknown_or_no_cases_is_refused():
    suite = Suite("s", (case(),))
    with pytest.raises(SuiteError, match="no case 'z'"):
        suite.subset(["a", "z"])
    with pytest.raises(SuiteError, match="at least one case"):
        suite.subset([])


word = st.text(min_size=1, max_size=8).map(str.strip).filter(bool)
quotes = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
words = word.filter(lambda text: text.isprintable())


@given(st.lists(st.tuples(words, quotes, st.booleans()), min_size=1, max_size=4))
def test_a_saved_suite_is_read_back_the_same(tmp_path_factory, parts):
    cases = tuple(
        case(
            case_id=f"{number}",
            question=f"{number} {text}",
            reference=text,
            gold=(Span("d", number, number + len(quote), quote),),
            must_pass=flag,
        )
        for number, (text, quote, flag) in enumerate(parts)
    )
    path = tmp_path_factory.mktemp("suite") / "saved.jsonl"
    save_suite(Suite("saved", cases), path)
    assert load_suite(path) == Suite("saved", cases)
