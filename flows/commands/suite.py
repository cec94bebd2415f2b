"""`ratchet suite check`: does every gold quote of the suite stand in the corpus of today?"""

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen
from flows.show import terminal_progress
from flows.workspace import open_workspace

suite = typer.Typer(help="Look after the evaluation suite.", no_args_is_help=True)


@suite.callback()
def _group() -> None:
    """Look after the evaluation suite."""


@suite.command()
def check(as_json: Json = False) -> None:
    """Find every gold quote in the current documents, and name those that moved or went away.

    Exit code 2 when a quote is gone.

    Example: ratchet suite check
    """
    from flows.steps.index import snapshot_corpus
    from tasks.corpus.stored import open_snapshot
    from tasks.evaluate.spans import check_suite
    from tasks.evaluate.suite import load_suite

    with reported():
        workspace = open_workspace()
        cases = load_suite(workspace.project.root / workspace.project.evaluate.suite)
        with terminal_progress() as progress:
            snapshot = snapshot_corpus(workspace, progress)
        found = check_suite(cases, open_snapshot(snapshot.directory))
        if as_json:
            print_json(
                {
                    "cases": found.n_cases,
                    "spans": found.n_spans,
                    "moved": len(found.moved),
                    "lost": len(found.lost),
                    "problems": found.lines(),
                }
            )
        else:
            for line in found.lines():
                screen.print(escape(line), soft_wrap=True)
            screen.print(
                f"{cases.name}: {found.n_cases} cases, {found.n_spans} gold spans, "
                f"{len(found.moved)} moved, {len(found.lost)} lost."
            )
        if found.lost:
            raise typer.Exit(2)
