"""`ratchet stage ...`: what dvc.yaml runs; the same steps as the nightly run, without Prefect.

Stages leave small result files for DVC and keep the data itself in the content-addressed store:
what DVC tracks is enough to see that nothing changed, and to compare two commits.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.console import reported
from flows.show import terminal_progress
from flows.workspace import actor, open_workspace
from tasks.digest import Digest
from tasks.errors import BadInput
from tasks.store import write_json

stage = typer.Typer(help="The stages of dvc.yaml.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="Where the result goes.")]
Plot = Annotated[Path, typer.Option(help="Where the data of the plot goes.")]
Release = Annotated[str, typer.Option(help="Release file, relative to the project.")]


@stage.command()
def corpus(out: Out) -> None:
    """Read the corpus; writes its digest and what was left out.

    Example: ratchet stage corpus --out results/corpus.json
    """
    from flows.steps.index import snapshot_corpus

    with reported(), terminal_progress() as progress:
        ref = snapshot_corpus(open_workspace(), progress)
        write_json(
            out,
            {
                "corpus": ref.digest,
                "documents": ref.documents,
                "left_out": ref.problems,
                "flagged": ref.flagged,
            },
        )


@stage.command()
def index(corpus: Path, out: Out, release: Release = "configs/release.yaml") -> None:
    """Index a corpus as a release asks for.

    Example: ratchet stage index results/corpus.json --out results/index.json
    """
    from flows.steps.index import ensure_index, wanted_release

    with reported(), terminal_progress() as progress:
        workspace = open_workspace(release=release)
        wanted = wanted_release(workspace, _result(corpus, "corpus"))
        ref = ensure_index(workspace, wanted, progress)
        write_json(out, {"index": ref.digest, "chunks": ref.chunks})


@stage.command()
def evaluate(corpus: Path, out: Out, release: Release = "configs/release.yaml") -> None:
    """Evaluate a release; writes its means as metrics.

    Example: ratchet stage evaluate results/corpus.json --out results/candidate.json
    """
    from flows.steps.decide import load_evaluation
    from flows.steps.evaluate import evaluate_release
    from flows.steps.index import ensure_index, wanted_release

    with reported(), terminal_progress() as progress:
        workspace = open_workspace(release=release)
        wanted = wanted_release(workspace, _result(corpus, "corpus"))
        ensure_index(workspace, wanted, progress)
        with workspace.registry() as registry:
            registry.register(wanted, who=actor(), why=f"dvc, {release}")
        digest = evaluate_release(workspace, wanted, progress)
        log = load_evaluation(workspace, digest)
        means = {}
        for info in log.manifest.measures:
            values = log.values(info.name).values()
            if values:
                means[info.name] = round(sum(values) / len(values), 6)
        write_json(
            out,
            {
                "evaluation": digest,
                "release": log.manifest.release_digest,
                "measures": means,
                "failures": len(log.failures),
            },
        )


@stage.command()
def decide(baseline: Path, candidate: Path, out: Out, plot: Plot) -> None:
    """Run the gate on two evaluations; nothing is promoted.

    Example: ratchet stage decide results/baseline.json results/candidate.json
    --out results/decision.json --plot results/comparison.json
    """
    from flows.steps.decide import decide_stored
    from tasks.gate.policy import load_policy
    from tasks.report.plots import comparison_rows

    with reported():
        workspace = open_workspace()
        ref, decision = decide_stored(
            workspace,
            load_policy(workspace.project.gate_policy),
            _result(baseline, "evaluation"),
            _result(candidate, "evaluation"),
        )
        write_json(
            out,
            {
                "verdict": ref.verdict,
                "decision": ref.digest,
                "reasons": list(ref.reasons),
                "delta": {row.measure: round(row.delta, 6) for row in decision.comparisons},
            },
        )
        write_json(plot, comparison_rows(decision))


def _result(path: Path, field: str) -> Digest:
    """What an earlier stage wrote."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[field])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{str(path)!r} isn't the result of a stage that writes {field!r}: {error!r}.",
            next_step="Run all stages in their order: dvc repro",
        ) from error
