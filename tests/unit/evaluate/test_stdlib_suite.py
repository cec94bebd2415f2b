"""The suite that ships with Ratchet, against the docstrings of the running Python."""

from collections import Counter
from pathlib import Path

import pytest

from tasks.config import CorpusSettings, PythonSource
from tasks.corpus.update import update_corpus
from tasks.evaluate.spans import check_suite
from tasks.evaluate.suite import load_suite

SUITE = Path(__file__).parents[3] / "data" / "suites" / "stdlib.jsonl"


@pytest.fixture(scope="module")
def suite():
    return load_suite(SUITE)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    source = PythonSource(kind="python", name="python-docs", packages=("stdlib",))
    place = tmp_path_factory.mktemp("corpus")
    settings = CorpusSettings(sources=(source,))
    return update_corpus(
        settings, root=SUITE.parent, room=place / "room", readings=place / "readings"
    ).snapshot


def test_every_quote_is_found_in_the_document_that_the_suite_names(suite, documents):
    check = check_suite(suite, documents)
    assert check.lost == ()
    assert check.ambiguous == ()


def test_the_suite_is_large_and_broad_enough_for_the_gate_s_statistics(suite):
    assert len(suite.cases) >= 130
    assert len({case.cluster for case in suite.cases}) >= 35


def test_exactly_ten_cases_must_pass_and_all_of_them_are_answerable(suite):
    must_pass = [case for case in suite.cases if case.must_pass]
    assert len(must_pass) == 10
    assert all(case.answerable for case in must_pass)


def test_cases_without_answer_are_tagged_and_ask_for_a_refusal(suite):
    unanswerable = [case for case in suite.cases if not case.answerable]
    assert len(unanswerable) >= 18
    assert all("unanswerable" in case.tags for case in unanswerable)
    assert {case.reference for case in unanswerable} == {"I don't know"}
    answerable = [case for case in suite.cases if case.answerable]
    assert not any("unanswerable" in case.tags for case in answerable)


def test_each_answerable_case_is_a_lookup_or_a_fact_and_has_an_area(suite):
    kinds = Counter()
    for case in suite.cases:
        if case.answerable:
            kind = {"lookup", "fact"} & set(case.tags)
            assert len(kind) == 1, case.case_id
            assert len(case.tags) == 2, case.case_id
            kinds.update(kind)
    assert kinds["fact"] >= 25


def test_references_are_short_and_no_alias_repeats_one(suite):
    for case in suite.cases:
        assert len(case.reference.split()) <= 8, case.case_id
        assert case.reference not in case.aliases, case.case_id
        assert len(set(case.aliases)) == len(case.aliases), case.case_id


def test_a_question_does_not_give_away_the_name_that_it_asks_for(suite):
    for case in suite.cases:
        if "lookup" in case.tags:
            name = case.reference.rpartition(".")[2].lower()
            words = case.question.lower().replace("?", " ").replace(".", " ").split()
            assert name not in words, case.case_id


def test_a_question_does_not_repeat_the_wording_of_its_passage(suite):
    for case in suite.cases:
        words = case.question.lower().split()
        passages = " ".join(" ".join(span.quote.lower().split()) for span in case.gold)
        runs = (" ".join(words[start : start + 6]) for start in range(len(words) - 5))
        assert not any(run in passages for run in runs), case.case_id
