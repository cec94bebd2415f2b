"""An evaluation in a process of its own, for tests that kill it."""

import asyncio
from pathlib import Path

# What the work imports when it needs it: a kill would mostly hit these imports.
import aiohttp  # noqa: F401
import datasets  # noqa: F401
import diskcache  # noqa: F401
import faiss  # noqa: F401
import ir_measures  # noqa: F401
import pyarrow.parquet  # noqa: F401

from tasks.config import Judge, Price
from tasks.evaluate.log import save_log
from tasks.evaluate.measures.base import MeasureContext
from tasks.evaluate.provenance import Provenance
from tasks.evaluate.run import EvaluationPlan, evaluate
from tasks.index.search import open_index
from tasks.serve.cache import CallCache
from tasks.serve.client import ModelClient
from tests.embedders import HashingEmbedder


def run(plan: EvaluationPlan, index: Path, url: str, cache: Path, room: Path) -> None:
    """Evaluate and store the log."""
    embedder = HashingEmbedder()

    async def work() -> None:
        with CallCache(cache) as calls:
            async with ModelClient(
                url,
                plan.release.model,
                Price(input_per_million=1.0, output_per_million=2.0),
                cache=calls,
                in_flight="auto",
            ) as client:
                log = await evaluate(
                    plan,
                    index=open_index(index, embedder),
                    client=client,
                    context=MeasureContext(
                        client=client,
                        judge=Judge(model="tiny"),
                        judge_prompt=plan.judge_prompt,
                        embedder=embedder,
                    ),
                    provenance=Provenance(git_commit=None, git_dirty=None, versions={}),
                    progress=lambda *_: None,
                )
        save_log(log, room)

    asyncio.run(work())
