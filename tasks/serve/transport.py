"""HTTP request of any library -> cached, limited, retried and recorded request to the server."""

import asyncio
import json
from collections import deque
from dataclasses import dataclass
from weakref import WeakValueDictionary

import httpx
import tenacity

from tasks.config import Price
from tasks.digest import Digest
from tasks.errors import CallFailed, TooManyFailures
from tasks.serve.attempt import AttemptFailed, attempt, usage_of
from tasks.serve.cache import CachedCall, CallCache, call_key
from tasks.serve.label import CallLabel, calling, current_label
from tasks.serve.meter import CallRecord, FairShare, Meter, Usage, call_cost

RECORD = "ratchet_record"
"""Name of a response's extension that holds its CallRecord."""
BREAKER_WINDOW = 20
NO_USAGE = Usage(None, None, None)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts, in seconds: exponential with jitter, or what the server asks for."""

    first_s: float = 0.5
    longest_s: float = 20.0
    longest_retry_after_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard one client may lean on its server."""

    in_flight: int = 16
    timeout_s: float = 120.0
    """Of one attempt, from sending the request to the last byte of the answer."""
    attempts: int = 4
    stop_failure_rate: float = 0.5
    """Calls are refused for good when more than this share of the last 20 calls failed."""
    backoff: Backoff = Backoff()


