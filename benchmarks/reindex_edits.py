"""P2: one sentence inserted in one percent of the documents, then indexed again.

Everybody starts from an index of the folder as it was, with the same model and sizes as in P1
(`benchmarks/reindex_unchanged.py`), in a process of its own that reads the folder again.

Truly new are the distinct texts (of a chunk, as they are embedded) that a build from nothing cuts
from the changed folder and that it didn't cut from the folder before, by each one's own splitter.
That is a lenient limit: a splitter that moves every chunk behind an edit makes them all truly new.
So the table has chunks an edit, too: what no splitter can go below is 1, and an overlap of
neighbours makes it more.

An index is right when it holds exactly the chunks of a build from nothing: none that are lost,
none of the old text, none twice.

Everybody re-indexes the smallest folder. A larger one is left to us and to the best right peer of
each package, as long as it is expected to build its index in time. Peers run once; our own time is
the median of several days, each with one more edit, after the peers had the first.

    python -m benchmarks.reindex_edits DATA [DOCUMENTS ...]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, save, show, versions
from benchmarks.reindex_checks import is_right
from benchmarks.reindex_contenders import LIMIT_S, OWN, PACKAGES, PEERS, Contender
from benchmarks.reindex_files import insert_sentences, write_files
from benchmarks.reindex_own import write_project
from benchmarks.reindex_unchanged import FIRST_BUILD_S, SETTLE_S

SIZES, DAYS = (500, 5_000), 5

Found = dict[str, dict[str, Any]]
"""What each contender's re-index of one folder took and gave, by its name."""


def main(data: Path, sizes: Sequence[int] = SIZES) -> bool:
    """Run the benchmark; whether its goal was met.

    Args:
        data: a BEIR corpus, see `write_files`.
        sizes: how many files, rising.
    """
    peers = [peer for peer in PEERS if peer.is_installed]
    found: dict[int, Found] = {}
    for position, size in enumerate(sizes):
        if position:
            before = sizes[position - 1]
            peers = best_of_each(peers, found[before], growth=size / before)
        found[size] = measure(data, size, peers)
    return report(found)


def measure(data: Path, documents: int, peers: Iterable[Contender]) -> Found:
    """Index a folder, edit it, and index it again."""
    with tempfile.TemporaryDirectory(prefix="ratchet-p2-") as directory:
        home = Path(directory)
        write_files(home / "docs", data, documents)
        write_project(home)
        time.sleep(SETTLE_S)
        before: dict[str, set[str]] = {}
        first_s: dict[str, float] = {}
        for contender in (OWN, *peers):
            first = contender.run(home, limit_s=FIRST_BUILD_S if contender is OWN else LIMIT_S)
            if first is not None:
                first_s[contender.name] = first[0]
                contender.check(home)
                before[contender.name] = contender.wanted(home)
        edits = insert_sentences(home / "docs")
        time.sleep(SETTLE_S)
        found: Found = {
            contender.name: {"first_s": first_s.get(contender.name)}
            | (
                _measure(contender, home, before[contender.name], edits)
                if contender.name in before
                else {"seconds": None, "right": None}
            )
            for contender in (OWN, *peers)
        }
        own = found[OWN.name]
        own["days_s"] = [own["seconds"], *_days(home)]
        own["seconds"] = statistics.median(own["days_s"])
        own["edits"] = edits
    return found


def _days(home: Path) -> Iterable[float]:
    for day in range(1, DAYS):
        insert_sentences(home / "docs", seed=day)
        time.sleep(SETTLE_S)
        done = OWN.run(home)
        if done is None:
            raise RuntimeError(f"expected an end within {LIMIT_S:.0f} s")
        yield done[0]


def best_of_each(peers: Iterable[Contender], found: Found, *, growth: float) -> list[Contender]:
    """The fastest right peer of each package that will end in time with so many times the files."""
    best: dict[str, Contender] = {}
    for peer in peers:
        measured = found[peer.name]
        if not (peer.has_index and measured["right"]):
            continue
        if measured["first_s"] * growth > LIMIT_S:
            continue
        other = best.get(peer.module)
        if other is None or measured["seconds"] < found[other.name]["seconds"]:
            best[peer.module] = peer
    return list(best.values())


def report(found: dict[int, Found]) -> bool:
    """Show and save what was measured; whether the goal was met."""
    own = {size: of_size[OWN.name] for size, of_size in found.items()}
    peers = {
        size: {name: item for name, item in of_size.items() if name != OWN.name}
        for size, of_size in found.items()
    }
    ratios: dict[str, float] = {}
    for size in found:
        ratios[f"embedded / truly new, {size:,} documents"] = (
            own[size]["embedded"] / own[size]["truly_new"]
        )
        usable = [
            peers[size][peer.name]["seconds"]
            for peer in PEERS
            if peer.has_index and peers[size].get(peer.name, {}).get("right")
        ]
        if usable:
            ratio = min(usable) / own[size]["seconds"]
            ratios[f"best right peer / own, {size:,} documents"] = ratio
    largest = max(found)
    result = Result(
        id="P2",
        work="one sentence inserted in "
        + ", ".join(f"{item['edits']:,} of {size:,}" for size, item in own.items())
        + " documents",
        own={str(size): item for size, item in own.items()},
        peers={str(size): item for size, item in peers.items()},
        limit={"truly new chunks": {str(size): item["truly_new"] for size, item in own.items()}},
        ratios=ratios,
        goal="embedded / truly new at most 1.1; 10 x the best right peer's wall time, "
        "in the largest folder",
        met=all(
            item["right"] and item["embedded"] <= 1.1 * item["truly_new"] for item in own.values()
        )
        and ratios.get(f"best right peer / own, {largest:,} documents", 0.0) >= 10,
        versions=versions(*PACKAGES),
    )
    show(
        result,
        [
            _row(f"{name}, {size:,}", item, own[size])
            for size, of_size in found.items()
            for name, item in of_size.items()
        ],
    )
    save(result)
    return result.met


def _measure(contender: Contender, home: Path, before: set[str], edits: int) -> dict[str, Any]:
    done = contender.run(home)
    if done is None:
        return {"seconds": None, "right": None}
    checked = contender.check(home)
    new = len(contender.wanted(home) - before)
    embedded = done[1]["embedded"]
    found = {
        "seconds": done[0],
        "embedded": embedded,
        "truly_new": new,
        "embedded_an_edit": embedded / edits,
        "new_an_edit": new / edits,
        "right": is_right(checked) if contender.has_index else None,
        **checked,
    }
    print(f"{contender.name}: {found}", flush=True)
    return found


def _row(name: str, found: dict[str, Any], own: dict[str, Any]) -> dict[str, str]:
    if found["seconds"] is None:
        return {"who, documents": name} | dict.fromkeys(
            ("seconds", "x own", "embedded", "truly new", "embedded an edit", "right"), "too slow"
        )
    return {
        "who, documents": name,
        "seconds": f"{found['seconds']:.2f}",
        "x own": f"{found['seconds'] / own['seconds']:.1f}",
        "embedded": f"{found['embedded']:,}",
        "truly new": f"{found['truly_new']:,}",
        "embedded an edit": f"{found['embedded_an_edit']:.2f}",
        "right": {True: "yes", False: "no", None: "no index"}[found["right"]],
    }


if __name__ == "__main__":
    sys.exit(0 if main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]] or SIZES) else 1)
