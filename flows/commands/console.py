"""What commands share: where they print, how they fail, and which Prefect they talk to."""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.addresses import prefect_url, service_environment
from flows.workspace import Workspace
from tasks.errors import RatchetError
from tasks.serve.vllm import answers

screen = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def print_json(value: Any) -> None:
    """One JSON document on standard output; dataclasses become objects."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    sys.stdout.write(json.dumps(plain, indent=2, default=str, ensure_ascii=False) + "\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's style; a column that starts with `>` is aligned right."""
    made = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left")
    return made


def print_error(error: RatchetError, label: str = "Error:") -> None:
    """What happened, and what to do next, on standard error."""
    errors.print(f"[red]{escape(label)}[/red] {escape(error.message)}", soft_wrap=True)
    if error.next_step:
        errors.print(f"[bold]Next:[/bold] {escape(error.next_step)}", soft_wrap=True)


@contextmanager
def reported(
    interrupted: str = "What was finished is stored; the same command continues.",
) -> Iterator[None]:
    """Turn an error into a message and its exit code; a traceback is for our own mistakes.

    Args:
        interrupted: what is true after Ctrl-C, SIGTERM, or when the terminal was closed.
    """
    with _ended_as_by_ctrl_c() as ended:
        try:
            yield
        except RatchetError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            # The terminal may be gone.
            with suppress(OSError):
                errors.print(f"{'Terminated' if ended else 'Interrupted'}. {interrupted}")
            raise typer.Exit(128 + (ended[0] if ended else signal.SIGINT)) from None


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[list[int]]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does; gives the signal that came, if one did."""
    came: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        # `timeout` and a shell that ends send it twice, and one is enough to end in good order.
        if came:
            return
        came.append(number)
        # An event loop puts its own handler there, which lets its tasks end.
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    ends = (signal.SIGTERM, signal.SIGHUP)
    before = {
        # What was started with nohup outlives its terminal.
        number: signal.signal(number, handler)
        for number in ends
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield came
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def in_prefect(workspace: Workspace, run: Callable[[], Any]) -> Any:
    """Run a flow in this process, seen by the project's Prefect server when it is up.

    Without one, Prefect keeps the run in its own files and nothing else has to be started. Must be
    called before anything imports Prefect: it reads its environment once.
    """
    environment = service_environment(workspace.project, workspace.home)
    url = prefect_url(workspace.project)
    if not answers(f"{url}/health"):
        environment.pop("PREFECT_API_URL")
        os.environ.pop("PREFECT_API_URL", None)
        environment["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "true"
        # The first start makes a database, which takes longer than Prefect waits when the machine
        # is busy.
        environment.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    if screen.is_terminal:
        # The UI keeps every line; the terminal has bars and tables instead.
        environment.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    environment.setdefault("PREFECT_LOGGING_SERVER_LEVEL", "ERROR")
    os.environ.update(environment)
    from prefect.utilities import engine

    if callable(ours := signal.getsignal(signal.SIGTERM)):
        # Prefect's raises an error that an event loop may swallow; ours is Ctrl-C's.
        vars(engine)["_prefect_sigterm_handler"] = ours
    if "PREFECT_API_URL" in environment:
        return run()
    from flows.temporary_server import TemporaryServer

    TemporaryServer().start()
    with without_heartbeats():
        return run()


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Run flows for a server that lives no longer than they do, and so can't find them dead.

    The end of a flow waits for the thread that sends its signs of life, and that thread sleeps for
    a second at a time. No environment variable can say that there shall be none.
    """
    from prefect.settings import temporary_settings

    with temporary_settings({"flows.heartbeat_frequency": None}):
        yield
