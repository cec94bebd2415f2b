"""A stored evaluation -> whether its models still say the same."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from flows.endpoints import open_door
from flows.workspace import Workspace
from registry.releases import resolve
from tasks.digest import SHORT, Digest
from tasks.errors import WrongModel
from tasks.evaluate.log import load_calls, load_manifest
from tasks.evaluate.replay import Replay, replay
from tasks.evaluate.run import Progress
from tasks.serve.version import ModelVersion


@dataclass(frozen=True)
class Replayed:
    """A repetition and what it was one of."""

    evaluation: Digest
    release: str
    models: tuple[ModelVersion, ...]
    server: dict[str, str]
    outcome: Replay


def find_evaluation(workspace: Workspace, name: str) -> Digest:
    """The stored evaluation whose digest starts so.

    Raises:
        RegistryError: none does, or several do.
    """
    room = workspace.home.room("evals")
    stored = {path.name: "" for path in sorted(room.glob("[!.]*"))}
    return resolve(name, labels=stored, what="evaluation", see=f"ls {room}")


def replay_evaluation(
    workspace: Workspace, name: str, progress: Progress, *, limit: int | None = None
) -> Replayed:
    """Ask every call of an evaluation again, from its log alone.

    Args:
        workspace: settings and state.
        name: the start of the evaluation's digest.
        progress: told what is done.
        limit: only so many calls, from the first.

    Raises:
        RegistryError: there is no such evaluation.
        WrongModel: the server serves another model than the log names.
        CorruptArtifact: the log is damaged.
    """
    digest = find_evaluation(workspace, name)
    directory = workspace.home.path("evals", digest)
    manifest = load_manifest(directory)
    calls = load_calls(directory)[:limit]
    missing = {call.model for call in calls} - set(manifest.models)
    if missing:
        raise WrongModel(
            f"Evaluation {digest[:SHORT]} has calls to models that its manifest doesn't describe: "
            f"{sorted(each[:SHORT] for each in missing)}.",
            next_step="Evaluate again: ratchet evaluate",
        )
    judge = workspace.project.evaluate.judge.endpoint

    async def work() -> Replay:
        async with AsyncExitStack() as stack:
            doors = {}
            for model in sorted({call.model for call in calls}):
                endpoint = judge if model != manifest.model_digest else None
                doors[model] = await stack.enter_async_context(
                    open_door(
                        workspace, manifest.models[model], endpoint=endpoint, progress=progress
                    )
                )
            return await replay(calls, doors, progress)

    return Replayed(
        evaluation=digest,
        release=manifest.release_label,
        server=manifest.server,
        models=tuple(manifest.models[key] for key in sorted(manifest.models)),
        outcome=asyncio.run(work()),
    )
