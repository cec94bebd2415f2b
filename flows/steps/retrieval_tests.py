"""Live and wanted release -> is the new index fit to serve a challenger? No answer is generated."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from flows.steps.index import open_embedder, open_release
from flows.steps.reindex_report import ROOM
from flows.workspace import Workspace
from tasks.answer.release import Release
from tasks.corpus.stored import StoredSnapshot, open_snapshot
from tasks.digest import digest
from tasks.evaluate.measures import measure
from tasks.evaluate.probes import draw_probes, probe_documents
from tasks.evaluate.retrieval import RetrievalSide, SharedCases, shared_cases
from tasks.evaluate.run import Progress
from tasks.evaluate.spans import lost_line
from tasks.evaluate.suite import Suite, load_suite
from tasks.gate.documents import read_document
from tasks.gate.policy import GatePolicy, load_policy
from tasks.gate.retrieval import (
    MEASURES,
    RETRIEVAL_TESTS_VERSION,
    IndexTests,
    Questions,
    RetrievalTest,
    compare_retrieval,
    retrieval_rules,
)
from tasks.index.filters import passes
from tasks.index.remember import RememberingEmbedder
from tasks.index.retrieve import Searcher
from tasks.report.retrieval import headline, refusal_lines
from tasks.store import write_json


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two indexes, open, with the corpus it was built from."""

    snapshot: StoredSnapshot
    index: Searcher


def index_tests(
    workspace: Workspace, live: Release, wanted: Release, progress: Progress
) -> IndexTests | None:
    """Search the same questions in the live index and in the wanted one, and compare them.

    Both are searched as the wanted release searches, so that nothing but the index differs. It
    costs embedding the questions, once where both indexes have the same embedding model. What was
    tested before is found by what made it, and costs nothing: a refused index is wanted again
    every night until somebody changes it.

    Args:
        workspace: settings and state.
        live: the champion.
        wanted: what may become a challenger; its index is built.
        progress: told what is done.

    Returns:
        None where both have the same index, or tests are switched off.

    Raises:
        ConfigError: configs/gate.yaml is wrong.
        SuiteError: the suite is malformed.
        CorruptArtifact: an index, a corpus or the stored tests were changed.
    """
    settings = workspace.project.corpus.retrieval_tests
    if settings.action == "off" or live.index_digest == wanted.index_digest:
        return None
    policy = load_policy(workspace.project.gate_policy)
    suite = load_suite(workspace.project.root / workspace.project.evaluate.suite)
    top_k = wanted.retrieval.top_k
    rules = retrieval_rules(policy, settings.margin, [name.format(k=top_k) for name in MEASURES])
    path = _place(workspace, live, wanted, suite, rules, probes=settings.probes)
    known = read_document(
        path, IndexTests, what="retrieval tests", next_step=f"Test again: rm {path}"
    )
    if known is not None:
        return known
    progress("test retrieval", 0, 0)
    old, new = _open(workspace, live.with_part("retrieval", wanted), wanted, progress)
    asked = shared_cases(suite, old.snapshot, new.snapshot)
    probes = _probes(wanted, policy, old, new, count=settings.probes)
    both: tuple[tuple[Questions, SharedCases | None], ...] = (("suite", asked), ("probes", probes))
    sets = [(name, cases) for name, cases in both if cases is not None and cases.new.cases]
    tests: list[RetrievalTest] = []
    for done, (questions, cases) in enumerate(sets):
        progress(f"test retrieval: {questions}", done, len(sets))
        tests += compare_retrieval(
            RetrievalSide(cases.old, old.index, top_k),
            RetrievalSide(cases.new, new.index, top_k),
            questions=questions,
            rules=rules,
        )
    progress("test retrieval", len(sets), len(sets))
    found = IndexTests(
        tests=tuple(tests),
        margin=settings.margin,
        alpha=policy.alpha,
        suite_problems=tuple(lost_line(span) for span in asked.lost),
        left_out=asked.left_out,
    )
    write_json(path, found.model_dump(mode="json"))
    return found


def _place(
    workspace: Workspace,
    live: Release,
    wanted: Release,
    suite: Suite,
    rules: GatePolicy,
    *,
    probes: int,
) -> Path:
    """Where the tests are kept that these inputs give, beside the new index's report."""
    made_of = {
        "old": live.index_digest,
        "new": wanted.index_digest,
        "retrieval": wanted.retrieval.model_dump(mode="json"),
        "reranker": wanted.reranker_digest,
        # Its digest leaves positions out, and they choose between two places of a quote.
        "suite": [suite.digest, [[span.start for span in case.gold] for case in suite.cases]],
        "probes": probes,
        "rules": rules.digest,
        "measures": {name: measure(name).version for name in rules.measures},
    }
    name = digest("retrieval-tests", RETRIEVAL_TESTS_VERSION, made_of)
    return workspace.home.path(ROOM, wanted.index_digest, f"tests-{name}.json")


def refusal(workspace: Workspace, tests: IndexTests | None) -> tuple[str, ...]:
    """Why the wanted release isn't made a challenger; empty where nothing speaks against it."""
    if tests is None or workspace.project.corpus.retrieval_tests.action != "stop":
        return ()
    why = refusal_lines(tests)
    if not why:
        return ()
    first = (
        f"{headline(tests)} {why[0]} No model was called. Change the index, or see what answers "
        "it gives with `retrieval_tests: {action: report}` in configs/corpus.yaml."
    )
    return (first, *why[1:])


def _open(
    workspace: Workspace, live: Release, wanted: Release, progress: Progress
) -> tuple[_Side, _Side]:
    embedders: dict[str, RememberingEmbedder] = {}
    sides = []
    for release in (live, wanted):
        if release.embedding_digest not in embedders:
            embedders[release.embedding_digest] = RememberingEmbedder(
                open_embedder(workspace, release.embedding, progress)
            )
        index = open_release(workspace, release, embedders[release.embedding_digest], progress)
        snapshot = open_snapshot(workspace.home.path("corpus", release.corpus_digest))
        sides.append(_Side(snapshot, index))
    return sides[0], sides[1]


def _probes(
    release: Release, policy: GatePolicy, old: _Side, new: _Side, *, count: int
) -> SharedCases | None:
    """Probes of documents that both corpora have and the release's filters let through."""
    if not count:
        return None
    shared = old.snapshot.digests.ids_in(new.snapshot.digests)
    chosen: Collection[str] = probe_documents(shared, count=count, seed=policy.seed)
    before, after = (
        [
            document
            for document in side.snapshot.read(set(chosen))
            if passes(document.metadata, release.retrieval.filters)
        ]
        for side in (old, new)
    )
    probes = draw_probes(before, after, count=count, seed=policy.seed)
    return None if probes is None else shared_cases(probes, old.snapshot, new.snapshot)
