"""A release -> answers to questions: the index is opened once, the model asked by the one door."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from flows.endpoints import open_door
from flows.steps.index import open_embedder, open_release
from flows.workspace import Workspace
from tasks.answer.generate import Answer, generate
from tasks.answer.release import Release
from tasks.errors import RegistryError
from tasks.evaluate.run import Progress
from tasks.index.search import Retrieved
from tasks.serve.budget import Budgets
from tasks.serve.together import together


class AnsweringRelease:
    """A release that is ready to answer.

    Args:
        workspace: settings and state; its state directory has the release's index.
        release: what answers.
        progress: told what is waited for.

    Raises:
        RegistryError: the index isn't on this machine.
        CorruptArtifact: it isn't the one that was built.
        SetupError: the embedding model can't be had.
    """

    def __init__(self, workspace: Workspace, release: Release, progress: Progress) -> None:
        directory = workspace.home.path("index", release.index_digest)
        if not directory.is_dir():
            raise RegistryError(
                f"{release.label} searches the index {release.index_digest!r}, which isn't in "
                f"{str(directory.parent)!r}.",
                next_step="Name the state directory that has it with RATCHET_HOME, or build it: "
                "ratchet reindex",
            )
        self.release = release
        # It may answer for months: `budget.run` is of a run, and this is none.
        evaluate = workspace.project.evaluate
        limits = evaluate.budget.model_copy(update={"run": None})
        project = workspace.project.model_copy(
            update={"evaluate": evaluate.model_copy(update={"budget": limits})}
        )
        workspace = replace(workspace, project=project, budgets=Budgets())
        self._workspace = workspace
        self._progress = progress
        self._index = open_release(
            workspace, release, open_embedder(workspace, release.embedding, progress), progress
        )

    def answer(self, questions: Sequence[str]) -> list[tuple[Answer, list[Retrieved]]]:
        """Answer questions, in their order, each with the passages that it was given.

        Raises:
            CallFailed: the model's server failed on a question after all attempts.
            WrongModel: the configured server serves another model.
            ServerUnavailable: it doesn't answer.
        """
        # A thread of its own: the caller's may run an event loop, as MLflow's server does.
        with ThreadPoolExecutor(max_workers=1) as threads:
            return threads.submit(lambda: asyncio.run(self._answer(questions))).result()

    async def _answer(self, questions: Sequence[str]) -> list[tuple[Answer, list[Retrieved]]]:
        found = self._index.search(questions, top_k=self.release.retrieval.top_k)
        async with open_door(
            self._workspace, self.release.model, progress=self._progress
        ) as client:
            answers = await together(
                [
                    generate(question, passages, self.release, client, purpose="ask")
                    for question, passages in zip(questions, found, strict=True)
                ]
            )
        return list(zip(answers, found, strict=True))
