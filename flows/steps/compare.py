"""Two stored evaluations -> stored preferences between their answers."""

import asyncio

from pydantic import ValidationError

from flows.endpoints import open_door
from flows.show import showing_calls
from flows.workspace import Workspace
from tasks.digest import Digest
from tasks.errors import CorruptArtifact
from tasks.evaluate.log import load_log
from tasks.evaluate.measures.base import MeasureContext
from tasks.evaluate.pairwise import (
    AnsweredPair,
    Preference,
    Preferences,
    judged_pairs,
    prefer,
    preferences_digest,
)
from tasks.evaluate.run import Progress
from tasks.serve.version import ModelVersion, model_version
from tasks.store import write_json


def compare_answers(
    workspace: Workspace, champion: Digest, challenger: Digest, progress: Progress
) -> Preferences:
    """Ask the judge which answers it prefers, or find that it was asked about the same ones.

    Preferences that lost calls aren't kept: the next run asks for what is missing.

    Args:
        workspace: settings and state.
        champion: digest of the champion's evaluation.
        challenger: digest of the challenger's.
        progress: told how many cases were compared.

    Raises:
        ServerUnavailable: the judge's server doesn't answer.
        TooManyFailures: it went away; the next run continues from what was finished.
        CorruptArtifact: stored preferences can't be read.
    """
    settings = workspace.project.evaluate.judge
    judge = model_version(settings.model, workspace.project.models.generator(settings.model))
    old, new = (load_log(workspace.home.path("evals", name)) for name in (champion, challenger))
    pairs = judged_pairs(old, new)
    name = preferences_digest(pairs, judge, max_tokens=settings.max_tokens)
    path = workspace.home.room("preferences") / f"{name}.json"
    if path.is_file():
        try:
            return Preferences.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise CorruptArtifact(
                f"The preferences in {str(path)!r} can't be read: {error}.",
                next_step=f"Remove that file and compare again: rm {path}",
            ) from error
    rows = asyncio.run(_ask(workspace, judge, pairs, progress))
    found = Preferences(digest=name, rows=rows)
    if not found.lost_calls:
        write_json(path, found.model_dump(mode="json"))
    return found


async def _ask(
    workspace: Workspace,
    judge: ModelVersion,
    pairs: tuple[AnsweredPair, ...],
    progress: Progress,
) -> tuple[Preference, ...]:
    settings = workspace.project.evaluate
    async with (
        open_door(workspace, judge, endpoint=settings.judge.endpoint, progress=progress) as client,
        showing_calls(client, progress),
    ):
        context = MeasureContext(client=client, judge=settings.judge)
        return await prefer(pairs, context, progress=progress)
