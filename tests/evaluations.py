"""Releases and evaluation logs as a small real run would leave them."""

from dataclasses import replace

from tasks.answer.generate import Answer
from tasks.answer.prompt import PromptMessage, PromptVersion
from tasks.answer.release import Release
from tasks.config import Chunking, GeneratorModel, Price, Retrieval, Sampling
from tasks.digest import text_digest
from tasks.evaluate.log import CostRow, EvalLog, EvalManifest, MeasureInfo
from tasks.evaluate.measures.base import CaseResult, Score, ScoringFailure
from tasks.evaluate.suite import Case, Span
from tasks.index.search import Retrieved
from tasks.serve.version import model_version

MODULES = ("heapq", "json", "pathlib", "itertools")


def make_release(
    number: int = 0,
    *,
    content: str = "{{ passages }}\n\n{{ question }}",
    top_k: int = 4,
    temperature: float = 0.0,
    index: str | None = None,
) -> Release:
    """A release that differs from that of another number in its prompt and its index."""
    return Release(
        prompt=PromptVersion(
            name="answer",
            messages=(
                PromptMessage(role="system", content=f"Answer in {number + 3} words."),
                PromptMessage(role="user", content=content),
            ),
        ),
        model=model_version(
            "tiny",
            GeneratorModel(
                format="endpoint",
                context_length=2048,
                sampling=Sampling(temperature=temperature),
                price=Price(machine_hour=1.0),
            ),
        ),
        retrieval=Retrieval(top_k=top_k),
        index_digest=text_digest(index or f"index {number}"),
        corpus_digest=text_digest(index or f"corpus {number}"),
        chunking=Chunking(),
        embedding="mini",
        embedding_digest=text_digest("mini"),
    )


def make_log(release: Release, *, cases: int = 12, right: int = 8, failed: int = 1) -> EvalLog:
    """An evaluation in which the first cases are right and the last ones have no answer."""
    measures = (
        MeasureInfo(
            name="answer_correct", version=1, kind="binary", higher_is_better=True, judged=False
        ),
        MeasureInfo(name="R@4", version=1, kind="bounded", higher_is_better=True, judged=False),
        MeasureInfo(
            name="token_f1", version=1, kind="bounded", higher_is_better=True, judged=False
        ),
        MeasureInfo(
            name="rubric_accuracy", version=1, kind="bounded", higher_is_better=True, judged=True
        ),
        MeasureInfo(
            name="latency_s", version=1, kind="positive", higher_is_better=False, judged=False
        ),
    )
    results, scores, failures = [], [], []
    for number in range(cases):
        result = _result(release, number)
        case_id = result.case.case_id
        scores.append(Score(case_id, "R@4", 1.0 if number % 5 else 0.0))
        if number >= cases - failed:
            failure = ScoringFailure(case_id, "answer", "CallFailed", "timed out after 4 s", None)
            result = replace(result, answer=None, failure=failure)
            failures += [
                replace(failure, measure=info.name) for info in measures if info.name != "R@4"
            ]
        else:
            assert result.answer is not None
            scores += [
                Score(case_id, "answer_correct", float(number < right)),
                Score(case_id, "token_f1", 0.9 - 0.01 * number if number < right else 0.1),
                Score(case_id, "rubric_accuracy", 5.0 if number < right else 2.0),
                Score(case_id, "latency_s", result.answer.latency_s),
            ]
        results.append(result)
    suite = text_digest(f"suite of {cases}")
    return EvalLog(
        manifest=EvalManifest(
            digest=text_digest(f"evaluation {release.digest} {suite} {right} {failed}"),
            release_digest=release.digest,
            release_label=release.label,
            prompt_digest=release.prompt.digest,
            index_digest=release.index_digest,
            model_digest=release.model.digest,
            suite_digest=suite,
            suite_name="stdlib",
            judge_digest=text_digest("judge"),
            judged_cases=tuple(result.case.case_id for result in results),
            measures=measures,
            seed=0,
            currency="USD",
            costs={
                "answer": _costs(
                    calls=cases, tokens=900 * cases, cost=0.0004 * cases, machine_s=1.0 * cases
                ),
                "judge": _costs(calls=cases, tokens=500 * cases, cost=0.0002 * cases),
            },
            started_at="2026-11-24T03:00:00+00:00",
            wall_s=74.5,
            git_commit="0123456789abcdef0123456789abcdef01234567",
            git_dirty=False,
            versions={"ragas": "0.4.3", "vllm": "0.32.0"},
        ),
        results=tuple(results),
        scores=tuple(scores),
        failures=tuple(failures),
    )


def _result(release: Release, number: int) -> CaseResult:
    module = MODULES[number % len(MODULES)]
    doc_id = f"{module}.f{number}"
    text = f"Return the {number + 1} largest elements of <b>{module}</b> & stop."
    case = Case(
        case_id=f"q{number:03d}",
        question=f"What does {doc_id} return? <script>alert({number})</script>",
        reference=f"The {number + 1} largest elements.",
        gold=(Span(doc_id, 7, 25, text[7:25]),),
        cluster=module,
        tags=(module,),
        must_pass=number == 0,
        aliases=(),
    )
    retrieved = tuple(
        Retrieved(
            chunk_id=f"{doc_id}:{rank}-{rank + 60}",
            doc_id=doc_id if rank == 1 else f"{module}.other{rank}",
            title=doc_id,
            text=text,
            start=0,
            end=len(text),
            score=0.9 - 0.1 * rank,
            rank=rank,
        )
        for rank in range(1, release.retrieval.top_k + 1)
    )
    answer = Answer(
        case_id=case.case_id,
        text=f"It returns the {number + 1} largest elements.",
        finish_reason="stop",
        input_tokens=880,
        cached_tokens=400,
        output_tokens=20,
        latency_s=1.5 + 0.1 * number,
        cost=0.0004,
    )
    return CaseResult(case=case, retrieved=retrieved, answer=answer)


def _costs(*, calls: int, tokens: int, cost: float, machine_s: float | None = None) -> CostRow:
    return CostRow(
        calls=calls,
        cache_hits=0,
        input_tokens=tokens,
        cached_tokens=tokens // 3,
        output_tokens=20 * calls,
        cost=cost,
        failures=0,
        machine_s=machine_s,
    )
