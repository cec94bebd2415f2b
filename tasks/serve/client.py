"""Chat messages -> completion, through the one door that counts every call to a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import httpx

from tasks.config import Price, Sampling
from tasks.errors import RatchetError, WrongModel
from tasks.serve.budget import Budget
from tasks.serve.cache import CallCache
from tasks.serve.endpoint import Endpoint, EndpointTotals, preferred, prefix_key
from tasks.serve.governor import BACKLOG, Governor, gauges
from tasks.serve.label import calling, current_label
from tasks.serve.meter import CallRecord, Meter, call_cost
from tasks.serve.stream import Stream
from tasks.serve.streamed import Streamed, stream_once
from tasks.serve.transport import (
    RECORD,
    UNCACHED,
    Backoff,
    Limits,
    MeteredTransport,
    PurposeTransport,
)
from tasks.serve.version import ModelVersion
from tasks.serve.wire import AiohttpTransport

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PROBE_TIMEOUT_S = 5.0
FIRST_IN_FLIGHT = 16
Message = dict[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model said. An empty text is an answer too: whether it is good is for the caller."""

    text: str
    finish_reason: str | None
    """`stop`, or `length` when the text was cut at max_tokens; None when the server didn't say."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    latency_s: float
    """Seconds of the attempt that was answered; for a cache hit, when it was made."""
    cost: float | None
    """When it was made, in the price's currency; None when the server didn't count tokens."""
    cache_hit: bool
    refused: bool = False
    """The model refused; the text is its refusal."""


class ModelClient:
    """The one door to one served model.

    Args:
        endpoints: URL of its server up to `/v1`, or of several that all serve it. Calls that share
            a prefix go to the same one; one that is gone is done without until it is back.
        version: the model that is served there; its digest is part of every cache key.
        price: of this model.
        cache: answers made before; None sends every call.
        in_flight: requests that may be on their way to one server at a time; `auto`: as many as it
            can batch, by what it says and by what it does.
        in_flight_cap: the most that `auto` may find.
        timeout_s: of one attempt.
        attempts: requests for one call before it counts as failed.
        server_wait_s: how long a server that refuses connections is waited for, where there is no
            other.
        budget: what may be spent.
        stop_failure_rate: no more calls are sent when more than this share of the last 20 failed.
        api_key: sent as a bearer token, and written nowhere.
        model_name: what the server calls the model, where that isn't the version's served name.
        meter: where its calls are counted; None: a meter of its own.
        backoff: waits between attempts.
        socket: through which the server is reached, instead of a port.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        version: ModelVersion,
        price: Price,
        *,
        cache: CallCache | None,
        in_flight: int | Literal["auto"] = 16,
        in_flight_cap: int = 256,
        timeout_s: float = 120.0,
        attempts: int = 4,
        server_wait_s: float = 0.0,
        budget: Budget | None = None,
        stop_failure_rate: float = 0.5,
        api_key: str | None = None,
        model_name: str | None = None,
        meter: Meter | None = None,
        backoff: Backoff | None = None,
        socket: Path | None = None,
    ) -> None:
        self.version = version
        self.price = price
        # An endpoint whose weights can't be seen knows nothing of our digests.
        self.model_name = model_name or (version.served_name if version.sha256 else version.name)
        self.meter = Meter() if meter is None else meter
        urls = (endpoints,) if isinstance(endpoints, str) else endpoints
        self.urls = tuple(dict.fromkeys(url.rstrip("/") for url in urls))
        self._url = self.urls[0]
        self._key = api_key
        self._budget = budget
        self._timeout_s = timeout_s
        self._socket = socket
        auto = in_flight == "auto"
        batch = _batch_size(version)
        most = in_flight if in_flight != "auto" else in_flight_cap
        if auto and batch is not None:
            # It never runs more than that; a few wait, so that no place stays empty.
            most = min(most, batch + max(2, batch // BACKLOG))
        # One more than the calls: a server's own count is asked beside them.
        self._inner = AiohttpTransport((most + 1) * len(self.urls), socket)
        start = in_flight if in_flight != "auto" else batch or FIRST_IN_FLIGHT
        self.stream = Stream(
            [
                Endpoint(
                    url,
                    Governor(limit=start, cap=most, fixed=not auto),
                    partial(self._gauges, url) if auto else None,
                )
                for url in self.urls
            ]
        )
        self._door = MeteredTransport(
            self._inner,
            model=self.model_name,
            model_digest=version.digest,
            price=price,
            limits=Limits(
                timeout_s=timeout_s,
                attempts=attempts,
                stop_failure_rate=stop_failure_rate,
                backoff=backoff or Backoff(),
                server_wait_s=server_wait_s,
            ),
            cache=cache,
            meter=self.meter,
            stream=self.stream,
            returns=self._answers,
            budget=budget,
            secret=api_key,
        )
        self._http = httpx.AsyncClient(
            transport=self._door, headers={"authorization": f"Bearer {api_key}"} if api_key else {}
        )
        self._libraries: dict[str, AsyncOpenAI] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for library in self._libraries.values():
            await library.close()
        await self._http.aclose()
        if self._budget is not None:
            self._budget.save()

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        purpose: str,
        sampling: Sampling | None = None,
        schema: dict[str, Any] | None = None,
        repeat: int | None = None,
    ) -> Completion:
        """Ask the model once.

        Args:
            messages: the conversation.
            purpose: what the call is counted under.
            sampling: instead of the version's own.
            schema: JSON schema that the server forces the text into.
            repeat: which of several samples of the same request this is, from 0; None: what
                `calling` says around this call.

        Raises:
            CallFailed: it failed after its retries; has `purpose`, `attempts` and `status`.
            TooManyFailures: so many calls failed that none is sent any more.
        """
        repeat = current_label().repeat if repeat is None else repeat
        body = self.chat_body(messages, sampling)
        body["seed"] += repeat
        if schema is not None:
            body["response_format"] = response_format(schema)
        with calling(purpose=purpose, repeat=repeat):
            response = await self._http.post(f"{self._url}/chat/completions", json=body)
        record: CallRecord = response.extensions[RECORD]
        choice = response.json()["choices"][0]
        refusal = choice["message"].get("refusal")
        return Completion(
            text=_whole_characters(choice["message"].get("content") or refusal or ""),
            finish_reason=choice.get("finish_reason"),
            input_tokens=record.input_tokens,
            cached_tokens=record.cached_tokens,
            output_tokens=record.output_tokens,
            latency_s=cast("float", record.latency_s),
            cost=record.cost,
            cache_hit=record.cache_hit,
            refused=bool(refusal),
        )

    def chat_body(
        self, messages: Sequence[Message], sampling: Sampling | None = None
    ) -> dict[str, Any]:
        """The request that asks the model once, as `ask_uncached` takes it.

        Args:
            messages: the conversation.
            sampling: instead of the version's own.
        """
        drawn = sampling or self.version.sampling
        return {
            "model": self.model_name,
            "messages": list(messages),
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "max_tokens": drawn.max_tokens,
            "seed": drawn.seed,
        }

    async def time_stream(self, messages: Sequence[Message], *, purpose: str) -> Streamed:
        """Ask once, at once, and time the answer's tokens.

        No limit holds it back, no cache answers it and nothing is tried again: what is measured is
        what a user would wait for. It is counted and paid like every other call.

        Args:
            messages: the conversation.
            purpose: what the call is counted under.

        Raises:
            BudgetSpent: it can't be paid for.
        """
        if self._budget is not None:
            self._budget.check(purpose)
        present = self.stream.present or self.stream.endpoints
        endpoint = preferred(prefix_key(None, str(messages)), present)
        with endpoint.share.request() as share:
            said = await stream_once(
                f"{endpoint.url}/chat/completions",
                self.chat_body(messages),
                headers={"authorization": f"Bearer {self._key}"} if self._key else {},
                timeout_s=self._timeout_s,
                socket=self._socket,
            )
        machine_s = share()
        cost = call_cost(self.price, said.usage, machine_s)
        self.meter.add(
            CallRecord(
                purpose=purpose,
                model=self.model_name,
                attempts=1,
                input_tokens=said.usage.input_tokens,
                cached_tokens=said.usage.cached_tokens,
                output_tokens=said.usage.output_tokens,
                latency_s=None if said.error else said.total_s,
                cost=cost,
                cache_hit=False,
                error=said.error,
                machine_s=None if self.price.machine_hour is None else machine_s,
            )
        )
        if self._budget is not None:
            self._budget.add(cost)
        return said

    async def embed(self, texts: Sequence[str], *, purpose: str) -> list[list[float]]:
        """One vector a text, in their order, in one request.

        Raises:
            CallFailed: it failed after its retries; has `purpose`, `attempts` and `status`.
            TooManyFailures: so many calls failed that none is sent any more.
            WrongModel: the server gave another number of vectors than texts.
        """
        body = {"model": self.model_name, "input": list(texts), "encoding_format": "float"}
        with calling(purpose=purpose):
            response = await self._http.post(f"{self._url}/embeddings", json=body)
        rows = sorted(response.json()["data"], key=lambda row: row["index"])
        if [row["index"] for row in rows] != list(range(len(texts))):
            raise WrongModel(
                f"{self.model_name!r} at {self._url} gave {len(rows)} vectors for {len(texts)} "
                "texts.",
                next_step="Check that url in configs/models.yaml is that of an embedding model.",
            )
        return [row["embedding"] for row in rows]

    async def ask_uncached(
        self, body: dict[str, Any], *, purpose: str, position: int | None = None
    ) -> dict[str, Any]:
        """Send one chat request that no cache may answer or keep; counted like all others.

        Args:
            body: of the request, sent as it is.
            purpose: what the call is counted under.
            position: of its case in the suite.

        Returns:
            The server's JSON.

        Raises:
            CallFailed: it failed after its retries.
            TooManyFailures: so many calls failed that none is sent any more.
        """
        with calling(purpose=purpose, position=position):
            response = await self._http.post(
                f"{self._url}/chat/completions", json=body, extensions={UNCACHED: True}
            )
        return dict(response.json())

    async def server_version(self) -> str | None:
        """What the servers call their own version, or versions; None where none says."""
        said = {await self._version_of(url) for url in self.urls} - {None}
        return ", ".join(sorted(str(each) for each in said)) or None

    async def _version_of(self, url: str) -> str | None:
        response = await self._get(f"{url.removesuffix('/v1')}/version")
        if response is None or not response.is_success:
            return None
        try:
            said = response.json()
        except ValueError:
            return None
        version = said.get("version") if isinstance(said, dict) else None
        return version if isinstance(version, str) else None

    def check(self, purpose: str) -> None:
        """Make sure that the server wasn't lost, also when no call is left that would notice.

        Raises:
            TooManyFailures: so many calls failed that none would be sent any more.
        """
        self._door.check(purpose)

    def endpoint_totals(self) -> dict[str, EndpointTotals]:
        """What each server did, by its URL."""
        return {each.url: each.totals() for each in self.stream.endpoints}

    async def _get(self, url: str) -> httpx.Response | None:
        """A GET beside the calls, which no limit holds back; None when nothing answers."""
        headers = {"authorization": f"Bearer {self._key}"} if self._key else {}
        request = httpx.Request("GET", url, headers=headers)
        request.extensions["timeout"] = httpx.Timeout(PROBE_TIMEOUT_S).as_dict()
        try:
            response = await self._inner.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
        except httpx.HTTPError:
            return None
        return response

    async def _gauges(self, url: str) -> tuple[float, float] | None:
        response = await self._get(f"{url.removesuffix('/v1')}/metrics")
        return gauges(response.text) if response is not None and response.is_success else None

    async def _answers(self, url: str) -> bool:
        response = await self._get(f"{url}/models")
        return response is not None and response.is_success

    def openai(self, purpose: str) -> "AsyncOpenAI":
        """An OpenAI client for a library; its calls come through this door under `purpose`.

        It lives as long as this client. What fails raises an `openai.APIConnectionError`; see
        `ratchet_error`.
        """
        if purpose not in self._libraries:
            from openai import AsyncOpenAI

            self._libraries[purpose] = AsyncOpenAI(
                base_url=self._url,
                api_key=self._key or "none",
                max_retries=0,
                http_client=httpx.AsyncClient(transport=PurposeTransport(self._door, purpose)),
            )
        return self._libraries[purpose]


def _batch_size(version: ModelVersion) -> int | None:
    """Requests that the server was told to batch at most; None where it wasn't told."""
    told = version.server_flags.get("max-num-seqs")
    return told if isinstance(told, int) and told > 0 else None


def _whole_characters(text: str) -> str:
    """The text with halves of characters replaced: JSON can carry them, and no file can."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The request field that forces an answer into a JSON schema (OpenAI structured outputs)."""
    name = schema.get("title", "answer")
    return {
        "type": "json_schema",
        "json_schema": {"name": name, "schema": schema, "strict": True},
    }


def ratchet_error(error: BaseException) -> RatchetError | None:
    """The failure of the door that a library has wrapped into an error of its own, if any."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        if isinstance(current, RatchetError):
            return current
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return None
