"""V1: what the real vLLM takes on this processor -> the stub's profile, and how well it predicts.

python -m benchmarks.stub_calibration
"""

import asyncio
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from benchmarks.harness import Result, describe_machine, save, show, versions
from benchmarks.real_vllm import MODEL, RealServer, real_server
from benchmarks.stub.engine import Request, Speed
from benchmarks.stub.profile import PROCESSOR, Observation, fit
from benchmarks.stub.server import MODEL as STUB
from benchmarks.stub.server import StubServer
from tasks.store import write_json

PREFILL_WORDS = (60, 200, 400)
BATCHES = (1, 4, 8)
DECODED = 17
RUNS = 2
CONTEXTS, INSTRUCTIONS = 4, 3
HELD_OUT_RUNS = 2
GOAL = 0.2
"""The largest error of the held-out time with which the profile is called calibrated."""
_WORDS = ("store", "cool", "keep", "apple", "bread", "dry", "place", "lasts", "days", "week", "the")


@dataclass(frozen=True)
class Ask:
    """A prompt and how many tokens its answer has, whatever the model would say."""

    prompt: str
    output_tokens: int


def text_of(words: int, draw: random.Random) -> str:
    """Random words, so that no two texts share a prefix."""
    return " ".join(draw.choice(_WORDS) for _ in range(words))


def held_out(draw: random.Random) -> list[Ask]:
    """A judge's prompts: shared contexts first, instructions last, answers of 4 to 32 tokens."""
    asks = []
    for _ in range(CONTEXTS):
        context = text_of(draw.randint(130, 300), draw)
        for number in range(INSTRUCTIONS):
            instruction = f"Instruction {number}: {text_of(draw.randint(10, 30), draw)}"
            asks.append(Ask(f"{context}\n\n{instruction}", draw.randint(4, 32)))
    return asks


async def ask_all(url: str, model: str, asks: Sequence[Ask]) -> tuple[float, list[dict[str, Any]]]:
    """Send all at once; seconds until the last answer, and each one's `usage`."""
    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=None)) as client:

        async def one(ask: Ask) -> dict[str, Any]:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": ask.prompt}],
                "max_tokens": ask.output_tokens,
                "temperature": 0,
                "ignore_eos": True,
            }
            response = await client.post(f"{url}/chat/completions", json=body)
            return dict(response.raise_for_status().json()["usage"])

        began = time.perf_counter()
        usages = await asyncio.gather(*(one(ask) for ask in asks))
        return time.perf_counter() - began, list(usages)


def observe(url: str, model: str, asks: Sequence[Ask]) -> tuple[Observation, int]:
    """Time these asks, which share nothing; also the tokens that came from the cache."""
    seconds, usages = asyncio.run(ask_all(url, model, asks))
    cached = [int((usage["prompt_tokens_details"] or {})["cached_tokens"]) for usage in usages]
    # What was cached costs nothing: to the scheduler it isn't there.
    requests = tuple(
        Request(usage["prompt_tokens"] - hit, (), usage["completion_tokens"])
        for usage, hit in zip(usages, cached, strict=True)
    )
    return Observation(requests, seconds), sum(cached)


def stub_seconds(asks: Sequence[Ask], speed: Speed) -> tuple[float, int, int]:
    """How long the stub takes for them, over HTTP; its prompt tokens, and those it had cached."""
    with StubServer(speed, respond=lambda _: "word " * 64) as stub:
        seconds, usages = asyncio.run(ask_all(stub.url, STUB, asks))
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    return seconds, sum(usage["prompt_tokens"] for usage in usages), cached


