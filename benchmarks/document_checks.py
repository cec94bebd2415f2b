"""C2: how many planted orders the check for instructions finds, and how often it cries wolf.

Attacks and contexts of BIPIA (github.com/microsoft/BIPIA, MIT; tables of WikiTableQuestions, CC
BY-SA 4.0): each attack is put at the end of a context, as its authors do, and the whole is one
document. False alarms are counted on the contexts alone, on the docstrings of the standard library,
and on every sixth passage of a corpus of technical documentation. The patterns were written while
looking at the attacks whose number is below 3; the others are counted by themselves.
"""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Result, save, show
from tasks.config import DocumentChecks, PythonSource
from tasks.corpus.checks import checked
from tasks.corpus.docstrings import read_docstrings
from tasks.corpus.document import Document, Problem, normalise

SEEN = 3
EVERY = 6
FALSE_ALARMS = 0.001


def main(data: Path) -> bool:
    """Run the benchmark; whether its goal was met.

    Args:
        data: directory that holds `bipia/` and `scale_docs/`.
    """
    attacks = list(_rows(data / "bipia" / "attacks.jsonl"))
    contexts = [row["context"] for row in _rows(data / "bipia" / "contexts.jsonl")]
    found = [
        _is_flagged(f"{contexts[7 * number % len(contexts)]}\n{attack['instruction']}")
        for number, attack in enumerate(attacks)
    ]

    def share(choose: Callable[[dict[str, Any]], bool]) -> tuple[int, int]:
        chosen = [hit for hit, attack in zip(found, attacks, strict=True) if choose(attack)]
        return sum(chosen), len(chosen)

    detected = {
        "orders in text": share(lambda attack: attack["kind"] == "text"),
        "of them, not seen before": share(
            lambda attack: attack["kind"] == "text" and _number(attack) >= SEEN
        ),
        "orders to write harmful code": share(lambda attack: attack["kind"] == "code"),
    }
    alarms = {
        "contexts without an attack": _count(contexts),
        "docstrings": _count(_docstrings()),
        "technical documentation": _count(_documentation(data / "scale_docs")),
    }
    result = Result(
        id="C2",
        work=f"{len(attacks)} planted orders, {sum(n for _, n in alarms.values()):,} honest texts",
        own={"detected": detected, "false alarms": alarms},
        peers={},
        limit={},
        ratios={name: hits / n for name, (hits, n) in (detected | alarms).items()},
        goal=f"false alarms in at most {FALSE_ALARMS:.1%} of honest texts",
        met=all(hits <= FALSE_ALARMS * n for hits, n in alarms.values()),
        versions={},
    )
    show(
        result,
        [
            {"texts": name, "flagged": f"{hits} of {n:,}", "share": f"{hits / n:.2%}"}
            for name, (hits, n) in (detected | alarms).items()
        ],
    )
    save(result)
    return result.met


def _is_flagged(text: str) -> bool:
    document = Document("document", "Title", normalise(text), {"source": "bipia"})
    checks = DocumentChecks(hidden_text="off", instructions="report")
    return any(isinstance(item, Problem) for item in checked([document], checks))


def _count(texts: Iterable[str]) -> tuple[int, int]:
    flagged = [_is_flagged(text) for text in texts]
    return sum(flagged), len(flagged)


def _number(attack: dict[str, Any]) -> int:
    return int(attack["attack_id"].rsplit("-", 1)[1])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _docstrings() -> Iterator[str]:
    source = PythonSource(kind="python", name="stdlib", packages=("stdlib",))
    for item in read_docstrings(source, max_document_bytes=1_000_000):
        if isinstance(item, Document):
            yield item.text


def _documentation(directory: Path) -> Iterator[str]:
    with gzip.open(directory / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number % EVERY == 0:
                yield json.loads(line)["text"]
