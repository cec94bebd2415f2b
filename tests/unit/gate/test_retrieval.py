"""A new index against an old one, with known answers: by simulation, and on real indexes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.config import Chunking
from tasks.corpus.document import Document
from tasks.errors import SuiteError
from tasks.evaluate.probes import draw_probes
from tasks.evaluate.retrieval import RetrievalSide, shared_cases
from tasks.gate.compare import pair_all
from tasks.gate.policy import GatePolicy
from tasks.gate.power import power, spread_of
from tasks.gate.retrieval import (
    IndexTests,
    RetrievalTest,
    compare_retrieval,
    compare_scores,
    retrieval_rules,
)
from tasks.gate.scores import ScoredCase, ScoreRow, Scores
from tasks.index.build import build_index
from tasks.index.search import Index, open_index
from tests.corpora import MemorySnapshot
from tests.embedders import HashingEmbedder

MARGIN = 0.05
NIGHTS = 250


@pytest.fixture(scope="session")
def rules(policy: GatePolicy) -> GatePolicy:
    fewer_draws = policy.model_copy(update={"resamples": 999})
    return retrieval_rules(fewer_draws, MARGIN, ["R@4"])


def scores(values: Sequence[float], *, per_document: int = 1) -> Scores:
    ids = [f"q{number}" for number in range(len(values))]
    return Scores(
        cases=tuple(
            ScoredCase(name, f"doc-{number // per_document}") for number, name in enumerate(ids)
        ),
        rows=tuple(
            ScoreRow(name, "R@4", float(value)) for name, value in zip(ids, values, strict=True)
        ),
    )


def compared(old: Sequence[float], new: Sequence[float], rules: GatePolicy) -> RetrievalTest:
    (test,) = compare_scores(scores(old), scores(new), questions="probes", rules=rules)
    return test


def nights(n: int, *, lost: float, won: float, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of binary scores: of the questions the new index loses and wins these shares."""
    draws = np.random.default_rng(seed).random((NIGHTS, n))
    old = (draws >= won).astype(float)
    new = np.where(draws < won, 1.0, np.where(draws > 1 - lost, 0.0, 1.0))
    return list(zip(old, new, strict=True))


@pytest.mark.parametrize("won", [0.0, 0.02, 0.1])
def test_an_index_that_is_worse_by_the_margin_passes_at_most_as_often_as_the_level_says(
    won: float, rules: GatePolicy
) -> None:
    drawn = nights(200, lost=MARGIN + won, won=won, seed=1)
    passed = np.mean([compared(old, new, rules).status == "passed" for old, new in drawn])
    assert passed <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / NIGHTS)


def test_an_equal_index_passes_about_as_often_as_the_planner_says(rules: GatePolicy) -> None:
    drawn = nights(200, lost=0.02, won=0.02, seed=2)
    found = [compared(old, new, rules) for old, new in drawn]
    passed = np.mean([test.status == "passed" for test in found])
    old, new = map(np.concatenate, zip(*drawn, strict=True))
    spread = spread_of(pair_all(rules, scores(old), scores(new))["R@4"])
    planned = power(
        spread.at(200), 0.0, method="Gaffke bound on clusters", threshold=-MARGIN, alpha=0.05
    )
    assert 0.5 < planned < 0.99
    assert abs(passed - planned) <= 0.08
    # It is never called worse more often than the level says.
    assert np.mean([test.status == "worse" for test in found]) <= 0.05


def test_an_index_that_finds_the_same_always_passes(rules: GatePolicy) -> None:
    values = np.random.default_rng(3).random(200)
    test = compared(values, values, rules)
    assert (test.status, test.stops) == ("passed", False)
    assert test.comparison.delta == 0.0


def test_an_index_that_is_far_worse_is_called_so(rules: GatePolicy) -> None:
    drawn = nights(200, lost=0.2, won=0.02, seed=4)
    found = [compared(old, new, rules).status for old, new in drawn]
    assert np.mean([status == "worse" for status in found]) >= 0.95
    assert "passed" not in found


