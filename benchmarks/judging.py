"""What P5 and P7 share: cases, a stub of vLLM in its own process, our judge and ragas's."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.stub.engine import Speed, request_of, seconds_of, tokens_of
from benchmarks.stub.profile import PROCESSOR, faster, read_speed
from benchmarks.stub.server import MODEL, prompt_of
from tasks.answer.generate import Answer
from tasks.answer.prompt import load_prompt
from tasks.config import GeneratorModel, Judge, Price
from tasks.evaluate.measures import measure
from tasks.evaluate.measures.base import CaseResult, MeasureContext
from tasks.evaluate.measures.rubric import RUBRIC_VARIABLES
from tasks.evaluate.run import CASES_A_PASS
from tasks.evaluate.suite import Case, Span
from tasks.index.search import Retrieved
from tasks.serve.cache import CallCache
from tasks.serve.client import ModelClient
from tasks.serve.journal import Journal, MadeCall
from tasks.serve.label import calling
from tasks.serve.together import together
from tasks.serve.version import model_version

PASSAGES = 5
CPU_FASTER = 8.0
"""By so much the stub is faster than the processor that it was calibrated on: a run ends in
seconds, and the proportions are the same."""
GPU = Speed(prefill_tokens_s=30_000.0, decode_tokens_s=60_000.0, step_s=0.012, max_num_seqs=128)
"""An assumption, calibrated on nothing: a step reads all weights whatever it computes, so that
large batches are nearly free."""
PORT = 8_123
URL = f"http://127.0.0.1:{PORT}/v1"
PRICE = Price(input_per_million=1.0, output_per_million=2.0)
SHARED = ("faithfulness", "answer_relevancy", "context_precision", "context_recall")
NATIVE = (*(f"native_{name}" for name in SHARED), "judge_accuracy", "judge_completeness")
BY_RAGAS = (*SHARED, "judge_accuracy", "judge_completeness")
_WORDS = ("store", "cool", "keep", "apple", "bread", "dry", "place", "lasts", "days", "week", "the")


class WordEmbedder:
    """Counts words: costs nothing, so that only model calls are measured."""

    name = "words"
    digest = "0" * 64
    dimensions = 64

    def encode(self, texts: Sequence[str], *, progress: Any = None) -> Any:
        """Vectors of length 1."""
        rows = np.full((len(texts), self.dimensions), 1e-6, np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.split():
                row[sum(word.encode()) % self.dimensions] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def count_tokens(self, text: str) -> int:
        """Words."""
        return len(text.split())


def make_results(cases: int) -> list[CaseResult]:
    """Answered cases, each with passages of its own of about 1,200 tokens together."""
    draw = random.Random(5)  # noqa: S311  (no secret)

    def text(words: int) -> str:
        return " ".join(draw.choice(_WORDS) for _ in range(words)) + "."

    results = []
    for number in range(cases):
        case = Case(
            case_id=f"case-{number}",
            question=f"Question {number}: how long can I keep {text(8)}",
            reference=text(16),
            gold=(Span("doc", 0, 4, "Keep"),),
            cluster=f"c{number}",
            tags=(),
            must_pass=False,
            aliases=(),
        )
        passages = tuple(
            Retrieved(
                chunk_id=f"{number}-{rank}",
                doc_id=f"doc-{number}-{rank}",
                title=f"Document {number} {rank}",
                text=text(230),
                start=0,
                end=1,
                score=1.0,
                rank=rank,
            )
            for rank in range(1, PASSAGES + 1)
        )
        answer = Answer(case.case_id, f"Answer {number}: {text(30)}", "stop", 1, 0, 1, 0.1, 0.0)
        results.append(CaseResult(case=case, retrieved=passages, answer=answer))
    return results


def profile(machine: str) -> Speed:
    """What the stub can do as a "CPU", which V1 measured last, or as a "GPU"."""
    return faster(read_speed(PROCESSOR), CPU_FASTER) if machine == "CPU" else GPU


@contextmanager
def stub_server(speed: Speed) -> Iterator[None]:
    """The stub in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.stub.server", "--port", str(PORT)]
    command += ["--prefill", str(speed.prefill_tokens_s), "--decode", str(speed.decode_tokens_s)]
    command += ["--max-num-seqs", str(speed.max_num_seqs), "--step", str(speed.step_s)]
    command += ["--cache-blocks", str(speed.cache_blocks)]
    command += ["--block-tokens", str(speed.block_tokens)]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                try:
                    httpx.get(f"{URL}/models", timeout=1)
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield
        finally:
            process.terminate()


