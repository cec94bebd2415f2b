"""`ratchet cache`: the model calls that were answered before, and their removal."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen, table
from flows.workspace import open_workspace
from tasks.errors import ConfigError
from tasks.report.numbers import plural
from tasks.serve.cache import GIGABYTE, CallCache

cache = typer.Typer(
    no_args_is_help=True, help="Answers that were paid for once and are not asked for again."
)
_DAY_S = 86_400


def _open() -> CallCache:
    workspace = open_workspace()
    size = int(workspace.project.evaluate.cache_gb * GIGABYTE)
    return CallCache(workspace.home.room("cache"), max_bytes=size)


@cache.command()
def show(as_json: Json = False) -> None:
    """Show its size and what it holds, by model and purpose.

    Example: ratchet cache show
    """
    with reported(), _open() as calls:
        groups = calls.groups()
        if as_json:
            print_json(
                {
                    "directory": str(calls.directory),
                    "bytes": calls.bytes_on_disk,
                    "limit": calls.max_bytes,
                    "entries": len(calls),
                    "groups": [asdict(group) for group in groups],
                }
            )
            return
        shown = table("model", "purpose", ">answers", ">size")
        for group in groups:
            shown.add_row(
                escape(group.model) or "unknown",
                escape(group.purpose) or "unknown",
                f"{group.entries:,}",
                decimal(group.bytes),
            )
        screen.print(shown)
        screen.print(
            f"{plural(len(calls), 'answer')}, {decimal(calls.bytes_on_disk)} of "
            f"{decimal(calls.max_bytes)} in {calls.directory}"
        )


@cache.command()
def prune(
    model: Annotated[str | None, typer.Option(help="Of this model, as the table names it.")] = None,
    purpose: Annotated[str | None, typer.Option(help="Made for this: answer, judge.")] = None,
    older_than: Annotated[float | None, typer.Option(min=0, help="Days.")] = None,
    as_json: Json = False,
) -> None:
    """Remove the answers for which every given condition holds.

    Example: ratchet cache prune --older-than 30
    """
    with reported(), _open() as calls:
        if model is None and purpose is None and older_than is None:
            raise ConfigError(
                "No condition was given; expected --model, --purpose or --older-than.",
                next_step="To remove every answer: ratchet cache clear --yes",
            )
        removed = calls.prune(
            model=model,
            purpose=purpose,
            older_than_s=None if older_than is None else older_than * _DAY_S,
        )
        _say(removed, as_json=as_json)


@cache.command()
def clear(
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove them; else nothing is changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove every answer; the next evaluation asks for all of them again.

    Example: ratchet cache clear --yes
    """
    with reported(), _open() as calls:
        if not yes:
            raise ConfigError(
                f"This removes {plural(len(calls), 'answer')} that would be paid for again.",
                next_step="ratchet cache clear --yes",
            )
        _say(calls.clear(), as_json=as_json)


def _say(removed: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"removed": removed})
    else:
        screen.print(f"Removed: {plural(removed, 'answer')}.")
