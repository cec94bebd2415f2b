"""The rules that need no package: what most tools ship, the Ladder's step, and the gate's own."""

import numpy as np

from tasks.gate.inference import Bools, Floats


def mean_is_higher(differences: Floats) -> Bools:
    """Promote when the mean is higher, whatever the noise; differences have shape (..., n)."""
    return np.asarray(differences.mean(axis=-1) > 0)


def one_standard_error(differences: Floats) -> Bools:
    """Promote when the mean is higher by one standard error: the step of the parameter-free Ladder.

    References:
        A. Blum and M. Hardt, The Ladder: a reliable leaderboard for machine learning competitions,
        2015, algorithm 3.
    """
    error = differences.std(axis=-1, ddof=1) / np.sqrt(differences.shape[-1])
    return np.asarray(differences.mean(axis=-1) > error)
