"""P7: judge again after a tenth of the answers changed, beside two caches, on a stub of vLLM."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Result, save, show, versions
from benchmarks.judging import (
    GPU,
    NATIVE,
    judge_by_ragas,
    judge_ourselves,
    look,
    make_results,
    stub_server,
)
from benchmarks.judging_peers import judge_by_promptfoo, promptfoo_version
from tasks.evaluate.measures.base import CaseResult
from tasks.serve.cache import CallCache

CASES = 20
CHANGED = 2


def main() -> bool:
    """Run P7; whether its goal was met."""
    before = make_results(CASES)
    after = [_changed(each) if place < CHANGED else each for place, each in enumerate(before)]
    rows = []
    with stub_server(GPU), tempfile.TemporaryDirectory() as directory:
        look()
        with CallCache(Path(directory) / "own") as cache:
            _, first, _ = judge_ourselves(before, NATIVE, cache)
            asked_first = look()["requests"]
            _, second, _ = judge_ourselves(after, NATIVE, cache)
        own = look()["requests"]
        limit = len({call.key for call in second} - {call.key for call in first})
        judge_by_ragas(before, workers=64, cache=Path(directory) / "ragas")
        ragas_first = look()["requests"]
        judge_by_ragas(after, workers=64, cache=Path(directory) / "ragas")
        peers = {"ragas with its cache": {"first": ragas_first, "again": look()["requests"]}}
        if promptfoo_version() is not None:
            kept = Path(directory) / "promptfoo"
            judge_by_promptfoo(before, workers=64, assertions=6, cache=kept)
            promptfoo_first = look()["requests"]
            judge_by_promptfoo(after, workers=64, assertions=6, cache=kept)
            peers["promptfoo with its cache"] = {
                "first": promptfoo_first,
                "again": look()["requests"],
            }
        else:
            print("promptfoo was not measured: it isn't installed here.")
    for name, asked in {"own": {"first": asked_first, "again": own}, **peers}.items():
        rows.append(
            {
                "who": name,
                "calls, first time": f"{asked['first']}",
                "calls, again": f"{asked['again']}",
            }
        )
    rows.append(
        {"who": "limit: calls that differ", "calls, first time": "", "calls, again": f"{limit}"}
    )
    result = Result(
        id="P7",
        work=f"{CASES} cases x 6 measures again after {CHANGED} answers changed",
        own={"first": asked_first, "again": own},
        peers=peers,
        limit={"calls that differ": limit},
        ratios={"calls / limit": own / limit},
        goal="exactly the calls that differ",
        met=own == limit,
        versions=versions("ragas", "diskcache")
        | ({"promptfoo": promptfoo} if (promptfoo := promptfoo_version()) else {}),
    )
    show(result, rows)
    save(result)
    return result.met


def _changed(result: CaseResult) -> CaseResult:
    if result.answer is None:
        return result
    return replace(result, answer=replace(result.answer, text=f"{result.answer.text} Or not."))


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
