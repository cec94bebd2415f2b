"""P5: six measures on cases with five passages, beside three packages, on a stub of vLLM."""

import sys

from benchmarks.harness import Result, save, show, versions
from benchmarks.judging import (
    BY_RAGAS,
    NATIVE,
    PASSAGES,
    judge_by_ragas,
    judge_ourselves,
    least_seconds,
    look,
    make_results,
    profile,
    stub_server,
)
from benchmarks.judging_peers import (
    has_deepeval,
    judge_by_deepeval,
    judge_by_promptfoo,
    promptfoo_version,
)
from tasks.evaluate.measures.base import CaseResult
from tasks.serve.journal import MadeCall

CASES = {"CPU": 6, "GPU": 48}
"""Few: the whole of P5 ends within three minutes, and ratios hardly depend on it."""
WORKERS = 256
OF_LIMIT, OF_DEFAULT, OF_TUNED = 0.95, 5.0, 2.0
OWN, OWN_RAGAS, DEFAULT = "own measures", "ragas's measures, our engine", "ragas"
TUNED = ("ragas, 256 workers", "deepeval, 256 cases at once", "promptfoo, 64 x 6 at once")
PEERS = (DEFAULT, TUNED[0], "deepeval", TUNED[1], "promptfoo", TUNED[2])


def main() -> bool:
    """Run P5; whether its goal was met."""
    rows: list[dict[str, str]] = []
    seconds: dict[str, float] = {}
    lost: dict[str, int] = {}
    limits: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for machine, cases in CASES.items():
        own, limit = _measure(machine, make_results(cases), rows, seconds, lost)
        limits[machine] = limit
        ratios |= {
            f"{machine}: limit / own": limit / own,
            f"{machine}: ragas / own": seconds[f"{DEFAULT} ({machine})"] / own,
            f"{machine}: best tuned peer / own": min(
                seconds[who] for name in TUNED if (who := f"{name} ({machine})") in seconds
            )
            / own,
        }
        ratios |= {
            f"{machine}: {name} / own": seconds[who] / own
            for name in PEERS[1:]
            if (who := f"{name} ({machine})") in seconds
        }
    needed = (
        ("limit / own", OF_LIMIT),
        (f": {DEFAULT} / own", OF_DEFAULT),
        ("best tuned peer / own", OF_TUNED),
    )
    result = Result(
        id="P5",
        work=f"6 measures x {PASSAGES} passages on a stub of vLLM, "
        + " and ".join(f"{cases} cases on a {machine}" for machine, cases in CASES.items()),
        own={name: value for name, value in seconds.items() if name.startswith(OWN)},
        peers={
            name: {"seconds": value, "no value": lost[name]}
            for name, value in seconds.items()
            if not name.startswith(OWN)
        },
        limit=limits,
        ratios=ratios,
        goal=f"{OF_LIMIT:.0%} of the stub's capacity, {OF_DEFAULT:g} x ragas as it comes, "
        f"{OF_TUNED:g} x the best tuned peer, on both",
        met=all(
            value >= least
            for name, value in ratios.items()
            for end, least in needed
            if name.endswith(end)
        ),
        versions=versions("ragas", "deepeval", "langchain-openai", "openai", "aiohttp")
        | ({"promptfoo": promptfoo} if (promptfoo := promptfoo_version()) else {}),
    )
    show(result, rows)
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
    for peer, missing in (("deepeval", not has_deepeval()), ("promptfoo", promptfoo is None)):
        if missing:
            print(f"{peer} was not measured: it isn't installed here.")
    save(result)
    return result.met


def _measure(
    machine: str,
    results: list[CaseResult],
    rows: list[dict[str, str]],
    seconds: dict[str, float],
    lost: dict[str, int],
) -> tuple[float, float]:
    """Everybody on one machine; own seconds, and those that the stub needs at least."""
    speed = profile(machine)
    own_calls: tuple[MadeCall, ...] = ()
    with stub_server(speed):
        # Libraries are imported and connections made before anything is timed.
        judge_by_ragas(results[:1], workers=16)
        judge_ourselves(results[:1], BY_RAGAS, None)
        if has_deepeval():
            judge_by_deepeval(results[:1], workers=20)
        for name in (OWN, OWN_RAGAS, *PEERS):
            who = f"{name} ({machine})"
            if (name.startswith("deepeval") and not has_deepeval()) or (
                name.startswith("promptfoo") and promptfoo_version() is None
            ):
                continue
            look(forget=True)
            if name == OWN:
                seconds[who], own_calls, lost[who] = judge_ourselves(results, NATIVE, None)
            elif name == OWN_RAGAS:
                seconds[who], _, lost[who] = judge_ourselves(results, BY_RAGAS, None)
            else:
                seconds[who], lost[who] = _by_peer(name, results)
            said = look()
            rows.append(
                {
                    "who": who,
                    "calls": f"{said['requests']}",
                    "prompt tokens": f"{said['prompt_tokens']:,}",
                    "cached": f"{said['cached_tokens'] / max(1, said['prompt_tokens']):.0%}",
                    "most at once": f"{said['most_running']}",
                    "busy": f"{said['busy_s'] / seconds[who]:.0%}",
                    "seconds": f"{seconds[who]:.1f}",
                    "no value": f"{lost[who]}",
                }
            )
    return seconds[f"{OWN} ({machine})"], least_seconds(own_calls, speed)


def _by_peer(name: str, results: list[CaseResult]) -> tuple[float, int]:
    tuned = name in TUNED
    if name.startswith("ragas"):
        return judge_by_ragas(results, workers=WORKERS if tuned else 16)
    if name.startswith("deepeval"):
        judged = judge_by_deepeval(results, workers=WORKERS if tuned else 20)
    else:
        judged = judge_by_promptfoo(
            results, workers=64 if tuned else None, assertions=6 if tuned else None
        )
    return judged.seconds, judged.lost


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
