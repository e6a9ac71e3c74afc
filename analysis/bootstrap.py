"""Stratified-bootstrap intervals of statistics of runs x tasks matrices.

Runs are resampled within each task, so that every replicate has each task as often as the data (Agarwal et al.,
NeurIPS 2021). Percentiles of so few runs as five are too narrow, because resampling shrinks the variance by
(runs - 1) / runs: the level is raised to make up for it (Hesterberg 2015, "expanded percentile interval"). Percentiles
still cannot leave the span of the resampled data: with two runs per task, 95 % intervals cover in 87 to 89 % of cases.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from analysis.scores import Floats

REPLICATES = 10_000
BATCH = 2_000  # replicates held in memory at a time; random draws follow it, so it is fixed


@dataclass(frozen=True)
class Interval:
    """A statistic with its confidence interval; low and high are NaN where a task has a single run."""

    value: float
    low: float
    high: float


def interval(
    matrix: ArrayLike,
    statistic: Callable[[Floats], Floats],
    *,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of `statistic`, which takes (..., runs, tasks) and gives (...), on `matrix` (runs, tasks).

    The order of runs within a task does not matter; the same seed gives the same interval.
    """
    return joint_interval((matrix,), statistic, replicates=replicates, level=level, seed=seed)


def difference(
    x: ArrayLike,
    y: ArrayLike,
    statistic: Callable[[Floats], Floats],
    *,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of statistic(x) - statistic(y) for independent runs: (runs, tasks) and (other runs, tasks)."""
    return joint_interval(
        (x, y), lambda a, b: statistic(a) - statistic(b), replicates=replicates, level=level, seed=seed
    )


def joint_interval(
    matrices: tuple[ArrayLike, ...],
    statistic: Callable[..., Floats],
    *,
    replicates: int = REPLICATES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Interval of a statistic of several independent matrices (runs, tasks), each resampled on its own."""
    # Sorted, because the draws pick runs by position and the order of seeds carries no meaning; in C order, because
    # sums round by the layout in memory.
    sorted_ = [np.sort(np.array(m, float, order="C"), axis=0) for m in matrices]
    value = float(statistic(*sorted_))
    runs = min(m.shape[0] for m in sorted_)
    if runs < 2:
        return Interval(value, float("nan"), float("nan"))
    if not any(np.ptp(m, axis=0).any() for m in sorted_):  # equal runs: exact, where resampled sums would round
        return Interval(value, value, value)
    ends = np.cumsum([m.shape[1] for m in sorted_])[:-1]

    def of_resampled(*columns: Floats, axis: int) -> Floats:
        """Columns (replicates, runs), one per task and matrix -> (replicates,)."""
        groups = np.split(np.arange(len(columns)), ends)
        return statistic(*(np.stack([columns[i] for i in group], axis=-1) for group in groups))

    freedom = (runs - 1) * min(m.shape[1] for m in sorted_)
    result = stats.bootstrap(
        [column for m in sorted_ for column in m.T],
        of_resampled,
        n_resamples=replicates,
        batch=BATCH,
        vectorized=True,
        axis=-1,
        confidence_level=_expanded(level, runs, freedom),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return Interval(value, float(result.confidence_interval.low), float(result.confidence_interval.high))


def _expanded(level: float, runs: int, freedom: int) -> float:
    """The percentile level whose interval covers `level` although only `runs` runs per task were resampled."""
    quantile = sqrt(runs / (runs - 1)) * stats.t.ppf((1 + level) / 2, freedom)
    return float(2 * stats.norm.cdf(quantile) - 1)
