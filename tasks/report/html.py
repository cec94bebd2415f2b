"""GateDecision + what it was made from -> one self-contained HTML page.

Answers, documents and errors are other people's text: the template escapes everything, and the
page forbids scripts and every outside resource by its own content security policy.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from tasks.digest import SHORT
from tasks.gate.attribution import PartEffect
from tasks.gate.decision import GateDecision
from tasks.gate.retrieval import RetrievalTest
from tasks.gate.scores import Scores
from tasks.report import effort, findings, forest, numbers, words
from tasks.report import retrieval as retrieval_words
from tasks.report.budget import WIDTH, budget_bar
from tasks.report.cases import sorting_measure, tallies, view_cases
from tasks.report.evidence import Evidence, Logs, evidence
from tasks.report.failures import failures
from tasks.report.groups import anchors, group_cases
from tasks.report.latency import latency_rows
from tasks.report.means import means
from tasks.report.slices import slices

if TYPE_CHECKING:
    from tasks.evaluate.log import EvalLog
    from tasks.serve.latency import LatencyReport

SHOWN_DOCUMENTS = 200
"""Names of changed documents on the page, each kind."""


_DIRECTION_MARKS = dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)))


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
    champion: "EvalLog | Scores | None",
    challenger: "EvalLog | Scores",
    *,
    attribution: Sequence[PartEffect] = (),
    retrieval: Sequence[RetrievalTest] | None = None,
    index: IndexChange | None = None,
    corpus_diff: CorpusChange | None = None,
    latency: "LatencyReport | None" = None,
    spent: Mapping[str, float] | None = None,
) -> str:
    """Render a decision.

    Args:
        decision: what the gate decided.
        champion: the live release's evaluation, or its scores; None for a first release.
        challenger: the same of the challenger. Scores know nothing about answers, time and cost:
            a page of scores leaves them out.
        attribution: what each of several changes does by itself.
        retrieval: old and new index with the same questions, after a re-index.
        index: documents that were added, changed and removed, and what embedding them took.
        corpus_diff: the documents alone, where there is no index to speak of.
        latency: what a probe of both sides found.
        spent: by currency, what all calls of the run cost that made it.

    Returns:
        HTML that needs no other file and loads nothing.
    """
    shown = evidence(champion, challenger)
    context = {
        "decision": decision,
        "attribution": attribution,
        **_verdict(decision),
        **_cases(decision, shown),
        "logs": shown.logs,
        **_effort(shown.logs),
        "probe": latency,
        "spent": spent or {},
        "probe_rows": latency_rows(latency) if latency else (),
        "failures": failures(shown),
        "retrieval": retrieval,
        "index": index,
        "corpus_diff": index or corpus_diff,
        "shown_documents": SHOWN_DOCUMENTS,
        "policy_json": decision.policy.model_dump_json(indent=2, exclude_defaults=True),
    }
    context["sections"] = _sections(context)
    return environment().get_template("decision.html.j2").render(context)


def _verdict(decision: GateDecision) -> dict[str, Any]:
    return {
        "headline": words.headline(decision),
        "sentences": words.sentences(decision),
        "findings": findings.findings(decision),
        "statuses": findings.STATUSES,
        "primary": decision.comparison(sorting_measure(decision.policy)),
        "budget": budget_bar(decision),
        "budget_width": WIDTH,
        "intervals": words.intervals(decision),
        "panels": forest.panels(decision.comparisons, decision.policy),
        "anchor_panels": forest.panels(decision.anchor_comparisons, decision.policy),
        "plot_width": forest.WIDTH,
        "reported": sum(row.role == "report" for row in decision.comparisons),
    }


def _cases(decision: GateDecision, shown: Evidence) -> dict[str, Any]:
    policy = decision.policy
    measure, compared = sorting_measure(policy), shown.old is not None
    views = view_cases(policy, shown)
    groups = group_cases(policy, views, compared=compared)
    counted = tallies(policy, views)
    return {
        "compared": compared,
        "measure": measure,
        "rule": policy.measures[measure],
        "n_cases": len(views),
        "groups": groups,
        "anchors": anchors(views, groups),
        "tallies": counted,
        "tally_places": {row.measure: f"tally-{n}" for n, row in enumerate(counted, start=1)},
        "means": () if compared else means(shown.new, policy),
        "tags": slices(views, by="tag"),
        "clusters": slices(views, by="cluster"),
    }


def _effort(logs: Logs | None) -> dict[str, Any]:
    if logs is None:
        return {"currency": ""}
    return {
        "currency": logs.new.manifest.currency,
        "latency": (effort.latency(logs.old), effort.latency(logs.new)),
        "spending": effort.spending(logs.old, logs.new),
    }


def _sections(context: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Id and title of every section that has something to show, in the page's order."""
    decision = context["decision"]
    wanted = (
        ("why", "Why", True),
        ("checks", "Checks", True),
        ("measures", "Measures", True),
        ("anchor", "Anchor", bool(decision.anchor_comparisons)),
        ("changes", "Changes", bool(context["attribution"])),
        ("cases", "Cases", True),
        ("slices", "Slices", bool(decision.slices or context["tags"] or context["clusters"])),
        ("effort", "Time and cost", context["logs"] is not None),
        ("failures", "Failures", True),
        ("corpus", "Corpus", bool(context["retrieval"] or context["corpus_diff"])),
        ("provenance", "Provenance", True),
    )
    return tuple((name, title) for name, title, here in wanted if here)


def _without_direction_marks(value: object) -> object:
    """Other people's text can't turn the direction of the words that follow it."""
    return value.translate(_DIRECTION_MARKS) if type(value) is str else value


def _short(digest: str | None) -> str:
    return digest[:SHORT] if digest else numbers.UNKNOWN


@cache
def environment() -> Environment:
    """Templates that escape everything and know the words and numbers of the reports."""
    environment = Environment(
        loader=PackageLoader("tasks.report", "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_without_direction_marks,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "numbers": numbers,
        "effort": effort,
        "words": words,
        "tests": retrieval_words,
    }
    environment.filters["short"] = _short
    return environment
