"""P6: the same prompts on a real vLLM: offline and by its own benchmark as given, by us in order.

python -m benchmarks.vllm_order
"""

import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness import ROOT, Result, save, show, versions
from benchmarks.real_vllm import (
    MODEL,
    RealServer,
    real_server,
    real_version,
    real_weights,
    vllm_environment,
)
from benchmarks.stub_calibration import text_of
from tasks.config import Price
from tasks.serve.client import ModelClient
from tasks.serve.environment import serving_python
from tasks.serve.label import calling
from tasks.serve.together import together

CONTEXTS, MEASURES, WORDS = 12, 3, 250
OUTPUT_TOKENS = 8
RUNS = 5
FLAGS: dict[str, str | int | float | bool] = {
    # A suite of 500 cases is several times as large as the cache of a server. So is this one.
    "max-num-seqs": 4,
    "max-num-batched-tokens": 2_048,
    "max-model-len": 1_024,
    "num-gpu-blocks-override": 13,
}
OF_OFFLINE, BY_ORDER = 0.95, 1.2
OFFLINE, BENCH = "LLM.generate, order as given", "vllm bench serve, order as given"
GIVEN, ORDERED = "our stream, order as given", "our stream, ordered by prefix"
PRICE = Price(input_per_million=1.0, output_per_million=2.0)
_INSTRUCTIONS = (
    "Does each statement of the answer follow from the passages? Say yes or no.",
    "Which share of the passages is needed to answer? Give a number from 0 to 1.",
    "Is the reference answer supported by the passages? Say yes or no.",
)


def prompts_of(draw: random.Random) -> list[tuple[int, str]]:
    """Prompts of several measures on shared contexts, and each one's case, in a random order."""
    prompts = []
    for case in range(CONTEXTS):
        context = text_of(WORDS, draw)
        prompts += [(case, f"{context}\n\n{_INSTRUCTIONS[m]}") for m in range(MEASURES)]
    draw.shuffle(prompts)
    return prompts


def positions(cases: Sequence[int], *, ordered: bool) -> list[int]:
    """What our stream is told: each call's case, or its place in the given order."""
    return list(cases) if ordered else list(range(len(cases)))


def main() -> bool:
    """Run P6; whether its goal was met."""
    prompts = prompts_of(random.Random(6))  # noqa: S311  (no secret)
    texts = [text for _, text in prompts]
    seconds: dict[str, list[float]] = {OFFLINE: _offline(texts), GIVEN: [], ORDERED: []}
    cached: dict[str, float] = {}
    with real_server(FLAGS) as server:
        vllm = server.vllm_version()
        asyncio.run(_stream(server, prompts[:1], ordered=True))
        for _ in range(RUNS):
            # Interleaved, so that a slow minute hits all.
            for who in (GIVEN, ORDERED):
                server.forget()
                before = _hits(server)
                seconds[who].append(asyncio.run(_stream(server, prompts, ordered=who == ORDERED)))
                hits, queries = (
                    now - then for now, then in zip(_hits(server), before, strict=True)
                )
                cached[who] = hits / queries
            server.forget()
            try:
                seconds[BENCH] = [*seconds.get(BENCH, ()), _bench(server, texts)]
            except RuntimeError as error:
                # A peer of which every release names its options anew: the rest is worth keeping.
                print(f"{BENCH} was not measured: {error}")
    took = {who: statistics.median(each) for who, each in seconds.items()}
    ratios = {
        "offline / own, ordered": took[OFFLINE] / took[ORDERED],
        "offline / own, as given": took[OFFLINE] / took[GIVEN],
        "own as given / ordered": took[GIVEN] / took[ORDERED],
    }
    if BENCH in took:
        ratios |= {
            "bench serve / own, ordered": took[BENCH] / took[ORDERED],
            "bench serve / own, as given": took[BENCH] / took[GIVEN],
        }
    result = Result(
        id="P6",
        work=f"{len(texts)} prompts, {MEASURES} measures on each of {CONTEXTS} contexts of {WORDS} "
        f"words, {OUTPUT_TOKENS} tokens each, shuffled; {MODEL}, "
        + ", ".join(f"{flag} {value}" for flag, value in FLAGS.items()),
        own={who: {"seconds": seconds[who], "cached": cached[who]} for who in (ORDERED, GIVEN)},
        peers={who: {"seconds": seconds[who]} for who in (OFFLINE, BENCH) if who in seconds},
        limit={},
        ratios=ratios,
        goal=f"{OF_OFFLINE:.0%} of offline in the given order, {BY_ORDER:g} x through the order",
        met=ratios["offline / own, ordered"] >= OF_OFFLINE
        and ratios["own as given / ordered"] >= BY_ORDER,
        versions={"vllm": vllm} | versions("aiohttp"),
    )
    show(
        result,
        [
            {
                "who": who,
                "seconds": ", ".join(f"{each:.1f}" for each in seconds[who]),
                "cached": f"{cached[who]:.0%}" if who in cached else "",
            }
            for who in (OFFLINE, BENCH, GIVEN, ORDERED)
            if who in seconds
        ],
    )
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
    save(result)
    return result.met


