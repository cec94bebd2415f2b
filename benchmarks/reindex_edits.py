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

    python -m benchmarks.reindex_edits DATA [DOCUMENTS]
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, save, show, versions
from benchmarks.reindex_checks import is_right
from benchmarks.reindex_contenders import OWN, PACKAGES, PEERS, Contender
from benchmarks.reindex_files import insert_sentences, write_files
from benchmarks.reindex_own import write_project
from benchmarks.reindex_unchanged import SETTLE_S

DOCUMENTS = 2_000


def main(data: Path, documents: int = DOCUMENTS) -> bool:
    """Run the benchmark; whether its goal was met.

    Args:
        data: a BEIR corpus, see `write_files`.
        documents: how many files.
    """
    with tempfile.TemporaryDirectory(prefix="ratchet-p2-") as directory:
        home = Path(directory)
        write_files(home / "docs", data, documents)
        write_project(home)
        time.sleep(SETTLE_S)
        before: dict[str, set[str]] = {}
        everybody = [item for item in (OWN, *PEERS) if item.is_installed]
        for contender in everybody:
            if contender.run(home) is not None:
                contender.check(home)
                before[contender.name] = contender.wanted(home)
        edits = insert_sentences(home / "docs")
        time.sleep(SETTLE_S)
        found = {
            contender.name: _measure(contender, home, before[contender.name], edits)
            for contender in everybody
            if contender.name in before
        }
    own = found.pop(OWN.name)
    usable = [
        found[peer.name]["seconds"]
        for peer in PEERS
        if peer.has_index and found.get(peer.name, {}).get("right")
    ]
    ratios = {"embedded / truly new": own["embedded"] / own["truly_new"]}
    if usable:
        ratios["best right peer / own"] = min(usable) / own["seconds"]
    result = Result(
        id="P2",
        work=f"one sentence inserted in {edits:,} of {documents:,} documents",
        own=own,
        peers=found,
        limit={"truly new chunks": own["truly_new"]},
        ratios=ratios,
        goal="embedded / truly new at most 1.1; 10 x the best right peer's wall time",
        met=own["right"]
        and ratios["embedded / truly new"] <= 1.1
        and ratios.get("best right peer / own", 0.0) >= 10,
        versions=versions(*PACKAGES),
    )
    show(result, [_row(name, item, own) for name, item in ({OWN.name: own} | found).items()])
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
        return {"who": name} | dict.fromkeys(
            ("seconds", "x own", "embedded", "truly new", "embedded an edit", "right"), "too slow"
        )
    return {
        "who": name,
        "seconds": f"{found['seconds']:.2f}",
        "x own": f"{found['seconds'] / own['seconds']:.1f}",
        "embedded": f"{found['embedded']:,}",
        "truly new": f"{found['truly_new']:,}",
        "embedded an edit": f"{found['embedded_an_edit']:.2f}",
        "right": {True: "yes", False: "no", None: "no index"}[found["right"]],
    }


if __name__ == "__main__":
    sys.exit(0 if main(Path(sys.argv[1]), *map(int, sys.argv[2:])) else 1)
