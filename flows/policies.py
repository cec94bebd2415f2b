"""How often a step is tried and how many run at once: what may pass is tried again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency

from flows.addresses import model_urls
from flows.show import run_progress
from flows.workspace import Workspace
from tasks.digest import text_digest
from tasks.errors import Transient
from tasks.evaluate.run import Progress
from tasks.store import Home, locked

P = ParamSpec("P")
R = TypeVar("R")

PROMOTION = "ratchet-promotion"
"""Name of the concurrency limit under which the champion moves: one at a time."""


def step(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A Prefect task of the nightly run: two more tries, for transient errors alone.

    Prefect doesn't cache its result: every step finds what it stored under its digest itself.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        wrapped: Callable[P, R] = task(
            name=name,
            retries=2,
            retry_delay_seconds=[10, 60],
            retry_condition_fn=_is_transient,
            cache_policy=NO_CACHE,
        )(function)
        return wrapped

    return wrap


@contextmanager
def asking_models(workspace: Workspace, key: str) -> Iterator[Progress]:
    """Have the model's servers alone and show progress: two runs falsify each other's latency.

    Args:
        workspace: settings and state.
        key: of the progress artifact.
    """
    urls = " ".join(model_urls(workspace.project, workspace.project.release.model))
    limit = f"ratchet-endpoint-{text_digest(urls)[:8]}"
    with one_at_a_time(limit, workspace.home), run_progress(key) as progress:
        yield progress


@contextmanager
def one_at_a_time(name: str, home: Home) -> Iterator[None]:
    """Hold the only slot of a name; wait while another run holds it.

    On this machine that is a file lock, which a killed process lets go of at once. Where a Prefect
    server is shared it is a limit of that server as well, made on first use and seen in its UI. A
    run's own temporary server can't be trusted with one: killed, it forgets who holds the slot but
    not that it is taken, and the next run would wait forever.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.settings import PREFECT_API_URL

    with locked(home.path("run", f"{name}.lock")):
        if PREFECT_API_URL.value() is None:
            yield
            return
        # Two first runs at once find no limit and both make it.
        with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
            client.upsert_global_concurrency_limit_by_name(name, 1)
        # The lease of a process that died ends by itself, after a minute.
        with concurrency(name, occupy=1, lease_duration=60, strict=True):
            yield


def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, Transient)