def test_what_no_index_could_show_stops_none_but_a_loss_still_does(rules: GatePolicy) -> None:
    same = [1.0] * 50
    test = compared(same, same, rules)
    assert (test.status, test.stops, test.could_pass) == ("too_few", False, False)
    # (1 - .05)^59 is below .05. Near that edge the draws decide, and nothing stops that is equal.
    statuses = {n: compared([1.0] * n, [1.0] * n, rules).status for n in range(55, 66)}
    assert set(statuses.values()) == {"passed", "too_few"}
    assert statuses[65] == "passed"
    lost = compared(same, [0.0] * 30 + [1.0] * 20, rules)
    assert (lost.status, lost.stops) == ("worse", True)


def test_related_questions_count_as_one(rules: GatePolicy) -> None:
    values = [1.0] * 100
    one_each, five_each = (scores(values, per_document=size) for size in (1, 5))
    (alone,) = compare_scores(one_each, one_each, questions="suite", rules=rules)
    (related,) = compare_scores(five_each, five_each, questions="suite", rules=rules)
    assert (alone.status, alone.comparison.n_clusters) == ("passed", 100)
    assert (related.status, related.comparison.n_clusters) == ("too_few", 20)


# --- real indexes -------------------------------------------------------------------------------


class Forgetful(HashingEmbedder):
    """Doesn't understand some of the documents: all of them get the same vector."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._share = share

    def encode(self, texts, *, progress=None):
        vectors = super().encode(texts, progress=progress)
        for row, text in enumerate(texts):
            number = int(text.split()[1])
            if number < self._share * 120:
                vectors[row] = np.eye(1, self.dimensions, dtype=np.float32)[0]
        return vectors


def corpus() -> list[Document]:
    return [
        Document(
            f"doc-{number}",
            f"Thing {number}",
            f"The word{number} is kept in the box{number} of room{number} alone.",
            {"source": "things"},
        )
        for number in range(120)
    ]


def built(room: Path, embedder: HashingEmbedder) -> Index:
    report = build_index(MemorySnapshot(corpus()), Chunking(), embedder, room=room, previous=None)
    return open_index(report.directory, HashingEmbedder())


def against(old: Index, new: Index, policy: GatePolicy) -> IndexTests:
    documents = corpus()
    probes = draw_probes(documents, documents, count=120, seed=0)
    assert probes is not None
    shared = shared_cases(probes, MemorySnapshot(documents), MemorySnapshot(documents))
    sides = (RetrievalSide(shared.old, old, 4), RetrievalSide(shared.new, new, 4))
    rules = retrieval_rules(policy, MARGIN, ["R@4", "nDCG@4", "span_recall"])
    tests = compare_retrieval(*sides, questions="probes", rules=rules)
    return IndexTests(tests=tests, margin=MARGIN, alpha=policy.alpha)


def test_an_index_made_worse_on_purpose_is_refused_and_an_equal_one_is_not(
    tmp_path: Path, policy: GatePolicy
) -> None:
    good = built(tmp_path / "good", HashingEmbedder())
    assert against(good, good, policy).refused == ()
    broken = built(tmp_path / "broken", Forgetful(0.2))
    found = against(good, broken, policy)
    assert [test.comparison.measure for test in found.refused] == ["R@4", "nDCG@4", "span_recall"]
    assert {test.status for test in found.refused} == {"worse"}
    # The other way round it is an improvement, which stops nothing.
    assert against(broken, good, policy).refused == ()


def test_sides_with_different_questions_are_refused(tmp_path: Path, policy: GatePolicy) -> None:
    documents = corpus()
    index = built(tmp_path, HashingEmbedder())
    probes = draw_probes(documents, documents, count=10, seed=0)
    assert probes is not None
    side = RetrievalSide(probes, index, 4)
    other = replace(side, suite=probes.subset([probes.cases[0].case_id]))
    rules = retrieval_rules(policy, MARGIN, ["R@4"])
    with pytest.raises(SuiteError, match=r"different cases \(10 and 1\)"):
        compare_retrieval(side, other, questions="probes", rules=rules)
