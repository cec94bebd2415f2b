"""Releases -> how long their answers take at a stated rate, apart from any evaluation's load."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack

from flows.addresses import served_elsewhere
from flows.endpoints import open_door
from flows.steps.evaluate import suite_for
from flows.steps.index import open_embedder, open_release
from flows.workspace import Workspace
from tasks.answer.generate import render_passages
from tasks.answer.release import Release
from tasks.config import LatencySettings
from tasks.digest import Digest
from tasks.errors import ConfigError
from tasks.evaluate.run import Progress, draw
from tasks.serve.client import Message, ModelClient
from tasks.serve.latency import LatencyReport, probe


def one_server_for_two(workspace: Workspace, releases: Mapping[str, Release]) -> bool:
    """Whether the vLLM that Ratchet starts would have to serve two models at the same time."""
    local = {
        release.model.digest
        for release in releases.values()
        if not served_elsewhere(workspace.project, release.model.name)
    }
    return len(local) > 1


def probe_releases(
    workspace: Workspace,
    releases: Mapping[str, Release],
    settings: LatencySettings,
    progress: Progress,
) -> LatencyReport:
    """Time streamed answers to the suite's questions, all releases in one schedule.

    Args:
        workspace: settings and state.
        releases: by the name of their side; they have the same suite.
        settings: rate, number, and what becomes of the prefix cache.
        progress: told what is waited for.

    Raises:
        ConfigError: one server would have to serve two models at the same time.
        ServerUnavailable: a server doesn't answer.
        BudgetSpent: the probe can't be paid for.
    """
    if one_server_for_two(workspace, releases):
        raise ConfigError(
            "Different models can't be timed in one schedule: the vLLM that Ratchet starts serves "
            "one.",
            next_step="Give the models base_urls in configs/models.yaml, or probe one release: "
            "ratchet serve probe RELEASE",
        )
    prompts = {
        side: suite_prompts(workspace, release, settings.requests, progress)
        for side, release in releases.items()
    }
    stage = f"latency: {settings.requests} requests a side at {settings.rate:g}/s"
    progress(stage, 0, settings.requests * len(releases))

    async def work() -> LatencyReport:
        doors: dict[Digest, ModelClient] = {}
        async with AsyncExitStack() as stack:
            for release in releases.values():
                if release.model.digest not in doors:
                    doors[release.model.digest] = await stack.enter_async_context(
                        open_door(workspace, release.model, progress=progress)
                    )
            return await probe(
                {side: doors[release.model.digest] for side, release in releases.items()},
                prompts,
                rate=settings.rate,
                requests=settings.requests,
                seed=workspace.project.evaluate.seed,
                prefix_cache=settings.prefix_cache,
                progress=lambda done, total: progress(stage, done, total),
            )

    return asyncio.run(work())


def suite_prompts(
    workspace: Workspace, release: Release, most: int | None, progress: Progress
) -> list[list[Message]]:
    """What the release would ask its model about cases of the suite.

    Args:
        workspace: settings and state; `cases` of configs/evaluate.yaml limits them, too.
        release: its index is searched and its prompt filled in.
        most: only so many, drawn by the seed; None: all.
        progress: told what is waited for.
    """
    suite, settings = suite_for(workspace, release), workspace.project.evaluate
    limits = [limit for limit in (most, settings.cases, len(suite.cases)) if limit is not None]
    drawn = set(draw(suite, min(limits), seed=settings.seed))
    questions = [case.question for case in suite.cases if case.case_id in drawn]
    index = open_release(
        workspace, release, open_embedder(workspace, release.embedding, progress), progress
    )
    found = index.search(questions, top_k=release.retrieval.top_k)
    return [
        list(release.prompt.render(question=question, passages=render_passages(passages)))
        for question, passages in zip(questions, found, strict=True)
    ]
