"""`ratchet nightly`, `reindex` and `evaluate`: the flows, from the command line."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flows.commands.console import Json, in_prefect, print_json, reported, screen
from flows.commands.tables import means_table, outcome_lines
from flows.outcome import EXIT_CODES, Outcome
from flows.steps.evaluate import check_settings
from flows.workspace import open_workspace

if TYPE_CHECKING:
    from flows.steps.index import IndexRef

Release = Annotated[str, typer.Option(help="Release file, relative to the project.")]
Cases = Annotated[int | None, typer.Option(min=1, help="Evaluate only so many cases.")]


def nightly(
    release: Release = "configs/release.yaml",
    prompt: Annotated[str | None, typer.Option(help="Another prompt, without .yaml.")] = None,
    top_k: Annotated[int | None, typer.Option(min=1, max=100, help="Passages to retrieve.")] = None,
    cases: Cases = None,
    promote: Annotated[bool, typer.Option(help="Move the champion on PROMOTE.")] = True,
    as_json: Json = False,
) -> None:
    """Re-index what changed, evaluate the wanted release, and promote it if it is better.

    Exit code 0: promoted, or nothing to do; 3: held; 4: rejected; 2: bad input; 1: failure.

    Example: ratchet nightly --prompt answer --top-k 6
    """
    with reported():
        workspace = open_workspace(release=release, prompt=prompt, top_k=top_k, cases=cases)
        check_settings(workspace)

        def run() -> Any:
            from flows.nightly import nightly as flow

            return flow(release=release, prompt=prompt, top_k=top_k, cases=cases, promote=promote)

        outcome: Outcome = in_prefect(workspace, run)
        if as_json:
            print_json(outcome)
        else:
            for line in outcome_lines(workspace, outcome):
                screen.print(line)
        raise typer.Exit(EXIT_CODES[outcome.verdict])


def reindex(release: Release = "configs/release.yaml", as_json: Json = False) -> None:
    """Read the corpus, embed what changed, and test the index beside the live one.

    Nothing goes live. Exit code 0: done; 3: no challenger may have this index.

    Example: ratchet reindex
    """
    with reported():
        workspace = open_workspace(release=release)

        def run() -> object:
            from flows.reindex import reindex as flow

            return flow(release=release)

        index = in_prefect(workspace, run)
        if as_json:
            print_json(index)
        else:
            _show_index(index)
        if index.refused:
            raise typer.Exit(EXIT_CODES["HOLD"])


def _show_index(index: "IndexRef") -> None:
    screen.print(
        f"Index {index.digest[:12]}: {index.chunks} chunks, {index.embedded} embedded, "
        f"{index.reused} reused."
    )
    for kind in ("added", "changed", "removed"):
        names = getattr(index, kind)
        if names:
            screen.print(
                f"  {kind}: {len(names)} ({escape(', '.join(names[:5]))}"
                f"{', ...' if len(names) > 5 else ''})"
            )
    for reason in index.refused:
        screen.print(f"[bold yellow]HOLD[/] {escape(reason)}")
    if index.report is not None:
        screen.print(f"[dim]Report: {index.report}[/]")


def evaluate(
    release: Annotated[
        str, typer.Argument(help="A release file, or a registered release by name or digest.")
    ] = "configs/release.yaml",
    cases: Cases = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Run vLLM for this alone, without a port.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Evaluate one release on the suite, without a decision.

    Example: ratchet evaluate champion --cases 20
    """
    with reported():
        workspace = open_workspace(cases=cases)

        def run() -> Any:
            from flows.evaluate import evaluate as flow

            return flow(release=release, cases=cases, offline=offline)

        digest = in_prefect(workspace, run)
        from flows.steps.decide import load_evaluation

        log = load_evaluation(workspace, digest)
        if as_json:
            print_json(
                {
                    "evaluation": digest,
                    "release": log.manifest.release_digest,
                    "measures": {
                        m.name: _mean(list(log.values(m.name).values()))
                        for m in log.manifest.measures
                    },
                    "failures": len(log.failures),
                }
            )
            return
        screen.print(f"{log.manifest.release_label}: evaluation {digest[:12]}")
        screen.print(means_table(log))


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
