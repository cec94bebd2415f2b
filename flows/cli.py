"""The `ratchet` command."""

from collections.abc import Callable

import typer

from flows.commands import ask, releases, runs, servers
from flows.commands.cache import cache
from flows.commands.demo import demo
from flows.commands.gate import gate
from flows.commands.gc import gc
from flows.commands.index import index
from flows.commands.judge import judge
from flows.commands.label import label
from flows.commands.measures import measures
from flows.commands.registry import registry
from flows.commands.replay import replay
from flows.commands.serve import serve
from flows.commands.show import diff, show
from flows.commands.stage import stage
from flows.commands.suite import suite
from flows.commands.verify import verify

app = typer.Typer(
    name="ratchet",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    help="Evaluate RAG releases and promote one only on evidence.\n\n"
    "Exit codes: 0 done or promoted, 1 failure, 2 bad input, 3 held, 4 rejected.",
)

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Servers": (servers.up, servers.down, servers.status, servers.doctor),
    "Runs": (demo, runs.nightly, runs.reindex, runs.evaluate, measures, replay),
    "Releases": (
        ask.ask,
        releases.releases,
        show,
        diff,
        releases.history,
        releases.promote,
        releases.rollback,
        releases.anchor,
        verify,
        gc,
    ),
}
for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
app.add_typer(gate, name="gate", rich_help_panel="Runs")
app.add_typer(suite, name="suite", rich_help_panel="Runs")
app.add_typer(registry, name="registry", rich_help_panel="Releases")
app.add_typer(serve, name="serve", rich_help_panel="Runs")
app.add_typer(cache, name="cache", rich_help_panel="Runs")
app.add_typer(index, name="index", rich_help_panel="Releases")
app.add_typer(label, name="label", rich_help_panel="People and judge")
app.add_typer(judge, name="judge", rich_help_panel="People and judge")
app.add_typer(stage, name="stage", hidden=True)


def main() -> None:
    """Run the command line."""
    app()
