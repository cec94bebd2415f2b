"""`ratchet serve`: how fast a release's model answers, and which way of serving it is cheapest."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from flows.commands.console import Json, print_error, print_json, reported, screen, table
from flows.show import terminal_progress
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release
from tasks.config import LatencySettings
from tasks.errors import BadInput
from tasks.report.latency import latency_rows
from tasks.report.numbers import UNKNOWN, money, percent, significant
from tasks.serve.latency import LatencyReport

if TYPE_CHECKING:
    from flows.steps.bench import ProfileResult

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

    with reported("Nothing is stored: times of a probe that was cut short would be others."):
        settings = _settings(rate, requests, prefix_cache)
        workspace = open_workspace()
        with terminal_progress() as progress:
            found = probe_releases(workspace, _named(workspace, releases), settings, progress)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            _show(found)


@serve.command()
def bench(
    profiles: Annotated[
        list[str] | None,
        typer.Argument(help="Generators of configs/models.yaml; default: all with these weights."),
    ] = None,
    rate: Annotated[float, typer.Option(help="Requests a second of the latency probe.")] = 0.5,
    requests: Annotated[int, typer.Option(min=1, help="Of the latency probe.")] = 40,
    cases: Annotated[int | None, typer.Option(min=1, help="Only so many of the suite.")] = None,
    stored: Annotated[
        bool, typer.Option("--stored", help="Measure nothing; show what was measured last.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure ways of serving one model: throughput, latency under load, quality on the suite.

    Each profile's server is started in turn. The answers are evaluated without a judge. Exit code
    1: a profile couldn't be served; the others are shown.

    Example: ratchet serve bench --cases 40
    """
    from flows.steps.bench import bench_profiles, profiles_of, stored_profiles

    with reported("Profiles that were finished are stored: ratchet serve bench PROFILE --stored"):
        settings = _settings(rate, requests, "busted")
        workspace = open_workspace(cases=cases)
        if stored:
            found, failures, path = stored_profiles(workspace, profiles), {}, None
        else:
            names = profiles or profiles_of(workspace)
            with terminal_progress() as progress:
                made = bench_profiles(workspace, names, settings, progress)
            found, failures, path = made.profiles, made.failures, made.path
        if as_json:
            print_json(
                {
                    "file": str(path) if path else None,
                    "profiles": [each.model_dump(mode="json") for each in found],
                    "failures": {name: error.message for name, error in failures.items()},
                }
            )
        elif found:
            screen.print(_profiles(found))
            if len({(x.asked, x.latency.rate, x.latency.seed) for x in found}) > 1:
                screen.print("They were given other prompts, or other rates: measure them again.")
            if path:
                screen.print(f"Stored in {path}", soft_wrap=True)
        for name, error in failures.items():
            print_error(error, f"Not measured: {name}.")
        if failures:
            raise typer.Exit(1)


def _profiles(found: "Sequence[ProfileResult]") -> Table:
    """One profile a column: what is compared stands side by side."""
    shown = table("", *(f">{escape(each.model)}" for each in found))
    flags = sorted({flag for each in found for flag in each.server_flags})
    for flag in flags:
        values = [str(each.server_flags.get(flag, "not set")) for each in found]
        if len(found) == 1 or len(set(values)) > 1:
            shown.add_row(f"--{flag}", *map(escape, values))
    answered = [max(1, each.calls - each.failures) for each in found]
    shown.add_row("answers", *(str(each.calls - each.failures) for each in found))
    shown.add_row("failed", *(str(each.failures) for each in found))
    shown.add_row(
        "answers/s",
        *(significant(n / each.wall_s) for n, each in zip(answered, found, strict=True)),
    )
    shown.add_row("output tokens/s", *(significant(x.output_tokens / x.wall_s) for x in found))
    shown.add_row(
        "prompt tokens cached",
        *(percent(x.cached_tokens / x.input_tokens) if x.input_tokens else UNKNOWN for x in found),
    )
    shown.add_row(
        "cost of 1,000 answers",
        *(money(1_000 * x.cost / n, x.currency) for n, x in zip(answered, found, strict=True)),
    )
    for rows in zip(*(latency_rows(each.latency) for each in found), strict=True):
        for place, name in enumerate(("50 %", "95 %", "99 %")):
            cells = (escape(row.quantiles[place]) for row in rows)
            shown.add_row(f"{rows[0].what}, {name}", *cells)
    for name in dict.fromkeys(name for each in found for name in each.quality):
        means = [each.quality.get(name) for each in found]
        shown.add_row(name, *(UNKNOWN if v is None else significant(v) for v in means))
    return shown


def _settings(
    rate: float, requests: int, prefix_cache: Literal["busted", "as_is"]
) -> LatencySettings:
    if not 0 < rate < math.inf:
        raise BadInput(
            f"--rate is {rate:g}; expected a number of requests a second, more than 0.",
            next_step="Leave it out for 0.5, or give a rate that the server can take.",
        )
    return LatencySettings(rate=rate, requests=requests, prefix_cache=prefix_cache)


def _named(workspace: Workspace, names: list[str]) -> dict[str, Release]:
    with workspace.registry() as registry:
        found = [registry.release(name) for name in names]
    return {release.label: release for release in found}


def _show(found: LatencyReport) -> None:
    shown = table("release", "time", ">50 %", ">95 %", ">99 %", ">requests", ">failed")
    for row in latency_rows(found):
        cells = map(escape, (row.side, row.what, *row.quantiles))
        shown.add_row(*cells, str(row.n), str(row.failures))
    screen.print(shown)
    screen.print(
        f"{found.rate:g} requests a second of all together (Poisson, seed {found.seed}), prefix "
        f"cache {found.prefix_cache}; in brackets {found.confidence:.0%} intervals."
    )
