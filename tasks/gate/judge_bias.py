"""A judge's scores -> two ways in which it may be unfair: it pays for length, or for the order."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from tasks.config import Settings
from tasks.errors import ScoresError
from tasks.gate.agreement import CONFIDENCE, Estimate, numbered

_COLUMNS = 3
"""Constant, what people say, log length."""


def verbosity_slope(
    judge: Sequence[float],
    people: Sequence[float],
    lengths: Sequence[int],
    *,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
) -> Estimate | None:
    """How much more a judge gives for twice the length when people see no difference.

    Least squares of the judge's score on the people's score and log2(1 + length), with a
    cluster-robust standard error (CR1) and Student's t with clusters - 1 degrees of freedom.

    Args:
        judge: shape (n,), in any unit.
        people: shape (n,), in the same unit.
        lengths: shape (n,), characters of the answers.
        clusters: shape (n,), answers that belong together; None: each alone.
        confidence: of the interval.

    Returns:
        Units for each doubling of the length; None when the lengths don't vary beside the people's
        scores, or there are fewer than four clusters.

    References:
        A. Cameron and D. Miller, A practitioner's guide to cluster-robust inference, 2015.
    """
    from scipy.stats import t

    n = len(judge)
    design = np.column_stack(
        [np.ones(n), np.asarray(people, dtype=float), np.log2(1.0 + np.asarray(lengths))]
    )
    groups = np.arange(n) if clusters is None else numbered(clusters)
    count = len(np.unique(groups))
    # Constant marks of the people leave the length alone beside the constant.
    kept = [0, 1, 2] if len(set(people)) > 1 else [0, 2]
    design = design[:, kept]
    if count <= _COLUMNS or np.linalg.matrix_rank(design) < len(kept):
        return None
    scores = np.asarray(judge, dtype=float)
    bread = np.linalg.inv(design.T @ design)
    coefficients = bread @ design.T @ scores
    pieces = np.zeros((count, len(kept)))
    np.add.at(pieces, groups, design * (scores - design @ coefficients)[:, None])
    small = count / (count - 1) * (n - 1) / (n - len(kept))
    error = float(np.sqrt((bread @ pieces.T @ pieces @ bread)[-1, -1] * small))
    reach = float(t.ppf((1 + confidence) / 2, count - 1)) * error
    slope = float(coefficients[-1])
    return Estimate.of(slope, slope - reach, slope + reach)


class PairwiseVerdict(Settings):
    """What a judge said when it was shown two answers to one case."""

    case_id: str
    order: Literal["AB", "BA"]
    """Which answer it saw first."""
    winner: Literal["A", "B", "tie"]
    """Which answer it preferred, by its own name and not by its place."""


def load_verdicts(path: Path) -> tuple[PairwiseVerdict, ...]:
    """Read verdicts, one JSON object a line; blank lines are allowed.

    Raises:
        ScoresError: the file can't be read, or a line is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ScoresError(
            f"The verdicts in {str(path)!r} can't be read: {error}.",
            next_step="Give a UTF-8 file with one JSON object a line.",
        ) from error
    verdicts = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            verdicts.append(PairwiseVerdict.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"]) or "line"
            raise ScoresError(
                f"{path}:{number}: {where}: {problem['msg']}.",
                next_step=f"Correct line {number} of {path}.",
            ) from error
    return tuple(verdicts)


class Consistency(Settings):
    """How often a verdict survives when the two answers change places."""

    n: int
    """Cases that were shown in both orders."""
    share: Estimate


def position_consistency(
    verdicts: Iterable[PairwiseVerdict], *, confidence: float = CONFIDENCE
) -> Consistency | None:
    """Share of cases with the same winner in both orders, with the exact binomial interval.

    Returns:
        None when no case was shown in both orders.

    Raises:
        ScoresError: a case was shown twice in the same order.

    References:
        C. Clopper and E. Pearson, The use of confidence or fiducial limits, 1934.
    """
    from scipy.stats import binomtest

    found: dict[str, dict[str, str]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for verdict in verdicts:
        seen[verdict.case_id, verdict.order] += 1
        if seen[verdict.case_id, verdict.order] > 1:
            raise ScoresError(
                f"Case {verdict.case_id!r} has two verdicts in the order {verdict.order}; "
                "expected one of AB and one of BA.",
                next_step="Keep one verdict for each case and order.",
            )
        found.setdefault(verdict.case_id, {})[verdict.order] = verdict.winner
    both = [orders for orders in found.values() if len(orders) == 2]  # AB and BA
    if not both:
        return None
    same = sum(orders["AB"] == orders["BA"] for orders in both)
    bounds = binomtest(same, len(both)).proportion_ci(confidence, method="exact")
    share = Estimate.of(same / len(both), float(bounds.low), float(bounds.high))
    return Consistency(n=len(both), share=share)
