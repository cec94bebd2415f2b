"""P7: judge again after a tenth of the answers changed, beside ragas's cache, on a stub of vLLM."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Result, save, show, versions
from benchmarks.judging import (
    NATIVE,
    PROFILES,
    judge_by_ragas,
    judge_ourselves,
    look,
    make_results,
    stub_server,
)
from tasks.evaluate.measures.base import CaseResult
from tasks.serve.cache import CallCache

CASES = 20
CHANGED = 2


def main() -> bool:
    """Run P7; whether its goal was met."""
    before = make_results(CASES)
    after = [_changed(each) if place < CHANGED else each for place, each in enumerate(before)]
    rows = []
    with stub_server(PROFILES["GPU"]), tempfile.TemporaryDirectory() as directory:
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
        ragas = look()["requests"]
    for name, one, two in (("own", asked_first, own), ("ragas with its cache", ragas_first, ragas)):
        rows.append({"who": name, "calls, first time": f"{one}", "calls, again": f"{two}"})
    rows.append(
        {"who": "limit: calls that differ", "calls, first time": "", "calls, again": f"{limit}"}
    )
    result = Result(
        id="P7",
        work=f"{CASES} cases x 6 measures again after {CHANGED} answers changed",
        own={"first": asked_first, "again": own},
        peers={"ragas with its cache": {"first": ragas_first, "again": ragas}},
        limit={"calls that differ": limit},
        ratios={"calls / limit": own / limit},
        goal="exactly the calls that differ",
        met=own == limit,
        versions=versions("ragas", "diskcache"),
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
