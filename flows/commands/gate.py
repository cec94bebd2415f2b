"""`ratchet gate`: decide on scores from any tool; nothing is recorded and nothing goes live."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flows.commands.console import Json, print_json, reported, screen
from flows.commands.measures import decision_table
from flows.outcome import EXIT_CODES


def gate(
    challenger: Annotated[Path, typer.Option(help="Per-case scores, one JSON object a line.")],
    champion: Annotated[
        Path | None, typer.Option(help="The same of the live release; none: absolute floors.")
    ] = None,
    policy: Annotated[Path, typer.Option(help="The rules.")] = Path("configs/gate.yaml"),
    as_json: Json = False,
) -> None:
    """Decide on two files of scores: {"case_id", "measure", "value" or "error"}, one a line.

    Exit code 0: promote; 3: hold; 4: reject; 2: bad input.

    Example: ratchet gate --champion old.jsonl --challenger new.jsonl
    """
    from tasks.gate.decide import decide
    from tasks.gate.jsonl import load_scores
    from tasks.gate.policy import load_policy

    with reported():
        rules = load_policy(policy)
        old = load_scores(champion, rules) if champion else None
        decision = decide(old, load_scores(challenger, rules), rules)
        if as_json:
            print_json(decision.model_dump(mode="json"))
        else:
            screen.print(f"[bold]{decision.verdict}[/]")
            screen.print(decision_table(decision))
            for reason in decision.reasons:
                screen.print(f"  {reason.verdict}: {escape(reason.text)}")
                if reason.next_step and reason.verdict != "PROMOTE":
                    screen.print(f"    {escape(reason.next_step)}")
        raise typer.Exit(EXIT_CODES[decision.verdict])
