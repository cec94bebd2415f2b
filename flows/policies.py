"""How often a step is tried and how many run at once: what may pass is tried again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency

from tasks.digest import text_digest
from tasks.errors import Transient

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


def endpoint_limit(url: str) -> str:
    """Name of the limit of one endpoint: two evaluations would falsify each other's latency."""
    return f"ratchet-endpoint-{text_digest(url)[:8]}"


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Hold the only slot of a named limit, made on first use; wait while another run holds it."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    # The lease ends by itself when the process dies, so a kill blocks the next run for a minute.
    with concurrency(name, occupy=1, lease_duration=60, strict=True):
        yield


def _is_transient(_task: Any, _run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, Transient)
