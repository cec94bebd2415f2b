"""`ratchet gate`: decide on scores from any tool; plan and noise for the project's own."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.budget import budget
from flows.commands.console import Json, print_json, reported, screen
from flows.commands.tables import checks_table, decision_table
from flows.outcome import EXIT_CODES
from flows.workspace import Workspace, open_workspace
from tasks.answer.release import Release
from tasks.errors import BadInput
from tasks.evaluate.log import EvalLog
from tasks.gate import GatePolicy
from tasks.gate.plan import GatePlan

gate = typer.Typer()

Policy = Annotated[
    Path | None, typer.Option(help="The rules; default: configs/gate.yaml of the project.")
]
_DEFAULT = Path("configs/gate.yaml")


@gate.callback(invoke_without_command=True)
def decide_files(
    context: typer.Context,
    challenger: Annotated[
        Path | None, typer.Option(help="Per-case scores, one JSON object a line.")
    ] = None,
    champion: Annotated[
        Path | None, typer.Option(help="The same of the live release; none: absolute floors.")
    ] = None,
    policy: Policy = None,
    anchor: Annotated[
        Path | None, typer.Option(help="The same of a fixed release that nothing may fall behind.")
    ] = None,
    noise: Annotated[
        Path | None,
        typer.Option(help="The champion's scores from a second evaluation: its noise."),
    ] = None,
    look: Annotated[
        int, typer.Option(min=1, help="How often these cases were used to decide, this included.")
    ] = 1,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the random draws; default: the policy's.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page for people here.")] = None,
    as_json: Json = False,
) -> None:
    """Decide on two files of scores: {"case_id", "measure", "value" or "error"}, one a line.

    Nothing is recorded and nothing goes live. Exit code 0: promote; 3: hold; 4: reject; 2: bad
    input.

    Example: ratchet gate --champion old.jsonl --challenger new.jsonl --policy gate.yaml
    """
    if context.invoked_subcommand is not None:
        return
    from tasks.gate import decide, load_policy, load_scores
    from tasks.gate.noise import noise_floor
    from tasks.report.html import decision_page
    from tasks.store import write_atomic

    with reported():
        if challenger is None:
            raise BadInput(
                "There are no scores to decide on.",
                next_step="Give --challenger FILE, and --champion FILE to compare it with: "
                "ratchet gate --help",
            )
        rules = load_policy(policy or _DEFAULT)
        new = load_scores(challenger, rules)
        old = load_scores(champion, rules) if champion else None
        again = load_scores(noise, rules) if noise else None
        decision = decide(
            old,
            new,
            rules,
            seed=seed,
            look=look,
            anchor=load_scores(anchor, rules) if anchor else None,
            noise=noise_floor(old, again, rules) if old and again else None,
        )
        if report is not None:
            write_atomic(report, decision_page(decision, old, new))
        if as_json:
            print_json(decision.model_dump(mode="json"))
        else:
            screen.print(f"[bold]{decision.verdict}[/]")
            screen.print(decision_table(decision))
            screen.print(checks_table(decision))
            for reason in decision.reasons:
                screen.print(f"  {reason.verdict}: {escape(reason.text)}")
                if reason.next_step and reason.verdict != "PROMOTE":
                    screen.print(f"    {escape(reason.next_step)}")
            if report is not None:
                screen.print(f"[dim]Report: {report}[/]")
        raise typer.Exit(EXIT_CODES[decision.verdict])


@gate.command()
def plan(
    champion: Annotated[
        Path | None,
        typer.Option(help="Scores of the live release; default: the project's champion."),
    ] = None,
    challenger: Annotated[
        Path | None,
        typer.Option(help="Scores of any other release, for the spread of the differences."),
    ] = None,
    policy: Policy = None,
    look: Annotated[
        int | None,
        typer.Option(min=1, help="Which look it would be; default: the next in the ledger, or 1."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run can find and what it costs, before anything is spent.

    Exit code 0: a challenger can be promoted; 3: none can, the run would be hopeless; 2: bad input.

    Example: ratchet gate plan
    """
    from tasks.gate import load_policy, load_scores
    from tasks.gate.plan import plan as plan_comparison
    from tasks.gate.spending import look_at
    from tasks.report.plan import plan_lines

    with reported():
        if champion is None:
            planned = _plan_of_project(policy, look)
        else:
            rules = load_policy(policy or _DEFAULT)
            scores = load_scores(champion, rules)
            planned = plan_comparison(
                rules,
                scores,
                look=look_at(rules.spending, alpha=rules.alpha, number=look or 1),
                pilot=(scores, load_scores(challenger, rules)) if challenger else None,
            )
        if as_json:
            print_json(planned.model_dump(mode="json"))
        else:
            for line in plan_lines(planned):
                screen.print(escape(line), soft_wrap=True)
        raise typer.Exit(EXIT_CODES["HOLD"] if planned.hopeless else 0)


@gate.command()
def noise(policy: Policy = None, as_json: Json = False) -> None:
    """Evaluate the champion against itself, and keep how far the two differ.

    Example: ratchet gate noise
    """
    from flows.commands.tables import noise_table
    from flows.show import terminal_progress
    from flows.steps.gate import measure_noise

    with reported(), terminal_progress() as progress:
        workspace = open_workspace()
        rules, live, evaluation = _champion(workspace, policy)
        found = measure_noise(workspace, rules, live, evaluation, progress)
        if as_json:
            print_json(found.model_dump(mode="json"))
        else:
            screen.print(noise_table(found))


gate.command()(budget)


def _plan_of_project(policy: Path | None, look: int | None) -> GatePlan:
    from flows.steps.gate import plan_run

    workspace = open_workspace()
    rules, _, evaluation = _champion(workspace, policy)
    return plan_run(workspace, rules, evaluation, number=look)


def _champion(workspace: Workspace, policy: Path | None) -> tuple[GatePolicy, Release, EvalLog]:
    """The rules, the live release and its evaluation under the current settings."""
    from flows.steps.decide import load_evaluation
    from flows.steps.evaluate import stored_evaluation
    from tasks.gate import load_policy

    rules = load_policy(policy or workspace.project.gate_policy)
    with workspace.registry() as registry:
        live = registry.champion()
    found = stored_evaluation(workspace, live) if live is not None else None
    if live is None or found is None:
        raise BadInput(
            "There is no champion yet."
            if live is None
            else f"The champion {live.label} isn't evaluated on this suite yet.",
            next_step="ratchet nightly" if live is None else "ratchet evaluate champion",
        )
    return rules, live, load_evaluation(workspace, found)
