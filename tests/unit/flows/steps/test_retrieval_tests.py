"""Old and new index of a small project; questions are embedded by a server, as vLLM would."""

import shutil

import numpy as np
import pytest

from flows.steps.retrieval_tests import index_tests, refusal
from flows.workspace import open_workspace
from tasks.errors import CorruptArtifact, SuiteError
from tasks.index.cache import EMBEDDINGS
from tests.embedders import HashingEmbedder
from tests.unit.flows.conftest import build_wanted, case_line, silent

WORDS = [f"fruit{number}" for number in range(80)]


class Forgetful(HashingEmbedder):
    """Doesn't understand a fifth of the notes."""

    def encode(self, texts, *, progress=None):
        vectors = super().encode(texts, progress=progress)
        for row, text in enumerate(texts):
            if any(word in text for word in WORDS[::5]):
                vectors[row] = np.eye(1, self.dimensions, dtype=np.float32)[0]
        return vectors


@pytest.fixture
def many(project, served):
    """Eighty notes, a question about each of some, and an embedding model that is served."""
    for word in WORDS:
        project.note(word, f"Keep {word} cool and away from the light. They last a week.\n")
    project.suite(*map(case_line, WORDS[:70]))
    return project


def build(embedder=None, **changes):
    """What the settings ask for, built by some model under the name of the served one."""
    return build_wanted(open_workspace(**changes), embedder)


def test_an_index_of_a_few_other_documents_passes_and_a_removed_one_is_the_suites_problem(many):
    live = build()
    (many.root / "data" / "notes" / f"{WORDS[3]}.md").unlink()
    many.note("new", "This note is quite new here.\n")
    wanted = build()
    tests = index_tests(open_workspace(), live, wanted, silent)
    assert refusal(open_workspace(), tests) == ()
    assert [(test.questions, test.comparison.measure, test.status) for test in tests.tests] == [
        (questions, measure, "passed")
        for questions in ("suite", "probes")
        for measure in ("R@4", "nDCG@4", "span_recall")
    ]
    # The case of the document that is gone is asked of neither index.
    assert {test.comparison.n for test in tests.tests if test.questions == "suite"} == {69}
    assert tests.left_out == (WORDS[3],)
    (problem,) = tests.suite_problems
    assert problem.startswith(f"{WORDS[3]}: the corpus has no document 'notes/{WORDS[3]}.md'.")


def test_a_question_is_embedded_once_for_both_indexes(many, served):
    live = build()
    many.note("new", "This note is quite new here.\n")
    wanted = build()
    index_tests(open_workspace(), live, wanted, silent)
    asked = [text for request in served.requests for text in request["input"]]
    assert len(asked) == len(set(asked)) > 70


def test_what_was_tested_before_is_found_and_said_again_until_something_changes(many, served):
    live = build()
    many.note("new", "This note is quite new here.\n")
    (many.root / "data" / "notes" / f"{WORDS[3]}.md").unlink()
    wanted = build()
    first = index_tests(open_workspace(), live, wanted, silent)
    asked = len(served.requests)
    assert index_tests(open_workspace(), live, wanted, silent) == first
    assert first.suite_problems
    assert len(served.requests) == asked
    # What the indexes, the questions, the search or the rules decide is tested anew.
    many.edit("corpus", retrieval_tests={"margin": 0.2})
    assert index_tests(open_workspace(), live, wanted, silent).margin == 0.2
    many.edit("corpus", retrieval_tests={"margin": 0.05, "probes": 0})
    assert len(index_tests(open_workspace(), live, wanted, silent).tests) == 3
    many.edit("corpus", retrieval_tests={"probes": 200})
    other = build(top_k=2)
    assert index_tests(open_workspace(), live, other, silent).tests[0].comparison.measure == "R@2"
    many.suite(*map(case_line, WORDS[:65]))
    assert index_tests(open_workspace(), live, wanted, silent).tests[0].comparison.n == 64
    assert len(list((many.home / "reports" / wanted.index_digest).glob("tests-*.json"))) == 5


def test_stored_tests_that_were_damaged_are_an_error_that_says_what_to_do(many):
    live = build()
    many.note("new", "This note is quite new here.\n")
    wanted = build()
    index_tests(open_workspace(), live, wanted, silent)
    (path,) = (many.home / "reports" / wanted.index_digest).glob("tests-*.json")
    path.write_text("{}")
    with pytest.raises(CorruptArtifact) as caught:
        index_tests(open_workspace(), live, wanted, silent)
    assert str(path) in caught.value.next_step


def test_an_index_that_was_made_worse_is_refused_with_its_figures_and_what_to_do(many):
    live = build()
    many.note("new", "This note is quite new here.\n")
    # What the live index embedded would be taken over otherwise.
    shutil.rmtree(open_workspace().home.path("index", EMBEDDINGS))
    wanted = build(Forgetful())
    workspace = open_workspace()
    tests = index_tests(workspace, live, wanted, silent)
    assert {test.status for test in tests.refused} == {"worse"}
    reasons = refusal(workspace, tests)
    assert "isn't shown to find passages as well as the live one" in reasons[0]
    assert "R@4 on the suite's questions is worse by more than 0.050: 1.000 →" in reasons[0]
    assert "configs/corpus.yaml" in reasons[0]
    assert len(reasons) == len(tests.refused)
    many.edit("corpus", retrieval_tests={"action": "report"})
    assert refusal(open_workspace(), tests) == ()


def test_what_is_off_or_has_nothing_to_compare_is_not_tested(many):
    live = build()
    assert index_tests(open_workspace(), live, build(top_k=2), silent) is None
    many.note("new", "This note is quite new here.\n")
    wanted = build()
    many.edit("corpus", retrieval_tests={"action": "off"})
    assert index_tests(open_workspace(), live, wanted, silent) is None
    assert refusal(open_workspace(), None) == ()


def test_the_number_of_probes_and_the_margin_are_settings(many):
    live = build()
    many.note("new", "This note is quite new here.\n")
    wanted = build(top_k=2)
    many.edit("corpus", retrieval_tests={"action": "stop", "probes": 0, "margin": 0.01})
    tests = index_tests(open_workspace(), live, wanted, silent)
    assert {test.questions for test in tests.tests} == {"suite"}
    # Both are searched as the wanted release does it.
    assert [test.comparison.measure for test in tests.tests] == ["R@2", "nDCG@2", "span_recall"]
    # A margin of .01 takes 299 unrelated questions: with 70 no index could pass.
    assert {test.status for test in tests.tests} == {"too_few"}
    assert refusal(open_workspace(), tests) == ()


def test_filters_choose_the_documents_that_probes_are_drawn_from(many):
    live = build()
    many.note("new", "This note is quite new here.\n")
    many.edit("release", retrieval={"filters": {"source": ["elsewhere"]}})
    tests = index_tests(open_workspace(), live, build(), silent)
    assert {test.questions for test in tests.tests} == {"suite"}


def test_a_malformed_suite_is_an_error(many):
    live = build()
    many.note("new", "This note is quite new here.\n")
    wanted = build()
    many.suite("{}")
    with pytest.raises(SuiteError):
        index_tests(open_workspace(), live, wanted, silent)