def look(*, forget: bool = False) -> dict[str, Any]:
    """What the stub was asked since the last look; `forget` empties its prefix cache."""
    url = f"{URL.removesuffix('/v1')}/stub"
    return dict(httpx.get(url, params={"forget": "1"} if forget else {}, timeout=10).json())


def judge_ourselves(
    results: Sequence[CaseResult], names: Sequence[str], cache: CallCache | None
) -> tuple[float, tuple[MadeCall, ...], int]:
    """Judge with our own engine.

    Returns:
        Seconds, the calls, and how many measures of cases have no value.
    """
    version = model_version(
        MODEL, GeneratorModel(format="endpoint", context_length=8_192, price=PRICE)
    )
    journal = Journal()
    root = Path(__file__).resolve().parents[1]
    prompt = load_prompt(root / "configs/prompts/judge_rubric.yaml", variables=RUBRIC_VARIABLES)

    async def work() -> int:
        async with ModelClient(
            URL, version, PRICE, cache=cache, in_flight="auto", timeout_s=600.0
        ) as client:
            context = MeasureContext(
                client=client,
                judge=Judge(model=MODEL),
                judge_prompt=prompt,
                embedder=WordEmbedder(),
            )

            async def one(position: int, result: CaseResult) -> int:
                with calling(position=position, depth=1, journal=journal):
                    rows = await together([measure(n).score([result], context) for n in names])
                return sum(hasattr(row, "error_type") for (row,) in rows)

            cases = [one(place, each) for place, each in enumerate(results)]
            return sum(await together(cases, each_pass=CASES_A_PASS))

    began = time.perf_counter()
    failures = asyncio.run(work())
    return time.perf_counter() - began, tuple(journal.calls()), failures


def judge_by_ragas(
    results: Sequence[CaseResult], *, workers: int, cache: Path | None = None
) -> tuple[float, int]:
    """Judge with `ragas.evaluate`: its four measures and two criteria.

    Returns:
        Seconds, and how many values are NaN.
    """
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    import warnings

    from langchain_core.embeddings import Embeddings
    from langchain_openai import ChatOpenAI

    warnings.simplefilter("ignore")
    from ragas import EvaluationDataset, RunConfig, evaluate
    from ragas.cache import DiskCacheBackend
    from ragas.embeddings import LangchainEmbeddingsWrapper
    from ragas.llms import LangchainLLMWrapper
    from ragas.metrics import (
        AspectCritic,
        Faithfulness,
        LLMContextPrecisionWithReference,
        LLMContextRecall,
        ResponseRelevancy,
    )

    class Words(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            rows: list[list[float]] = WordEmbedder().encode(texts).tolist()
            return rows

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    config = RunConfig(max_workers=workers, timeout=600)
    kept = DiskCacheBackend(str(cache)) if cache else None
    chat: Any = ChatOpenAI
    # A client of its own: LangChain's shared one keeps connections of an event loop that has ended.
    client = httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=1_000))
    llm = LangchainLLMWrapper(
        chat(base_url=URL, api_key="none", model=MODEL, timeout=600, http_async_client=client),
        run_config=config,
        cache=kept,
    )
    data = EvaluationDataset.from_list(
        [
            {
                "user_input": result.case.question,
                "retrieved_contexts": [passage.text for passage in result.retrieved],
                "response": result.answer.text if result.answer else "",
                "reference": result.case.reference,
            }
            for result in results
        ]
    )
    began = time.perf_counter()
    found = evaluate(
        data,
        metrics=[
            Faithfulness(),
            ResponseRelevancy(),
            LLMContextPrecisionWithReference(),
            LLMContextRecall(),
            AspectCritic(name="accuracy", definition="Is the response correct?"),
            AspectCritic(name="completeness", definition="Does the response leave nothing out?"),
        ],
        llm=llm,
        embeddings=LangchainEmbeddingsWrapper(Words()),
        run_config=config,
        show_progress=False,
    )
    seconds = time.perf_counter() - began
    values: Any = found
    frame = values.to_pandas().select_dtypes("number")
    return seconds, int(frame.isna().to_numpy().sum())


def least_seconds(calls: Sequence[MadeCall], speed: Speed) -> float:
    """How long the stub needs for these calls when all are there at once, neighbours first."""
    made = sorted(
        ((prompt_of(dict(call.body)), len(tokens_of(call.text or ""))) for call in calls),
        key=lambda each: each[0],
    )
    return seconds_of(
        [request_of(prompt, tokens, speed.block_tokens) for prompt, tokens in made], speed
    )
