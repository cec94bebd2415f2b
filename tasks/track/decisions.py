"""GateDecision -> tags, reasons and report on the MLflow runs that it compared."""

import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.digest import SHORT, Digest
from tasks.gate.decision import GateDecision, load_decision
from tasks.serve.latency import LATENCY_FILE, LatencyReport, SideLatency, read_latency
from tasks.track.connection import connected
from tasks.track.experiment import ensure_experiment
from tasks.track.receipts import read_receipt, waiting, write_receipt
from tasks.track.runs import find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient


def log_decision(
    decision: GateDecision,
    *,
    tracking_uri: str,
    experiment: str,
    report: str | None = None,
    directory: Path | None = None,
    latency: LatencyReport | None = None,
) -> tuple[str, ...]:
    """Mark the runs of both releases with what the gate said; again is the same as once.

    Args:
        decision: what the gate said about two evaluations.
        tracking_uri: URL of the MLflow server.
        experiment: the experiment in which the evaluations are.
        report: the decision's HTML page, stored with the challenger's run.
        latency: what a probe of both sides found; its quantiles become metrics of each run.
        directory: where the decision is stored; gets a receipt once the challenger's run shows it.

    Returns:
        Ids of the runs that were marked, the challenger's first; evaluations that aren't logged
        there have none.

    Raises:
        ServerUnavailable: MLflow doesn't answer.
    """
    challenger_run: str | None = None
    with connected(tracking_uri) as client:
        experiment_id = ensure_experiment(client, experiment)
        marked: list[str] = []
        for role, evaluation in (
            ("challenger", decision.challenger_log),
            ("champion", decision.champion_log),
        ):
            run_id = None if evaluation is None else find_run(client, experiment_id, evaluation)
            if run_id is not None:
                _mark(client, run_id, decision, role=role)
                if latency is not None and role in latency.sides:
                    _log_latency(client, run_id, latency.sides[role])
                marked.append(run_id)
                if role == "challenger":
                    _attach(client, run_id, decision, report)
                    challenger_run = run_id
    if directory is not None and challenger_run is not None:
        write_receipt(directory, tracking_uri=tracking_uri, run_id=challenger_run)
    return tuple(marked)


def log_pending_decisions(room: Path, *, tracking_uri: str, experiment: str) -> tuple[Digest, ...]:
    """Log every stored decision without a receipt whose evaluations are logged; see `log_pending`.

    Returns:
        Digests of the decisions that were logged now.

    Raises:
        ServerUnavailable: MLflow doesn't answer; nothing is lost.
        CorruptArtifact: a stored decision was changed.
    """
    logged = []
    for directory in waiting(room, "decision.json", tracking_uri=tracking_uri):
        page = directory / "report.html"
        probed = directory / LATENCY_FILE
        log_decision(
            load_decision(directory),
            tracking_uri=tracking_uri,
            experiment=experiment,
            report=page.read_text(encoding="utf-8") if page.is_file() else None,
            directory=directory,
            latency=read_latency(probed) if probed.is_file() else None,
        )
        if read_receipt(directory, tracking_uri=tracking_uri) is not None:
            logged.append(directory.name)
    return tuple(logged)


def _mark(client: "MlflowClient", run_id: str, decision: GateDecision, *, role: str) -> None:
    from mlflow.entities import RunTag

    # A champion's run takes part in many decisions: the newest is in the tags of fixed names,
    # and each keeps one of its own.
    tags = {
        "decision.verdict": decision.verdict,
        "decision.role": role,
        "decision.digest": decision.digest,
        f"decision.{decision.digest[:SHORT]}": f"{decision.verdict} as {role}",
    }
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_latency(client: "MlflowClient", run_id: str, side: SideLatency) -> None:
    """Quantiles as metrics like `latency.first_token_s.p95`."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    found = {
        f"latency.{name}.p{row.q * 100:g}": row.value
        for name in ("first_token_s", "per_token_s", "total_s")
        for row in getattr(side, name)
    }
    client.log_batch(run_id, metrics=[Metric(name, value, now, 0) for name, value in found.items()])


def _attach(
    client: "MlflowClient", run_id: str, decision: GateDecision, report: str | None
) -> None:
    name = f"decision-{decision.digest[:SHORT]}"
    client.log_text(run_id, decision.to_bytes().decode(), f"{name}.json")
    if report is not None:
        client.log_text(run_id, report, f"{name}.html")
    client.set_tag(run_id, "mlflow.note.content", _note(decision))


def _note(decision: GateDecision) -> str:
    """Verdict and reasons in Markdown, in which nothing of a reason is markup."""
    against = decision.champion or "no champion"
    lines = [f"**{decision.verdict}** against {_plain(against)}", ""]
    lines += [f"- {_plain(reason.text)}" for reason in decision.reasons]
    return "\n".join(lines)


def _plain(text: str) -> str:
    flat = " ".join(text.split())
    return "".join(f"\\{sign}" if sign in r"\`*_{}[]()#|!" else sign for sign in escape(flat))
