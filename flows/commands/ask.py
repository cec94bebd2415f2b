"""`ratchet ask`: the champion answers, with the passages that it used."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen
from flows.show import terminal_progress
from flows.workspace import Workspace, open_workspace
from tasks.answer.generate import Answer, generate
from tasks.answer.release import Release
from tasks.errors import RegistryError
from tasks.evaluate.run import Progress
from tasks.index.search import Retrieved


def ask(
    question: Annotated[str, typer.Argument(help="In your own words.")],
    release: Annotated[
        str, typer.Option(help="Another release: the start of its digest, its label, previous.")
    ] = "champion",
    as_json: Json = False,
) -> None:
    """Answer a question from the live release and show the passages that it was given.

    Example: ratchet ask "Which function gives the k smallest items of an iterable?"
    """
    with reported():
        if not question.strip():
            raise typer.BadParameter("the question is empty")
        workspace = open_workspace()
        with workspace.registry() as registry:
            if release == "champion" and registry.champion_digest() is None:
                raise RegistryError(
                    "No release is live yet, so nothing can answer.",
                    next_step="make demo   or   ratchet nightly",
                )
            chosen = registry.release(release)
        with terminal_progress() as progress:
            answer, passages = asyncio.run(_ask(workspace, chosen, question, progress))
        if as_json:
            print_json(
                {
                    "release": chosen.digest,
                    "answer": answer.text,
                    "passages": [asdict(passage) for passage in passages],
                    "input_tokens": answer.input_tokens,
                    "output_tokens": answer.output_tokens,
                    "latency_s": answer.latency_s,
                }
            )
            return
        screen.print(f"[bold]{escape(answer.text) or '(an empty answer)'}[/]\n", soft_wrap=True)
        for passage in passages:
            first = passage.text.split("\n", 1)[0][:90]
            screen.print(
                f"  [dim]{passage.rank}  {passage.score:.2f}[/]  {escape(passage.title)}  "
                f"[dim]{escape(first)}[/]",
                soft_wrap=True,
            )
        screen.print(f"[dim]{escape(chosen.label)}, {answer.latency_s:.1f} s[/]")


async def _ask(
    workspace: Workspace, release: Release, question: str, progress: Progress
) -> tuple[Answer, list[Retrieved]]:
    from flows.endpoints import open_door
    from flows.steps.index import open_embedder, open_release

    embedder = open_embedder(workspace, release.embedding, progress)
    index = open_release(workspace, release, embedder, progress)
    passages = index.search([question], top_k=release.retrieval.top_k)[0]
    async with open_door(workspace, release.model, progress=progress) as client:
        return await generate(question, passages, release, client, purpose="ask"), passages