async def _stream(
    server: RealServer, prompts: Sequence[tuple[int, str]], *, ordered: bool
) -> float:
    places = positions([case for case, _ in prompts], ordered=ordered)
    async with ModelClient(
        server.url, server.version, PRICE, cache=None, in_flight="auto", timeout_s=600.0
    ) as client:

        async def one(position: int, prompt: str) -> None:
            body = {
                "model": client.model_name,
                "messages": [{"role": "user", "content": prompt}],
                "max_tokens": OUTPUT_TOKENS,
                "temperature": 0,
                "ignore_eos": True,
            }
            with calling(depth=1):
                await client.ask_uncached(body, purpose="benchmark", position=position)

        began = time.perf_counter()
        await together([one(place, text) for place, (_, text) in zip(places, prompts, strict=True)])
        return time.perf_counter() - began


def _hits(server: RealServer) -> tuple[float, float]:
    """Prompt tokens that came from the prefix cache, and all, since the server's start."""
    text = httpx.get(f"{server.url.removesuffix('/v1')}/metrics", timeout=10).text
    found = {
        line.split("{", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(("vllm:prefix_cache_hits_total", "vllm:prefix_cache_queries_total"))
    }
    return found["vllm:prefix_cache_hits_total"], found["vllm:prefix_cache_queries_total"]


def _offline(texts: Sequence[str]) -> list[float]:
    """Seconds of each run of `LLM.generate`, with the server's flags, without its start."""
    version = real_version(FLAGS)
    engine = {flag.replace("-", "_"): value for flag, value in version.server_flags.items()}
    # Of the HTTP server alone.
    engine.pop("enable_prompt_tokens_details", None)
    order: dict[str, Any] = {
        "engine": {"model": str(real_weights().resolve()), **engine},
        "prompts": list(texts),
        "output_tokens": OUTPUT_TOKENS,
        "runs": RUNS,
    }
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = Path(directory, "order.json"), Path(directory, "seconds.json")
        asked.write_text(json.dumps(order), encoding="utf-8")
        _run("vllm_offline.py", str(asked), str(answered))
        return [float(each) for each in json.loads(answered.read_text(encoding="utf-8"))]


def _bench(server: RealServer, texts: Sequence[str]) -> float:
    """Seconds that `vllm bench serve` says it took, with all prompts sent at once."""
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory, "prompts.json")
        data.write_text(json.dumps(list(texts)), encoding="utf-8")
        arguments = {
            "backend": "openai-chat",
            "base-url": server.url.removesuffix("/v1"),
            "endpoint": "/v1/chat/completions",
            "model": str(server.weights.resolve()),
            "served-model-name": server.version.served_name,
            "num-prompts": str(len(texts)),
            "temperature": "0",
            "result-dir": directory,
            "result-filename": "result.json",
        }
        flags = [part for name, value in arguments.items() for part in (f"--{name}", value)]
        switches = ("--ignore-eos", "--save-result", "--disable-tqdm")
        _run("vllm_bench.py", str(data), str(OUTPUT_TOKENS), *flags, *switches)
        said = json.loads(Path(directory, "result.json").read_text(encoding="utf-8"))
    if said["completed"] != len(texts):
        raise RuntimeError(f"vllm bench serve completed {said['completed']} of {len(texts)}.")
    return float(said["duration"])


def _run(script: str, *arguments: str) -> None:
    done = subprocess.run(
        [str(serving_python()), "-P", str(ROOT / "benchmarks" / script), *arguments],
        env=vllm_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-2_000:]}")


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
