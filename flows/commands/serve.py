"""`ratchet serve`: how fast a release's model answers, and which way of serving it is cheapest."""

from typing import Annotated, Literal

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen, table
from flows.show import terminal_progress
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release
from tasks.config import LatencySettings
from tasks.errors import ConfigError
from tasks.report.latency import latency_rows
from tasks.serve.latency import LatencyReport

serve = typer.Typer(no_args_is_help=True, help="Latency and serving of models.")


@serve.command()
def probe(
    releases: Annotated[
        list[str], typer.Argument(help="Registered releases: digest, label, champion, previous.")
    ],
    rate: Annotated[float, typer.Option(help="Requests a second, of all releases.")] = 0.5,
    requests: Annotated[int, typer.Option(min=1, help="Of each release.")] = 40,
    prefix_cache: Annotated[
        Literal["busted", "as_is"], typer.Option(help="busted: no prompt's beginning is cached.")
    ] = "busted",
    as_json: Json = False,
) -> None:
    """Time streamed answers at a stated rate, the releases in one schedule.

    Requests arrive as a Poisson process, whether earlier ones are answered or not.

    Example: ratchet serve probe champion 3f2a9c --rate 1 --requests 100
    """
    from flows.steps.latency import probe_releases

    with reported():
        if not rate > 0:
            raise ConfigError(
                f"--rate is {rate:g}; expected requests a second, more than 0.",
                next_step="ratchet serve probe champion --rate 0.5",
            )
        workspace = open_workspace()
        settings = LatencySettings(rate=rate, requests=requests, prefix_cache=prefix_cache)
        with terminal_progress() as progress:
            found = probe_releases(workspace, _named(workspace, releases), settings, progress)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            _show(found)


def _named(workspace: Workspace, names: list[str]) -> dict[str, Release]:
    with workspace.registry() as registry:
        found = [registry.release(name) for name in names]
    return {release.label: release for release in found}


def _show(found: LatencyReport) -> None:
    shown = table("release", "time", ">50 %", ">95 %", ">99 %", ">requests", ">failed")
    for row in latency_rows(found):
        shown.add_row(escape(row.side), row.what, *row.quantiles, str(row.n), str(row.failures))
    screen.print(shown)
    screen.print(
        f"{found.rate:g} requests a second of all together (Poisson, seed {found.seed}), prefix "
        f"cache {found.prefix_cache}; in brackets {found.confidence:.0%} intervals."
    )
