"""Aggregate statistics of a runs x tasks matrix of normalised scores (Agarwal et al., NeurIPS 2021).

Every statistic takes a matrix (runs, tasks), or a batch of them (replicates, runs, tasks), and reduces the last two
axes. A missing score is an error (ValueError), never skipped: NaN would otherwise move a trimmed mean in silence.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def mean(m: ArrayLike) -> Floats:
    """Mean over tasks of the mean over runs: (..., runs, tasks) -> (...)."""
    return np.mean(np.mean(_scores(m), axis=-2), axis=-1)


def median(m: ArrayLike) -> Floats:
    """Median over tasks of the mean over runs: (..., runs, tasks) -> (...)."""
    return np.median(np.mean(_scores(m), axis=-2), axis=-1)


def iqm(m: ArrayLike) -> Floats:
    """Mean of the middle half of all runs x tasks scores: (..., runs, tasks) -> (...).

    As `scipy.stats.trim_mean(..., 0.25)`: the lowest and the highest floor(n / 4) scores are dropped.
    """
    m = _scores(m)
    flat = m.reshape(*m.shape[:-2], -1)
    cut = flat.shape[-1] // 4
    if cut:
        flat = np.partition(flat, (cut, flat.shape[-1] - cut - 1), axis=-1)[..., cut:-cut]
    return np.mean(flat, axis=-1)


def optimality_gap(m: ArrayLike, gamma: float = 1.0) -> Floats:
    """Mean shortfall of all runs x tasks scores from `gamma` (scores above it count as `gamma`); lower is better."""
    return gamma - np.mean(np.minimum(_scores(m), gamma), axis=(-2, -1))


STATISTICS: dict[str, Callable[[Floats], Floats]] = {
    "mean": mean,
    "median": median,
    "iqm": iqm,
    "optimality_gap": optimality_gap,
}


def probability_of_improvement(x: ArrayLike, y: ArrayLike) -> Floats:
    """Probability that a run of `x` beats a run of `y` on a task drawn at random; ties count half.

    (..., runs, tasks) and (..., other runs, tasks) -> (...), in [0, 1].
    """
    ahead = _scores(x)[..., :, None, :] - _scores(y)[..., None, :, :]  # (..., runs, other runs, tasks)
    return np.mean((np.sign(ahead) + 1) / 2, axis=(-3, -2, -1))


def performance_profile(m: ArrayLike, thresholds: ArrayLike) -> Floats:
    """Fraction of all runs x tasks scores above each threshold: (..., runs, tasks), (k,) -> (..., k)."""
    above = _scores(m)[..., None] > np.asarray(thresholds, float)  # (..., runs, tasks, k)
    return np.mean(above, axis=(-3, -2))


def normalise(score: ArrayLike, floor: ArrayLike, ceiling: ArrayLike) -> Floats:
    """Human-normalised score: 0 at `floor` (a random agent), 1 at `ceiling` (a human); both broadcast over tasks."""
    floor, ceiling = np.asarray(floor, float), np.asarray(ceiling, float)
    if np.any(ceiling == floor):
        raise ValueError("normaliser: floor and ceiling are equal, so there is no scale between them")
    return (np.asarray(score, float) - floor) / (ceiling - floor)


def _scores(m: ArrayLike) -> Floats:
    m = np.asarray(m, float)
    if m.ndim < 2 or m.size == 0:
        raise ValueError(f"scores: a matrix (runs, tasks) is needed, this has shape {m.shape}")
    if not np.isfinite(m).all():
        raise ValueError("scores: some are NaN or infinite; find the run that lacks a score before averaging")
    return m
