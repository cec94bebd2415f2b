"""GateDecision + eval logs -> one self-contained HTML page.

Answers, documents and errors are other people's text: the template escapes everything, and the
page forbids scripts and every outside resource by its own content security policy.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tasks.digest import SHORT
from tasks.evaluate.retrieval import RetrievalChange
from tasks.gate.decision import GateDecision
from tasks.report import effort, forest, numbers, words
from tasks.report.cases import CaseView, slices, sorting_measure, view_cases

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog

SHOWN_UNCHANGED = 200
"""Unchanged cases on the page; changed and failed ones are all there."""

SHOWN_DOCUMENTS = 200
"""Names of changed documents on the page, each kind."""


class CorpusChange(Protocol):
    """Names of the documents by which two corpora differ."""

    @property
    def added(self) -> tuple[str, ...]:
        """Documents that are new."""

    @property
    def changed(self) -> tuple[str, ...]:
        """Documents with another text."""

    @property
    def removed(self) -> tuple[str, ...]:
        """Documents that are gone."""


class IndexChange(CorpusChange, Protocol):
    """What a re-index changed, and what it cost."""

    @property
    def chunks(self) -> int:
        """Chunks of the new index."""

    @property
    def embedded(self) -> int:
        """Texts that went through the embedding model."""

    @property
    def reused(self) -> int:
        """Chunks that took their vector from the index before."""


def decision_page(
    decision: GateDecision,
    champion_log: "EvalLog | None",
    challenger_log: "EvalLog",
    *,
    retrieval: Sequence[RetrievalChange] | None = None,
    index: IndexChange | None = None,
    corpus_diff: CorpusChange | None = None,
) -> str:
    """Render a decision.

    Args:
        decision: what the gate decided.
        champion_log: the live release's evaluation; None for a first release.
        challenger_log: the challenger's evaluation.
        retrieval: old and new index on the suite, after a re-index.
        index: documents that were added, changed and removed, and what embedding them took.
        corpus_diff: the documents alone, where there is no index to speak of.

    Returns:
        HTML that needs no other file and loads nothing.
    """
    views = view_cases(decision.policy, champion_log, challenger_log)
    context: dict[str, Any] = {
        "decision": decision,
        "headline": words.headline(decision),
        "sentences": words.sentences(decision),
        "confidence": words.confidence(decision),
        "outcomes": words.OUTCOMES,
        "panels": forest.panels(decision.comparisons, decision.policy),
        "plot_width": forest.WIDTH,
        "measure": sorting_measure(decision.policy),
        "primary": decision.comparison(sorting_measure(decision.policy)),
        "old": champion_log,
        "new": challenger_log,
        "currency": challenger_log.manifest.currency,
        **_cases(views, champion_log is not None),
        "tags": slices(views, by="tag"),
        "clusters": slices(views, by="cluster"),
        "latency": (effort.latency(champion_log), effort.latency(challenger_log)),
        "spending": effort.spending(champion_log, challenger_log),
        "failures": effort.failures(champion_log, challenger_log),
        "retrieval": retrieval,
        "index": index,
        "corpus_diff": index or corpus_diff,
        "shown_documents": SHOWN_DOCUMENTS,
        "policy_json": decision.policy.model_dump_json(indent=2, exclude_defaults=True),
    }
    return _environment().get_template("decision.html.j2").render(context)


def _cases(views: Sequence[CaseView], compared: bool) -> dict[str, Any]:
    """Changed cases first; for a first release the failing ones."""
    if compared:
        lost = [view for view in views if view.change == "lost"]
        won = [view for view in views if view.change == "won"]
        rest = [view for view in views if view.change == "same"]
    else:
        lost = [view for view in views if view.new.value != 1.0]
        won, rest = [], [view for view in views if view.new.value == 1.0]
    return {
        "case_groups": (
            ("lost", "Losses" if compared else "Not passed", lost, len(lost)),
            ("won", "Wins", won, len(won)),
            ("same", "No difference" if compared else "Passed", rest[:SHOWN_UNCHANGED], len(rest)),
        ),
        "n_cases": len(views),
    }


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else numbers.UNKNOWN


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tasks.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"numbers": numbers, "effort": effort}
    environment.filters["short"] = _short
    return environment
