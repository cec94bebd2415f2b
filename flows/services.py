"""Every server of a project, up, down and looked at: vLLM, MLflow, Prefect and its worker."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from flows.addresses import (
    check_mlflow,
    check_prefect,
    mlflow_answers,
    mlflow_url,
    model_urls,
    prefect_answers,
    prefect_url,
    served_elsewhere,
    service_environment,
)
from tasks.config import Project
from tasks.errors import RatchetError, ServerUnavailable, SetupError
from tasks.serve.offline import stop_offline_engines
from tasks.serve.process import Daemon, Progress, Running, check_port
from tasks.serve.version import model_version
from tasks.serve.vllm import VllmServer, check_any_served, check_served
from tasks.serve.weights import ensure_weights
from tasks.store import Home

Service = Literal["vllm", "mlflow", "prefect", "worker"]
SERVICES: tuple[Service, ...] = get_args(Service)

State = Literal["running", "starting", "stopped", "external", "unreachable"]

_DEPLOY_S = 180.0
_STAGES = {
    "mlflow": {"Creating initial MLflow database": "making the database"},
    "prefect": {"Configure Prefect to communicate": "opening the port"},
}


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One server as it is now."""

    service: Service
    state: State
    """`external` runs elsewhere and answers; `unreachable` is external and doesn't answer;
    `starting` is a process of ours that doesn't answer yet, or no longer."""
    url: str | None
    pid: int | None
    log: Path | None
    detail: str = ""
    """What it serves, or why it can't be reached."""


def up(
    project: Project,
    home: Home,
    progress: Progress,
    *,
    only: Collection[Service] = SERVICES,
) -> list[ServiceStatus]:
    """Start every server that isn't running, at the same time, and wait until each answers.

    Args:
        project: its settings; a server with a URL there is checked and never started.
        home: the state directory.
        progress: told each step of each server, from this thread.
        only: these servers. The worker needs Prefect, and waits for it when both are named.

    Returns:
        The state of every named server.

    Raises:
        SetupError: one or more can't be started; the message has all of them. The others run.
        ServerUnavailable: only external servers failed.
    """
    messages: queue.Queue[str | None] = queue.Queue()
    failures: list[RatchetError] = []

    def run(step: Callable[[], None]) -> None:
        try:
            step()
        except RatchetError as error:
            failures.append(error)
        # A thread's exception would only be printed; the caller has to see that this one failed.
        except Exception as error:
            failures.append(SetupError(f"{type(error).__name__}: {error}"))
        finally:
            messages.put(None)

    steps = list(_start_steps(project, home, messages.put, frozenset(only)))
    for step in steps:
        # Daemon threads: Ctrl-C ends the wait at once, and the servers go on starting.
        threading.Thread(target=run, args=(step,), daemon=True).start()
    finished = 0
    while finished < len(steps):
        message = messages.get()
        if message is None:
            finished += 1
        else:
            progress(message)
    if failures:
        raise _joined(failures)
    return [row for row in status(project, home) if row.service in only]


def down(
    project: Project, home: Home, progress: Progress, *, only: Collection[Service] = SERVICES
) -> list[Service]:
    """Stop the servers that Ratchet started; those that stopped.

    The worker goes first: it hands its runs back to Prefect while that still answers.
    """
    del project
    stopped: list[Service] = []
    for service in ("worker", "prefect", "mlflow", "vllm"):
        if service not in only:
            continue
        found = Daemon(service, home).stop()
        if service == "vllm":
            found = stop_offline_engines(home) or found
        if found:
            progress(f"{service}: stopped")
            stopped.append(service)
    return stopped


def status(project: Project, home: Home) -> list[ServiceStatus]:
    """Look at every server; takes a few seconds when an external one doesn't answer."""
    services = project.services
    name = project.release.model
    version = model_version(name, project.models.generator(name))
    key = os.environ.get(services.vllm.api_key_env)
    urls = model_urls(project, name)

    def check_endpoints() -> None:
        for url in urls:
            check_served(url, version, key)

    return [
        _look_outside("vllm", ", ".join(urls), check_endpoints, detail=version.name)
        if served_elsewhere(project, name)
        else _look("vllm", home, VllmServer(services.vllm, home).healthy),
        _look_outside("mlflow", mlflow_url(project), lambda: check_mlflow(project))
        if services.mlflow.tracking_uri
        else _look("mlflow", home, lambda: mlflow_answers(project)),
        _look_outside("prefect", prefect_url(project), lambda: check_prefect(project))
        if services.prefect.api_url
        else _look("prefect", home, lambda: prefect_answers(project)),
        _look("worker", home, lambda: True),
    ]


def register_deployments(project: Project, home: Home, progress: Progress) -> None:
    """Tell Prefect about every deployment of prefect.yaml; again after each change of it.

    Raises:
        SetupError: Prefect refuses the file; with its words.
    """
    if not (project.root / "prefect.yaml").is_file():
        return
    progress("prefect: registering deployments")
    pool = project.services.prefect.work_pool
    _prefect(project, home, "work-pool", "create", pool, "--type", "process", "--overwrite")
    _prefect(project, home, "deploy", "--all")


