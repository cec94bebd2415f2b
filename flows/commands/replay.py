"""`ratchet replay`: do the models still say what an evaluation's log has?"""

from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen
from flows.show import terminal_progress
from flows.workspace import open_workspace
from tasks.digest import SHORT
from tasks.evaluate.replay import Difference
from tasks.report.numbers import plural

_AROUND = 60
"""Characters shown from where two answers part."""


def replay(
    evaluation: Annotated[str, typer.Argument(help="The start of an evaluation's digest.")],
    calls: Annotated[int | None, typer.Option(min=1, help="Only so many, from the first.")] = None,
    as_json: Json = False,
) -> None:
    """Ask every call of an evaluation again, from its log alone, and show the first that differs.

    Exit code 0: all answers are the same; 1: one differs.

    Example: ratchet replay 3f2a9c --calls 50
    """
    from flows.steps.replay import replay_evaluation

    with reported():
        workspace = open_workspace()
        with terminal_progress() as progress:
            found = replay_evaluation(workspace, evaluation, progress, limit=calls)
        outcome, first = found.outcome, found.outcome.first
        if as_json:
            print_json(
                {
                    "evaluation": found.evaluation,
                    "calls": outcome.calls,
                    "equal": outcome.equal,
                    "models": [model.model_dump(mode="json") for model in found.models],
                    "server": found.server,
                    "first": None if first is None else _plain(first),
                }
            )
        else:
            screen.print(
                f"{escape(found.release)}, evaluation {found.evaluation[:SHORT]}: "
                f"{outcome.equal:,} of {plural(outcome.calls, 'call')} answered the same."
            )
            for model in found.models:
                flags = ", ".join(f"{k}={v}" for k, v in model.server_flags.items()) or "none"
                screen.print(
                    f"  {escape(model.served_name)}: temperature {model.sampling.temperature:g}, "
                    f"seed {model.sampling.seed}, server flags: {escape(flags)}"
                )
            for name, value in found.server.items():
                screen.print(f"  server {escape(name)}: {escape(value)}")
            if first is not None:
                _show(first)
        raise typer.Exit(0 if first is None else 1)


def _show(first: Difference) -> None:
    call = first.call
    screen.print(
        f"The first that differs is call {first.number} ({call.purpose}, case "
        f"{call.position + 1}, {call.key[:SHORT]}), from character {first.at + 1}:"
    )
    screen.print(f"  then: {escape(repr(_from(call.text, first.at)))} ({call.finish_reason})")
    screen.print(f"  now:  {escape(repr(_from(first.text, first.at)))} ({first.finish_reason})")


def _from(text: str | None, at: int) -> str | None:
    return None if text is None else text[at : at + _AROUND]


def _plain(first: Difference) -> dict[str, object]:
    return {
        "number": first.number,
        "call": first.call.key,
        "purpose": first.call.purpose,
        "position": first.call.position,
        "at": first.at,
        "then": first.call.text,
        "now": first.text,
    }