class MeteredTransport(httpx.AsyncBaseTransport):
    """The one door: no library can send a request around it.

    Every POST is a model call. Its failure is a `CallFailed`, also for a status that a library
    would otherwise read itself, so that all failures look alike. Identical calls that run at the
    same time are sent once when there is a cache.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        model: str,
        model_digest: Digest,
        price: Price,
        limits: Limits,
        cache: CallCache | None,
        meter: Meter,
        secret: str | None = None,
    ) -> None:
        self._inner = inner
        self._model = model
        self._model_digest = model_digest
        self._price = price
        self._limits = limits
        self._cache = cache
        self._meter = meter
        self._secret = secret
        self._slots = asyncio.Semaphore(limits.in_flight)
        self._share = FairShare()
        self._outcomes: deque[bool] = deque(maxlen=BREAKER_WINDOW)
        self._stopped: str | None = None
        self._same: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer from the cache or the server.

        Raises:
            CallFailed: after the last attempt; has `purpose`, `attempts` and `status`.
            TooManyFailures: the breaker is open.
        """
        if request.method != "POST":
            return await self._inner.handle_async_request(request)
        label = current_label()
        body = json.loads(await request.aread())
        if body.get("stream"):
            # A stream carries no token counts, and every token is counted.
            raise self._failed(
                label, AttemptFailed("streams are not allowed", retry=False, status=None), 0, 0.0
            )
        if self._cache is None:
            return await self._call(request, label, key=None)
        key = call_key(self._model_digest, request.url.path, body, label.repeat)
        async with self._same.setdefault(key, asyncio.Lock()):
            found = self._cache.get(key)
            if found is not None:
                return self._from_cache(found, label)
            return await self._call(request, label, key=key)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    def _from_cache(self, found: CachedCall, label: CallLabel) -> httpx.Response:
        usage = usage_of(json.loads(found.body))
        return self._finish(
            found.body,
            self._record(
                label, 0, usage, latency_s=found.latency_s, cost=found.cost, cache_hit=True
            ),
        )

    async def _call(
        self, request: httpx.Request, label: CallLabel, *, key: Digest | None
    ) -> httpx.Response:
        attempts = 0
        machine_s = 0.0
        try:
            async for retry in self._retrying():
                with retry:
                    async with self._slots:
                        self._refuse_if_stopped(label)
                        attempts += 1
                        with self._share.request() as share:
                            try:
                                answered = await attempt(
                                    self._inner,
                                    request,
                                    timeout_s=self._limits.timeout_s,
                                    secret=self._secret,
                                )
                            finally:
                                machine_s += share()
        except AttemptFailed as error:
            raise self._failed(label, error, attempts, machine_s) from error
        except asyncio.CancelledError:
            self._record(
                label, attempts, NO_USAGE, latency_s=None, cost=None, error="the call was cancelled"
            )
            raise
        cost = call_cost(self._price, answered.usage, machine_s)
        if key is not None and self._cache is not None:
            self._cache.put(key, CachedCall(answered.body, answered.latency_s, cost))
        self._outcomes.append(True)
        record = self._record(
            label, attempts, answered.usage, latency_s=answered.latency_s, cost=cost
        )
        return self._finish(answered.body, record)

    def _retrying(self) -> tenacity.AsyncRetrying:
        backoff = self._limits.backoff
        exponential = tenacity.wait_exponential_jitter(
            initial=backoff.first_s, max=backoff.longest_s, jitter=backoff.first_s
        )

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, AttemptFailed) and error.retry_after_s is not None:
                return min(error.retry_after_s, backoff.longest_retry_after_s)
            return exponential(state)

        return tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=wait,
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, AttemptFailed) and error.retry
            ),
            reraise=True,
        )

    def _failed(
        self, label: CallLabel, error: AttemptFailed, attempts: int, machine_s: float
    ) -> CallFailed:
        message = f"A model call for {label.purpose!r} failed after {attempts} attempt(s): {error}."
        # Failed attempts keep a machine busy as well; tokens that nobody reported have no price.
        cost = call_cost(self._price, NO_USAGE, machine_s)
        self._record(label, attempts, NO_USAGE, latency_s=None, cost=cost, error=message)
        self._outcomes.append(False)
        failures = self._outcomes.count(False)
        if (
            self._stopped is None
            and len(self._outcomes) == BREAKER_WINDOW
            and failures > self._limits.stop_failure_rate * BREAKER_WINDOW
        ):
            self._stopped = f"{failures} of the last {BREAKER_WINDOW} model calls failed; {error}"
        return CallFailed(
            message,
            next_step=_next_step(error.status),
            purpose=label.purpose,
            attempts=attempts,
            status=error.status,
        )

    def _refuse_if_stopped(self, label: CallLabel) -> None:
        if self._stopped is not None:
            raise TooManyFailures(
                f"No more calls are sent to {self._model!r}: {self._stopped}.",
                next_step="Start the server again and repeat the run; answers made so far are "
                "cached.",
                purpose=label.purpose,
            )

    def _record(
        self,
        label: CallLabel,
        attempts: int,
        usage: Usage,
        *,
        latency_s: float | None,
        cost: float | None,
        cache_hit: bool = False,
        error: str | None = None,
    ) -> CallRecord:
        record = CallRecord(
            purpose=label.purpose,
            model=self._model,
            attempts=attempts,
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            latency_s=latency_s,
            cost=cost,
            cache_hit=cache_hit,
            error=error,
        )
        self._meter.add(record)
        return record

    def _finish(self, body: str, record: CallRecord) -> httpx.Response:
        return httpx.Response(
            200,
            headers={"content-type": "application/json"},
            content=body.encode(),
            extensions={RECORD: record},
        )


class PurposeTransport(httpx.AsyncBaseTransport):
    """A view of the door for one library: labels its calls."""

    def __init__(self, door: MeteredTransport, purpose: str) -> None:
        self._door = door
        self._purpose = purpose

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass on under this purpose."""
        with calling(purpose=self._purpose):
            return await self._door.handle_async_request(request)

    async def aclose(self) -> None:
        """Leave the shared connections to their owner."""


def _next_step(status: int | None) -> str:
    if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return "Check the API key in the environment variable that configs/services.yaml names."
    if status == httpx.codes.NOT_FOUND:
        return "Check the endpoint in configs/services.yaml and which models it serves."
    if status is not None and status < httpx.codes.INTERNAL_SERVER_ERROR:
        return "Read the server's answer above: it refuses this request."
    return "Look at the server's log; `ratchet status` says whether it is up."
