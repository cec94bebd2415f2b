"""P1: a folder of documents indexed again when nothing was changed, process start to exit.

Own: what `ratchet reindex` does, without the Prefect run around it: settings, snapshot, wanted
release, index. Peers: LangChain's `index()` with its record manager in SQLite, LlamaIndex's
`IngestionPipeline` with its document store or its cache. Everybody has stored state, a model that
costs nothing and counts what it is asked, and splitters of equal sizes. Ratios to peers are of one
size; what is bigger is only measured beside the limit: a process that looks at every file.
A peer whose index isn't right afterwards, or that embeds although nothing was changed, isn't the
best peer, however fast it is.

    python -m benchmarks.reindex_unchanged DATA [DOCUMENTS [LARGE]]
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, save, show, versions
from benchmarks.reindex_checks import is_right
from benchmarks.reindex_contenders import OWN, PACKAGES, PEERS, Contender, walk
from benchmarks.reindex_files import WORDS_A_DOCUMENT, write_files
from benchmarks.reindex_own import write_project

DOCUMENTS, LARGE, RUNS = 5_000, 100_000, 5
LARGE_WORDS = 60
"""Of a document in the larger folder: a night without changes looks at files, not at chunks."""
SETTLE_S = 2.5
"""A file that was written this moment is read twice: it might change unseen."""
_MODES = ("incremental", "full", "upserts")
"""Of the peers; their other modes do the same where nothing was changed."""
FIRST_BUILD_S = 1_800.0


def main(data: Path, documents: int = DOCUMENTS, large: int = LARGE) -> bool:
    """Run the benchmark; whether its goal was met.

    Args:
        data: a BEIR corpus, see `write_files`.
        documents: of the folder that peers index, too.
        large: of the folder that is only compared with the limit.
    """
    own: dict[str, Any] = {}
    limit: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    for size in dict.fromkeys((documents, large)):
        with tempfile.TemporaryDirectory(prefix="ratchet-p1-") as directory:
            home = Path(directory)
            words = WORDS_A_DOCUMENT if size == documents else LARGE_WORDS
            write_files(home / "docs", data, size, words=words)
            write_project(home)
            time.sleep(SETTLE_S)
            own[str(size)], limit[str(size)] = measure_own(home)
            print(f"{size:,} documents: {own[str(size)]}", flush=True)
            if size == documents:
                peers = {
                    peer.name: measure_peer(peer, home)
                    for peer in PEERS
                    if peer.is_installed and peer.arguments[0] in _MODES
                }
            shutil.rmtree(home / "docs")
    return report(own, limit, peers, documents, large)


def measure_own(home: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """First build, then several re-indexes, each beside a walk."""
    first = OWN.run(home, limit_s=FIRST_BUILD_S)
    if first is None:
        raise RuntimeError("the first build took too long")
    seconds, walks = [], []
    for _ in range(RUNS):
        walks.append(walk(home / "docs"))
        again = OWN.run(home)
        if again is None or again[1]["embedded"] or again[1]["loaded"]:
            raise RuntimeError(f"expected nothing to be embedded or loaded, found {again}")
        seconds.append(again[0])
    return (
        {
            "chunks": first[1]["chunks"],
            "first_s": first[0],
            "median_s": statistics.median(seconds),
            "seconds": seconds,
            "embedded": 0,
        },
        {"median_s": statistics.median(walks), "seconds": walks},
    )


def measure_peer(peer: Contender, home: Path) -> dict[str, Any]:
    """First build, one re-index, and whether the index is right; seconds are None: too slow."""
    first = peer.run(home)
    again = peer.run(home) if first else None
    if first is None or again is None:
        return {"first_s": first and first[0], "seconds": None, "embedded": None, "right": None}
    checked = peer.check(home)
    found = {
        "first_s": first[0],
        "seconds": again[0],
        "embedded": again[1]["embedded"],
        "right": is_right(checked) and not again[1]["embedded"],
        **checked,
    }
    print(f"{peer.name}: {found}", flush=True)
    return found


def report(
    own: dict[str, Any], limit: dict[str, Any], peers: dict[str, Any], documents: int, large: int
) -> bool:
    """Show and save what was measured; whether the goal was met."""
    small, big = str(documents), str(large)
    usable = {
        peer.name: peers[peer.name]["seconds"]
        for peer in PEERS
        if peer.has_index and peers.get(peer.name, {}).get("right")
    }
    ratios = {
        f"own / stat walk, {large:,} documents": own[big]["median_s"] / limit[big]["median_s"],
        f"own / stat walk, {documents:,} documents": own[small]["median_s"]
        / limit[small]["median_s"],
    }
    if usable:
        ratios["best right peer / own"] = min(usable.values()) / own[small]["median_s"]
    result = Result(
        id="P1",
        work=f"nothing changed: {large:,} documents ({own[big]['chunks']:,} chunks) beside a stat "
        f"walk, {documents:,} ({own[small]['chunks']:,}) beside peers",
        own=own,
        peers=peers,
        limit={"stat walk": limit},
        ratios=ratios,
        goal="at most 3 x the stat walk of 100,000 documents, process start to exit; "
        "20 x the best peer that gives the right answer",
        met=large >= 100_000
        and ratios[f"own / stat walk, {large:,} documents"] <= 3
        and ratios.get("best right peer / own", 0.0) >= 20,
        versions=versions(*PACKAGES),
    )
    rows = [
        _row(f"ratchet, {size:,}", own[str(size)]["median_s"], own[str(size)]["median_s"], 0, True)
        for size in dict.fromkeys((large, documents))
    ]
    for name, found in peers.items():
        rows.append(
            _row(
                f"{name}, {documents:,}",
                found["seconds"],
                own[small]["median_s"],
                found["embedded"],
                found["right"],
            )
        )
    rows += [
        _row(f"limit: stat walk, {int(size):,}", found["median_s"], own[size]["median_s"], 0, True)
        for size, found in limit.items()
    ]
    show(result, rows)
    save(result)
    return result.met


def _row(
    name: str, seconds: float | None, own: float, embedded: int | None, right: bool | None
) -> dict[str, str]:
    return {
        "who, documents": name,
        "seconds": "too slow" if seconds is None else f"{seconds:.2f}",
        "x own": "" if seconds is None else f"{seconds / own:.2f}",
        "embedded": "" if embedded is None else f"{embedded:,}",
        "right": "" if right is None else "yes" if right else "no",
    }


if __name__ == "__main__":
    sys.exit(0 if main(Path(sys.argv[1]), *map(int, sys.argv[2:])) else 1)
