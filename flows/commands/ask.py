"""`ratchet ask`: the champion answers, with the passages that it used."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen
from flows.show import terminal_progress
from flows.workspace import open_workspace
from tasks.errors import RegistryError


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
    from flows.steps.ask import AnsweringRelease

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
            answering = AnsweringRelease(workspace, chosen, progress)
            ((answer, passages),) = answering.answer([question])
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
