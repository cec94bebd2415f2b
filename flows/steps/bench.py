"""Serving profiles of a model -> what each is worth: throughput, latency under load, quality."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows.endpoints import open_door
from flows.steps.evaluate import evaluate_release
from flows.steps.index import ensure_index, snapshot_corpus, wanted_release
from flows.steps.latency import probe_releases, suite_prompts
from flows.workspace import Workspace, actor
from tasks.answer.release import Release
from tasks.config import LatencySettings, Settings
from tasks.digest import Digest
from tasks.errors import CallFailed, ConfigError
from tasks.evaluate.log import load_log
from tasks.evaluate.measures import measure
from tasks.evaluate.run import Progress
from tasks.serve.client import Message
from tasks.serve.latency import LatencyReport
from tasks.serve.meter import PurposeTotals
from tasks.serve.together import together
from tasks.store import write_json

PURPOSE = "bench"


class ProfileResult(Settings):
    """One way of serving, measured by itself on a server that does nothing else."""

    model: str
    model_digest: Digest
    server_flags: dict[str, str | int | float | bool]
    calls: int
    failures: int
    wall_s: float
    """From the first call to the last answer, all calls given to the server at once."""
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    cost: float
    """Of these calls, in the price's currency."""
    currency: str
    latency: LatencyReport
    quality: dict[str, float]
    """Means of the evaluation's measures of quality that need no judge."""
    evaluation: Digest


def profiles_of(workspace: Workspace) -> tuple[str, ...]:
    """Names of the generators with the weights of the wanted release's model.

    Raises:
        ConfigError: nobody knows the weights, so nothing says what belongs together.
    """
    models = workspace.project.models
    wanted = models.generator(workspace.project.release.model)
    if wanted.sha256 is None:
        raise ConfigError(
            f"The weights of {workspace.project.release.model!r} aren't known; expected the names "
            "of the profiles.",
            next_step="ratchet serve bench PROFILE OTHER-PROFILE",
        )
    return tuple(name for name, model in models.generators.items() if model.sha256 == wanted.sha256)


def bench_profiles(
    workspace: Workspace, names: Sequence[str], settings: LatencySettings, progress: Progress
) -> tuple[tuple[ProfileResult, ...], Path]:
    """Measure each profile after the other; the results, and the file that has them.

    A model's server is started, or replaced, as for an evaluation; the last one goes on running.

    Args:
        workspace: settings and state; of the release, only the model is changed.
        names: generators of configs/models.yaml.
        settings: rate and number of the latency probe.
        progress: told what is done.

    Raises:
        ConfigError: a name isn't known.
        ServerUnavailable: a profile's server doesn't answer.
        SetupError: it can't be started.
    """
    for name in names:
        workspace.project.models.generator(name)
    corpus = snapshot_corpus(workspace, progress).digest
    began = datetime.now(UTC)
    path = workspace.home.room("serving") / f"{began:%Y%m%dT%H%M%S%f}.json"
    results: list[ProfileResult] = []
    for name in names:
        own = _with_model(workspace, name)
        release = wanted_release(own, corpus)
        ensure_index(own, release, progress)
        with own.registry() as registry:
            registry.register(release, who=actor(), why="measured as a serving profile")
        results.append(_measure(own, release, settings, progress))
        # Whatever becomes of the next profile, this one took minutes.
        profiles = [result.model_dump(mode="json") for result in results]
        write_json(path, {"started_at": began.isoformat(timespec="seconds"), "profiles": profiles})
    return tuple(results), path


def _with_model(workspace: Workspace, name: str) -> Workspace:
    """The workspace with another model, and without a judge: it would have to be served too.

    What answers take is measured apart: an evaluation's may come from an earlier run, by the cache.
    """
    project = workspace.project
    found = (measure(name) for name in project.evaluate.measures)
    measures = tuple(each.name for each in found if not each.judged and "usage" not in each.inputs)
    evaluate = project.evaluate.model_copy(
        update={
            "measures": measures,
            "judge": project.evaluate.judge.model_copy(update={"sample": 0}),
        }
    )
    release = project.release.model_copy(update={"model": name})
    changed = project.model_copy(update={"evaluate": evaluate, "release": release})
    return Workspace(project=changed, home=workspace.home)


def _measure(
    workspace: Workspace, release: Release, settings: LatencySettings, progress: Progress
) -> ProfileResult:
    prompts = suite_prompts(workspace, release, None, progress)
    totals, wall_s, currency = asyncio.run(_throughput(workspace, release, prompts, progress))
    latency = probe_releases(workspace, {release.model.name: release}, settings, progress)
    digest = evaluate_release(workspace, release, progress)
    log = load_log(workspace.home.path("evals", digest))
    found = {each.name: list(log.values(each.name).values()) for each in log.manifest.measures}
    return ProfileResult(
        model=release.model.name,
        model_digest=release.model.digest,
        server_flags=release.model.server_flags,
        calls=totals.calls,
        failures=totals.failures,
        wall_s=wall_s,
        input_tokens=totals.input_tokens,
        cached_tokens=totals.cached_tokens,
        output_tokens=totals.output_tokens,
        cost=totals.spent,
        currency=currency,
        latency=latency,
        quality={name: sum(values) / len(values) for name, values in found.items() if values},
        evaluation=digest,
    )


async def _throughput(
    workspace: Workspace, release: Release, prompts: Sequence[list[Message]], progress: Progress
) -> tuple[PurposeTotals, float, str]:
    """Give the server everything at once, past the cache of answers."""
    done = 0
    async with open_door(workspace, release.model, progress=progress) as door:

        async def one(position: int, messages: list[Message]) -> None:
            nonlocal done
            # Counted by the door; how many failed is part of the result.
            with contextlib.suppress(CallFailed):
                await door.ask_uncached(
                    door.chat_body(messages), purpose=PURPOSE, position=position
                )
            done += 1
            progress(f"throughput {release.model.name}", done, len(prompts))

        began = time.perf_counter()
        await together([one(number, each) for number, each in enumerate(prompts)])
        wall_s = time.perf_counter() - began
        return door.meter.totals()[PURPOSE], wall_s, door.price.currency