def _prefect(project: Project, home: Home, *arguments: str) -> None:
    """Run one of Prefect's own commands against the project's server."""
    result = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=project.root,
        env=service_environment(project, home),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=_DEPLOY_S,
        check=False,
    )
    if result.returncode:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-12:]
        raise SetupError(
            f"`prefect {' '.join(arguments)}` failed:\n" + "\n".join(f"  {line}" for line in said),
            next_step="Correct prefect.yaml, then: make up",
        )


def _start_steps(
    project: Project, home: Home, say: Progress, only: frozenset[Service]
) -> Iterator[Callable[[], None]]:
    """One step a server; Prefect's also brings the worker, which can't start before it."""
    if "vllm" in only:
        yield lambda: _start_vllm(project, home, say)
    if "mlflow" in only:
        yield lambda: _start_mlflow(project, home, say)
    if "prefect" in only or "worker" in only:

        def prefect_then_worker() -> None:
            if "prefect" in only:
                _start_prefect(project, home, say)
            if "worker" in only:
                _start_worker(project, home, say)

        yield prefect_then_worker


def _start_vllm(project: Project, home: Home, say: Progress) -> None:
    name, services = project.release.model, project.services
    model = project.models.generator(name)
    version = model_version(name, model)
    if urls := served_elsewhere(project, name):
        check_any_served(urls, version, os.environ.get(services.vllm.api_key_env), say)
        return
    weights = ensure_weights(name, model, room=home.room("models"), progress=say)
    VllmServer(services.vllm, home).start(version, weights, progress=say)


def _start_mlflow(project: Project, home: Home, say: Progress) -> None:
    service = project.services.mlflow
    if service.tracking_uri is not None:
        check_mlflow(project)
        return
    room = home.room("mlflow")
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", service.backend_store or f"sqlite:///{room / 'mlflow.db'}"),
        *("--artifacts-destination", str(room / "artifacts")),
        *("--host", service.host, "--port", str(service.port), "--workers", "1"),
    ]
    _start(
        Daemon("mlflow", home),
        command,
        project=project,
        home=home,
        url=mlflow_url(project),
        listens=(service.host, service.port, "mlflow.port"),
        healthy=lambda: mlflow_answers(project),
        timeout_s=service.start_timeout_s,
        say=say,
    )


def _start_prefect(project: Project, home: Home, say: Progress) -> None:
    service = project.services.prefect
    if service.api_url is not None:
        check_prefect(project)
    else:
        home.room("prefect")
        _start(
            Daemon("prefect", home),
            [
                *(sys.executable, "-m", "prefect", "server", "start"),
                *("--host", service.host, "--port", str(service.port)),
            ],
            project=project,
            home=home,
            url=prefect_url(project),
            listens=(service.host, service.port, "prefect.port"),
            healthy=lambda: prefect_answers(project),
            timeout_s=service.start_timeout_s,
            say=say,
        )
    register_deployments(project, home, say)


def _start_worker(project: Project, home: Home, say: Progress) -> None:
    service = project.services.prefect
    daemon = Daemon("worker", home)
    _start(
        daemon,
        [
            *(sys.executable, "-m", "prefect", "worker", "start"),
            *("--pool", service.work_pool, "--type", "process", "--install-policy", "never"),
        ],
        project=project,
        home=home,
        url=prefect_url(project),
        listens=None,
        healthy=lambda: daemon.has_logged("started!"),
        timeout_s=service.start_timeout_s,
        say=say,
    )


def _start(
    daemon: Daemon,
    command: list[str],
    *,
    project: Project,
    home: Home,
    url: str,
    listens: tuple[str, int, str] | None,
    healthy: Callable[[], bool],
    timeout_s: float,
    say: Progress,
) -> None:
    running = daemon.running()
    if running is not None and running.url != url:
        say(f"{daemon.name}: stopping the one at {running.url}")
        daemon.stop()
        running = None
    if running is None:
        if listens is not None:
            host, port, setting = listens
            check_port(host, port, setting=setting)
        daemon.start(
            command,
            url=url,
            environment=service_environment(project, home),
            directory=project.root,
        )
    elif healthy():
        return
    daemon.wait(healthy, timeout_s=timeout_s, stages=_STAGES.get(daemon.name), progress=say)


def _look(service: Service, home: Home, healthy: Callable[[], bool]) -> ServiceStatus:
    daemon = Daemon(service, home)
    running: Running | None = daemon.running()
    if running is None:
        return ServiceStatus(service, "stopped", None, None, None)
    return ServiceStatus(
        service,
        "running" if healthy() else "starting",
        running.url,
        running.pid,
        daemon.log,
        running.details.get("served_name", ""),
    )


def _look_outside(
    service: Service, url: str, check: Callable[[], None], *, detail: str = ""
) -> ServiceStatus:
    try:
        check()
    except RatchetError as error:
        return ServiceStatus(service, "unreachable", url, None, None, error.message)
    return ServiceStatus(service, "external", url, None, None, detail)


def _joined(failures: list[RatchetError]) -> RatchetError:
    if len(failures) == 1:
        return failures[0]
    external = all(isinstance(error, ServerUnavailable) for error in failures)
    kind: type[RatchetError] = ServerUnavailable if external else SetupError
    return kind(
        "\n".join(error.message for error in failures),
        next_step="\n      ".join(error.next_step for error in failures if error.next_step),
    )
