"""Tracking URI -> MLflow client: the only place that touches MLflow's process-wide settings."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.errors import ServerUnavailable, Terminal

if TYPE_CHECKING:
    from mlflow import MlflowClient

HEALTH_TIMEOUT_S = 3.0

# MLflow reads these whenever it sends a request; its own values wait for minutes, and traces go
# out in the background, where a failure is only a line in the log.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

# Tracing has no client of its own: it follows the process-wide tracking URI.
_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def connected(tracking_uri: str) -> Iterator["MlflowClient"]:
    """Give a client of a tracking server; process-wide settings are as before when it ends.

    Args:
        tracking_uri: URL of a server, or another URI that MLflow knows.

    Raises:
        ServerUnavailable: the server doesn't answer, or fails.
        Terminal: the server refuses what it is sent.
    """
    require_server(tracking_uri)
    with _ONE_AT_A_TIME, _environment(_SETTINGS):
        import mlflow
        import requests
        from mlflow.exceptions import MlflowException

        was_set = mlflow.is_tracking_uri_set()  # type: ignore[no-untyped-call]
        before = mlflow.get_tracking_uri() if was_set else None
        mlflow.set_tracking_uri(tracking_uri)
        try:
            yield mlflow.MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        except (requests.RequestException, MlflowException) as error:
            # A request that got no answer at all has no status.
            status = 503
            if isinstance(error, MlflowException):
                status = error.get_http_status_code()  # type: ignore[no-untyped-call]
            if status >= 500 or status == 429:
                raise _unavailable(tracking_uri, str(error)) from error
            raise Terminal(
                f"MLflow at {tracking_uri!r} refused a request with status {status}: {error}",
                next_step="Check that server and client have the same MLflow version.",
            ) from error
        finally:
            # None is how MLflow itself takes a URI back; its annotation forgets that.
            mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


def require_server(tracking_uri: str) -> None:
    """Ask a server whether it is there, before anything heavy is imported or sent.

    Raises:
        ServerUnavailable: it doesn't answer within seconds, or says that it is ill.
    """
    import httpx

    if not tracking_uri.startswith(("http://", "https://")):
        return
    try:
        answer = httpx.get(f"{tracking_uri.rstrip('/')}/health", timeout=HEALTH_TIMEOUT_S)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise _unavailable(tracking_uri, str(error) or type(error).__name__) from error


def _unavailable(tracking_uri: str, reason: str) -> ServerUnavailable:
    return ServerUnavailable(
        f"MLflow at {tracking_uri!r} doesn't answer: {reason}",
        next_step="Start it: ratchet up. What isn't logged yet is logged by the next run.",
    )


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
