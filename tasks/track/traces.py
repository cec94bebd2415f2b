"""EvalLog -> a few MLflow traces: passages, messages, answer and scores of single cases."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasks.answer.generate import render_passages
from tasks.answer.release import Release
from tasks.digest import SHORT, text_digest
from tasks.errors import ServerUnavailable
from tasks.evaluate.log import EvalLog
from tasks.evaluate.measures.base import CaseResult

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Span

TRACES = 6
_NS = 1_000_000_000


def chosen_results(log: EvalLog, *, limit: int = TRACES) -> list[CaseResult]:
    """Cases worth a look: some that every run of the suite shows, then those that did worst.

    The first half depends on the case ids alone, so that two runs can be read side by side; the
    second half is what failed, or has the least mean over measures between 0 and 1.
    """
    values = [
        log.values(info.name)
        for info in log.manifest.measures
        if info.kind != "positive" and info.higher_is_better
    ]
    failed = {row.case_id for row in log.failures}

    def merit(result: CaseResult) -> tuple[bool, float]:
        case_id = result.case.case_id
        found = [column[case_id] for column in values if case_id in column]
        return case_id not in failed, sum(found) / len(found) if found else 0.0

    ranked = sorted(log.results, key=lambda result: text_digest(result.case.case_id))
    kept, rest = ranked[: limit // 2], ranked[limit // 2 :]
    return kept + sorted(rest, key=merit)[: limit - len(kept)]


def log_traces(
    client: "MlflowClient", log: EvalLog, release: Release, *, experiment_id: str, run_id: str
) -> int:
    """Write the chosen cases as traces of a run.

    An evaluation records how long a model call took, not when it began: traces begin when the
    evaluation did, and searching, whose time isn't recorded, has no length.

    Returns:
        How many traces the server has now.

    Raises:
        ServerUnavailable: the server took fewer than it was sent.
    """
    results = chosen_results(log)
    started = int(datetime.fromisoformat(log.manifest.started_at).timestamp() * _NS)
    for result in results:
        _log_trace(client, log, release, result, experiment_id, run_id, started)
    # Tracing reports its failures to the log alone; what arrived is the only evidence.
    found = client.search_traces(
        locations=[experiment_id], run_id=run_id, include_spans=False, max_results=100
    )
    if len(found) < len(results):
        raise ServerUnavailable(
            f"MLflow took {len(found)} of {len(results)} traces.",
            next_step="Look at its log: ratchet status",
        )
    return len(found)


def _log_trace(
    client: "MlflowClient",
    log: EvalLog,
    release: Release,
    result: CaseResult,
    experiment_id: str,
    run_id: str,
    started: int,
) -> None:
    from mlflow.entities import Document, SpanType

    case, answer = result.case, result.answer
    root = client.start_trace(
        "answer",
        span_type=SpanType.CHAIN,
        inputs=case.question,
        tags={
            "case_id": case.case_id,
            "release": release.digest[:SHORT],
            "suite": log.manifest.suite_name,
        },
        experiment_id=experiment_id,
        run_id=run_id,
        start_time_ns=started,
    )
    search = client.start_span(
        "retrieve",
        root.trace_id,
        root.span_id,
        span_type=SpanType.RETRIEVER,
        inputs={"query": case.question, "top_k": release.retrieval.top_k},
        start_time_ns=started,
    )
    client.end_span(
        root.trace_id,
        search.span_id,
        outputs=[
            Document(
                page_content=passage.text,
                metadata={
                    "doc_uri": passage.doc_id,
                    "chunk_id": passage.chunk_id,
                    "title": passage.title,
                    "score": passage.score,
                    "rank": passage.rank,
                },
                id=passage.chunk_id,
            )
            for passage in result.retrieved
        ],
        end_time_ns=started,
    )
    ended = started + int((answer.latency_s if answer else 0.0) * _NS)
    model = client.start_span(
        release.model.name,
        root.trace_id,
        root.span_id,
        span_type=SpanType.CHAT_MODEL,
        inputs={
            "messages": release.prompt.render(
                question=case.question, passages=render_passages(result.retrieved)
            )
        },
        attributes=_usage(result),
        start_time_ns=started,
    )
    status = "OK" if answer else "ERROR"
    said = {"role": "assistant", "content": answer.text} if answer else None
    client.end_span(
        root.trace_id,
        model.span_id,
        outputs={"choices": [{"message": said}]} if said else None,
        status=status,
        end_time_ns=ended,
    )
    _assess(root, log, result)
    client.end_trace(
        root.trace_id,
        outputs=answer.text if answer else None,
        status=status,
        end_time_ns=ended,
    )


def _usage(result: CaseResult) -> dict[str, Any]:
    if result.answer is None:
        return {"error": result.failure.message} if result.failure else {}
    answer = result.answer
    known: dict[str, Any] = {
        name: value
        for name, value in (("finish_reason", answer.finish_reason), ("cost", answer.cost))
        if value is not None
    }
    if answer.input_tokens is not None and answer.output_tokens is not None:
        known["mlflow.chat.tokenUsage"] = {
            "input_tokens": answer.input_tokens,
            "output_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
        }
    return known


def _assess(root: "Span", log: EvalLog, result: CaseResult) -> None:
    """Put scores, failures and the reference on a trace that isn't sent yet."""
    import mlflow
    from mlflow.entities import AssessmentError, AssessmentSource
    from mlflow.tracing.provider import safe_set_span_in_context

    case_id = result.case.case_id
    # Inside the trace they travel with it; outside, each would be a request of its own.
    with safe_set_span_in_context(root):
        mlflow.log_expectation(
            trace_id=root.trace_id,
            name="reference",
            value=result.case.reference,
            source=AssessmentSource(source_type="HUMAN", source_id=log.manifest.suite_name),
        )
        for info in log.manifest.measures:
            score, failure = log.values(info.name).get(case_id), log.failed(info.name).get(case_id)
            if score is None and failure is None:
                continue
            kind = "LLM_JUDGE" if info.judged else "CODE"
            mlflow.log_feedback(
                trace_id=root.trace_id,
                name=info.name,
                value=bool(score) if info.kind == "binary" and score is not None else score,
                error=AssessmentError(failure.error_type, failure.message) if failure else None,
                source=AssessmentSource(source_type=kind, source_id=f"v{info.version}"),
            )
