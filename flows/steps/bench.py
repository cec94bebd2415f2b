"""Serving profiles of a model -> what each is worth: throughput, latency under load, quality."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from flows.addresses import served_elsewhere
from flows.endpoints import open_door
from flows.steps.evaluate import evaluate_release
from flows.steps.index import ensure_index, snapshot_corpus, wanted_release
from flows.steps.latency import probe_releases, suite_prompts
from flows.workspace import Workspace, actor
from tasks.answer.release import Release
from tasks.config import LatencySettings, Settings
from tasks.digest import Digest, digest
from tasks.errors import (
    BadInput,
    CallFailed,
    ConfigError,
    RatchetError,
    ServerUnavailable,
    SetupError,
    TooManyFailures,
)
from tasks.evaluate.log import load_log
from tasks.evaluate.measures import measure
from tasks.evaluate.run import Progress
from tasks.gate.documents import read_document
from tasks.serve.client import Message
from tasks.serve.latency import LatencyReport
from tasks.serve.meter import PurposeTotals
from tasks.serve.together import together
from tasks.serve.version import model_version
from tasks.serve.vllm import VllmServer
from tasks.store import write_json

PURPOSE = "bench"


class ProfileResult(Settings):
    """One way of serving, measured by itself on a server that does nothing else."""

    model: str
    model_digest: Digest
    asked: Digest | None = None
    """Of the prompts that it was given: results compare where it is the same."""
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


class StoredProfiles(Settings):
    """A file of what one command measured."""

    started_at: str
    profiles: tuple[ProfileResult, ...]


@dataclass(frozen=True, slots=True)
class Bench:
    """What one command measured."""

    profiles: tuple[ProfileResult, ...]
    failures: dict[str, RatchetError]
    """By profile, why it couldn't be measured."""
    path: Path | None
    """The file that has the profiles; None where there are none."""


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


def stored_profiles(workspace: Workspace, names: Sequence[str] | None) -> tuple[ProfileResult, ...]:
    """The newest stored result of each profile, as configs/models.yaml describes it now.

    Args:
        workspace: settings and state.
        names: generators of configs/models.yaml; None: all that were measured.

    Raises:
        ConfigError: a name isn't known.
        BadInput: a profile wasn't measured, or has other flags since.
        CorruptArtifact: a file of results can't be read.
    """
    models = workspace.project.models
    wanted = {
        name: model_version(name, models.generator(name)).digest
        for name in names or models.generators
    }
    found: dict[Digest, ProfileResult] = {}
    # Their names are their times.
    for path in sorted(workspace.home.path("serving").glob("*.json"), reverse=True):
        stored = read_document(
            path, StoredProfiles, what="results", next_step=f"Remove that file: rm {path}"
        )
        for row in stored.profiles if stored else ():
            found.setdefault(row.model_digest, row)
    missing = [name for name in wanted if wanted[name] not in found]
    if missing if names else len(missing) == len(wanted):
        raise BadInput(
            f"Nothing is stored of {', '.join(map(repr, missing))} with the flags of now; expected "
            "profiles that were measured.",
            next_step=f"ratchet serve bench {' '.join(missing)}",
        )
    return tuple(found[made] for made in wanted.values() if made in found)


def bench_profiles(
    workspace: Workspace, names: Sequence[str], settings: LatencySettings, progress: Progress
) -> Bench:
    """Measure each profile after the other.

    The vLLM that Ratchet starts is started anew for each profile; the last one goes on running.
    A profile that can't be served doesn't keep the next ones from being measured.

    Args:
        workspace: settings and state; of the release, only the model is changed.
        names: generators of configs/models.yaml.
        settings: rate and number of the latency probe.
        progress: told what is done.

    Raises:
        ConfigError: a name isn't known.
        BudgetSpent: nothing more can be paid for.
    """
    for name in names:
        workspace.project.models.generator(name)
    corpus = snapshot_corpus(workspace, progress).digest
    began = datetime.now(UTC)
    path = workspace.home.room("serving") / f"{began:%Y%m%dT%H%M%S%f}.json"
    results: list[ProfileResult] = []
    failures: dict[str, RatchetError] = {}
    for name in names:
        own = _with_model(workspace, name)
        release = wanted_release(own, corpus)
        ensure_index(own, release, progress)
        with own.registry() as registry:
            registry.register(release, who=actor(), why="measured as a serving profile")
        try:
            results.append(_measure(own, release, settings, progress))
        except (SetupError, ServerUnavailable, TooManyFailures) as error:
            failures[name] = error
            continue
        # Whatever becomes of the next profile, this one took minutes.
        stored = StoredProfiles(
            started_at=began.isoformat(timespec="seconds"), profiles=tuple(results)
        )
        write_json(path, stored.model_dump(mode="json"))
    return Bench(tuple(results), failures, path if results else None)


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
    return replace(workspace, project=changed)


def _measure(
    workspace: Workspace, release: Release, settings: LatencySettings, progress: Progress
) -> ProfileResult:
    prompts = suite_prompts(workspace, release, None, progress)
    if not served_elsewhere(workspace.project, release.model.name):
        # One that runs already may hold these prompts in its prefix cache, from an evaluation.
        VllmServer(workspace.project.services.vllm, workspace.home).stop()
    totals, wall_s, currency = asyncio.run(_throughput(workspace, release, prompts, progress))
    latency = probe_releases(workspace, {release.model.name: release}, settings, progress)
    evaluation = evaluate_release(workspace, release, progress)
    log = load_log(workspace.home.path("evals", evaluation))
    found = {each.name: list(log.values(each.name).values()) for each in log.manifest.measures}
    return ProfileResult(
        model=release.model.name,
        model_digest=release.model.digest,
        asked=digest("bench-prompts", 1, prompts),
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
        evaluation=evaluation,
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