def main() -> bool:
    """Run V1; whether the held-out error is small enough."""
    draw = random.Random(9)  # noqa: S311  (no secret)
    with real_server() as server:
        vllm = server.vllm_version()
        limits = _limits(server)
        # What is compiled or allocated at first use belongs to no figure.
        observe(server.url, server.version.name, [Ask(text_of(40, draw), 4)] * 4)
        observations, measured = _calibrate(server, draw)
        prefix = _prefix_saving(server, draw)
        speed = fit(observations, limits)
        asks = held_out(draw)
        real: list[float] = []
        usages: list[dict[str, Any]] = []
        for _ in range(HELD_OUT_RUNS):
            server.forget()
            seconds, usages = asyncio.run(ask_all(server.url, server.version.name, asks))
            real.append(seconds)
    predicted = [stub_seconds(asks, speed) for _ in range(HELD_OUT_RUNS)]
    own = statistics.median(seconds for seconds, _, _ in predicted)
    true = statistics.median(real)
    error = own / true - 1
    write_json(
        PROCESSOR,
        {
            "date": datetime.now(UTC).date().isoformat(),
            "model": MODEL,
            "server_flags": dict(server.version.server_flags),
            "versions": {"vllm": vllm},
            "machine": describe_machine(),
            "speed": asdict(speed),
            "measured": measured | {"prefix cache": prefix},
        },
    )
    result = Result(
        id="V1",
        work=f"{len(asks)} prompts on {CONTEXTS} shared contexts, {MODEL}, all sent at once",
        own={
            "stub, seconds": own,
            "stub, prompt tokens": predicted[0][1],
            "stub, cached tokens": predicted[0][2],
            "speed": asdict(speed),
            "measured": measured | {"prefix cache": prefix},
        },
        peers={
            "vLLM, seconds": real,
            "vLLM, prompt tokens": sum(usage["prompt_tokens"] for usage in usages),
            "vLLM, cached tokens": sum(
                (usage["prompt_tokens_details"] or {})["cached_tokens"] for usage in usages
            ),
        },
        limit={},
        ratios={"stub / vLLM": own / true, "error": error},
        goal=f"the stub's time within {GOAL:.0%} of the real one's, on work it wasn't fitted to",
        met=abs(error) <= GOAL,
        versions={"vllm": vllm} | versions("httpx", "aiohttp"),
    )
    rows = [
        {"what": name, "measured": figure} for name, figure in _table(measured, prefix, speed)
    ] + [
        {"what": "held out: vLLM", "measured": ", ".join(f"{each:.1f} s" for each in real)},
        {"what": "held out: stub", "measured": f"{own:.1f} s ({error:+.0%})"},
    ]
    show(result, rows)
    save(result)
    return result.met


def _limits(server: RealServer) -> Speed:
    """Batch and cache, as the server's own metrics and flags say; rates are not known yet."""
    text = httpx.get(f"{server.url.removesuffix('/v1')}/metrics", timeout=10).text
    line = next(line for line in text.splitlines() if line.startswith("vllm:cache_config_info"))
    said = dict(
        part.split("=", 1) for part in line[line.index("{") + 1 : line.index("}")].split(",")
    )
    return Speed(
        max_num_seqs=int(server.version.server_flags["max-num-seqs"]),
        cache_blocks=int(said["num_gpu_blocks"].strip('"')),
        block_tokens=int(said["block_size"].strip('"')),
    )


def _calibrate(
    server: RealServer, draw: random.Random
) -> tuple[list[Observation], dict[str, float]]:
    """Lone prompts of several lengths, and short prompts in batches of several sizes."""
    observations = []
    measured: dict[str, float] = {}
    name = server.version.name
    for words in PREFILL_WORDS:
        rates = []
        for _ in range(RUNS):
            seen, _ = observe(server.url, name, [Ask(text_of(words, draw), 1)])
            observations.append(seen)
            rates.append(seen.requests[0].prompt_tokens / seen.seconds)
        measured[f"prefill tokens/s, {words} words"] = statistics.median(rates)
    for batch in BATCHES:
        rates = []
        for _ in range(RUNS):
            asks = [Ask(text_of(20, draw), DECODED) for _ in range(batch)]
            seen, _ = observe(server.url, name, asks)
            observations.append(seen)
            rates.append(batch * DECODED / seen.seconds)
        measured[f"decode tokens/s, batch {batch}"] = statistics.median(rates)
    return observations, measured


def _prefix_saving(server: RealServer, draw: random.Random) -> dict[str, float]:
    """The same long prompt twice."""
    ask = Ask(text_of(PREFILL_WORDS[-1], draw), 1)
    first, _ = observe(server.url, server.version.name, [ask])
    again, cached = observe(server.url, server.version.name, [ask])
    return {
        "first, seconds": first.seconds,
        "again, seconds": again.seconds,
        "prompt tokens": first.requests[0].prompt_tokens,
        "cached tokens": cached,
    }


def _table(
    measured: dict[str, float], prefix: dict[str, float], speed: Speed
) -> list[tuple[str, str]]:
    rows = [(name, f"{value:,.0f}") for name, value in measured.items()]
    rows += [(f"prefix cache: {name}", f"{value:,.3g}") for name, value in prefix.items()]
    return [
        *rows,
        ("fitted: prefill tokens/s", f"{speed.prefill_tokens_s:,.0f}"),
        ("fitted: decode tokens/s", f"{speed.decode_tokens_s:,.0f}"),
        ("fitted: step", f"{speed.step_s * 1000:.1f} ms"),
    ]


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
