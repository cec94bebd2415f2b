"""HTTP request of any library -> cached, limited, retried and recorded request to the server."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import httpx
import tenacity

from tasks.config import Price
from tasks.digest import Digest
from tasks.errors import CallFailed, TooManyFailures
from tasks.serve.attempt import Answered, AttemptFailed, attempt, usage_of
from tasks.serve.budget import Budget
from tasks.serve.cache import CachedCall, CallCache, call_key
from tasks.serve.endpoint import Endpoint
from tasks.serve.label import CallLabel, calling, current_label
from tasks.serve.meter import CallRecord, Meter, Usage, call_cost
from tasks.serve.outage import Outages
from tasks.serve.stream import Stream

RECORD = "ratchet_record"
"""Name of a response's extension that holds its CallRecord."""
UNCACHED = "ratchet_uncached"
"""Name of a request's extension: neither answered from the cache nor kept in it."""
BREAKER_WINDOW = 20
BUSY = frozenset({429, 503})
"""By which a server says that it has too many requests."""
BAD_GATEWAY = 502
"""What a gateway answers for a server that is gone."""
MOST_OUTAGES = 3
"""A server that goes away more often during one call is not waited for any more."""
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

    timeout_s: float = 120.0
    """Of one attempt, from sending the request to the last byte of the answer."""
    attempts: int = 4
    stop_failure_rate: float = 0.5
    """Calls are refused for good when more than this share of the last 20 calls failed."""
    backoff: Backoff = Backoff()
    server_wait_s: float = 0.0
    """How long a server that refuses connections is waited for before its calls fail."""


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
        stream: Stream,
        returns: Callable[[str], Awaitable[bool]],
        budget: Budget | None = None,
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
        self._stream = stream
        self._outages = Outages(stream, returns, limits.server_wait_s, self._gave_up)
        self._budget = budget
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
        path = str(request.url).removeprefix(self._stream.endpoints[0].url)
        key = call_key(self._model_digest, path, body, label.repeat)
        call = Call(request, label, body, key, path)
        if self._cache is None or request.extensions.get(UNCACHED):
            return await self._send(call, keep=False)
        async with self._same.setdefault(call.key, asyncio.Lock()):
            found = self._cache.get(call.key)
            if found is not None:
                return self._from_cache(found, call)
            return await self._send(call)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._outages.aclose()
        await self._stream.aclose()
        await self._inner.aclose()

    def check(self, purpose: str) -> None:
        """Tell who has no more calls to send that the server is gone.

        Raises:
            TooManyFailures: the breaker is open.
        """
        if self._stopped is not None:
            raise TooManyFailures(
                f"No more calls are sent to {self._model!r}: {self._stopped}.",
                next_step="Start the server again and repeat the run; answers made so far are "
                "cached.",
                purpose=purpose,
            )

    def _from_cache(self, found: CachedCall, call: "Call") -> httpx.Response:
        usage = usage_of(json.loads(found.body))
        record = self._record(
            call.label, 0, usage, latency_s=found.latency_s, cost=found.cost, cache_hit=True
        )
        return self._finish(found.body, record, call)

    async def _send(self, call: "Call", *, keep: bool = True) -> httpx.Response:
        spent = Spent(failed_at=call.label.avoided)
        try:
            async for retry in self._retrying(spent):
                with retry:
                    answered, endpoint = await self._through_outages(call, spent)
        except AttemptFailed as error:
            raise self._failed(call.label, error, spent.attempts, spent.machine_s) from error
        except asyncio.CancelledError:
            self._record(
                call.label,
                spent.attempts,
                NO_USAGE,
                latency_s=None,
                cost=None,
                machine_s=spent.machine_s,
                error="the call was cancelled",
            )
            raise
        usage = answered.usage
        cost = call_cost(self._price, usage, spent.machine_s)
        if self._cache is not None and keep:
            kept = CachedCall(
                answered.body,
                answered.latency_s,
                cost,
                model=self._model,
                purpose=call.label.purpose,
            )
            self._cache.put(call.key, kept)
        self._outcomes.append(True)
        endpoint.count(usage)
        self._stream.finished(endpoint, _work(usage))
        record = self._record(
            call.label,
            spent.attempts,
            usage,
            latency_s=answered.latency_s,
            cost=cost,
            machine_s=spent.machine_s,
        )
        return self._finish(answered.body, record, call)

    async def _through_outages(self, call: "Call", spent: "Spent") -> tuple[Answered, Endpoint]:
        """One attempt; a server that is gone for a while doesn't use it up."""
        for _ in range(MOST_OUTAGES * len(self._stream.endpoints)):
            try:
                return await self._attempt(call, spent)
            except AttemptFailed as error:
                lost = spent.endpoint if error.gone else None
                if lost is None or not self._outages.lost(lost):
                    raise
        return await self._attempt(call, spent)

    async def _attempt(self, call: "Call", spent: "Spent") -> tuple[Answered, Endpoint]:
        async with self._stream.turn(call.label, call.prompt, spent.failed_at) as endpoint:
            self.check(call.label.purpose)
            if self._budget is not None:
                self._budget.check(call.label.purpose)
            spent.attempts += 1
            spent.endpoint = endpoint
            with endpoint.share.request() as share:
                try:
                    answered = await attempt(
                        self._inner,
                        call.request_to(endpoint.url),
                        timeout_s=self._limits.timeout_s,
                        secret=self._secret,
                    )
                except AttemptFailed as error:
                    endpoint.failures += 1
                    several = len(self._stream.endpoints) > 1
                    error.gone = error.gone or (several and error.status == BAD_GATEWAY)
                    if error.status in BUSY:
                        endpoint.governor.pushed_back()
                    if not error.gone:
                        # One that is gone is left out anyway, and may have the call when it's back.
                        spent.failed_at |= {endpoint.url}
                    raise
                finally:
                    spent.machine_s += share()
        return answered, endpoint

    def _gave_up(self) -> None:
        self._stopped = self._stopped or (
            f"it is gone, and didn't come back in {self._limits.server_wait_s:g} s"
        )
        self._stream.end()

    def _retrying(self, spent: "Spent") -> tenacity.AsyncRetrying:
        backoff = self._limits.backoff
        exponential = tenacity.wait_exponential_jitter(
            initial=backoff.first_s, max=backoff.longest_s, jitter=backoff.first_s
        )

        def wait(state: tenacity.RetryCallState) -> float:
            if self._stream.others(spent.failed_at):
                # Another server knows nothing of this one's troubles.
                return 0.0
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
        self._record(
            label,
            attempts,
            NO_USAGE,
            latency_s=None,
            cost=cost,
            machine_s=machine_s,
            error=message,
        )
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

    def _record(
        self,
        label: CallLabel,
        attempts: int,
        usage: Usage,
        *,
        latency_s: float | None,
        cost: float | None,
        machine_s: float | None = None,
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
            machine_s=None if self._price.machine_hour is None else machine_s,
        )
        self._meter.add(record)
        if label.meter is not None:
            label.meter.add(record)
        if self._budget is not None and not cache_hit:
            self._budget.add(cost)
        return record

    def _finish(self, body: str, record: CallRecord, call: "Call") -> httpx.Response:
        # Vectors aren't said by a model, and nobody repeats them.
        if call.label.journal is not None and "messages" in call.body:
            call.label.journal.add(
                call.key,
                model=self._model_digest,
                path=call.path,
                body=call.body,
                repeat=call.label.repeat,
                purpose=call.label.purpose,
                position=call.label.position or 0,
                answer=body,
            )
        return httpx.Response(
            200,
            headers={"content-type": "application/json"},
            content=body.encode(),
            extensions={RECORD: record},
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One call on its way: what is sent, for what, and its identity."""

    request: httpx.Request
    label: CallLabel
    body: Mapping[str, Any]
    key: Digest
    path: str
    """Below the servers' URLs, so that it is the same call whichever server answers."""

    def request_to(self, url: str) -> httpx.Request:
        """The request as one server gets it."""
        headers = [(k, v) for k, v in self.request.headers.multi_items() if k != "host"]
        return httpx.Request(
            self.request.method, url + self.path, headers=headers, content=self.request.content
        )

    @property
    def prompt(self) -> str:
        """The text by which calls are put in order: neighbours share their beginning."""
        messages = self.body.get("messages") or [{"content": self.body.get("prompt", "")}]
        return "".join(str(message.get("content")) for message in messages)


@dataclass(slots=True)
class Spent:
    """What a call has taken so far, over all its attempts."""

    attempts: int = 0
    machine_s: float = 0.0
    endpoint: Endpoint | None = None
    """The server of the last attempt."""
    failed_at: frozenset[str] = frozenset()
    """Servers that gave no good answer to it."""


def _work(usage: Usage) -> float:
    """Tokens that were computed, or 1 for a call whose tokens nobody counted."""
    if usage.input_tokens is None:
        return 1.0
    return float(usage.input_tokens - (usage.cached_tokens or 0) + (usage.output_tokens or 0))


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
