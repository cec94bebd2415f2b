"""P5: six measures on cases with five passages, beside ragas, on a stub of vLLM."""

import sys

from benchmarks.harness import Result, save, show, versions
from benchmarks.judging import (
    BY_RAGAS,
    NATIVE,
    PASSAGES,
    PROFILES,
    judge_by_ragas,
    judge_ourselves,
    least_seconds,
    look,
    make_results,
    stub_server,
)
from tasks.evaluate.measures.base import CaseResult
from tasks.serve.journal import MadeCall

CASES = {"CPU": 6, "GPU": 48}
"""Few: the whole of P5 ends within three minutes, and ratios hardly depend on it."""
WORKERS = 256
OF_LIMIT, OF_DEFAULT, OF_TUNED = 0.95, 5.0, 2.0
OWN, OWN_RAGAS, DEFAULT, TUNED = (
    "own measures",
    "ragas's measures, our engine",
    "ragas",
    "ragas, 256 workers",
)


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
            f"{machine}: ragas with 256 workers / own": seconds[f"{TUNED} ({machine})"] / own,
        }
    needed = (("limit / own", OF_LIMIT), ("ragas / own", OF_DEFAULT), ("workers / own", OF_TUNED))
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
        versions=versions("ragas", "langchain-openai", "openai", "aiohttp"),
    )
    show(result, rows)
    for name, value in ratios.items():
        print(f"{name}: {value:.2f}")
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
    speed = PROFILES[machine]
    own_calls: tuple[MadeCall, ...] = ()
    with stub_server(speed):
        # Libraries are imported and connections made before anything is timed.
        judge_by_ragas(results[:1], workers=16)
        judge_ourselves(results[:1], BY_RAGAS, None)
        for name in (OWN, OWN_RAGAS, DEFAULT, TUNED):
            look(forget=True)
            who = f"{name} ({machine})"
            if name == OWN:
                seconds[who], own_calls, lost[who] = judge_ourselves(results, NATIVE, None)
            elif name == OWN_RAGAS:
                seconds[who], _, lost[who] = judge_ourselves(results, BY_RAGAS, None)
            else:
                workers = WORKERS if name == TUNED else 16
                seconds[who], lost[who] = judge_by_ragas(results, workers=workers)
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


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
