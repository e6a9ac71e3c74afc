"""What our runs say about a published number: consistent, different, or too few runs to tell (RULE)."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite, nan

import numpy as np

from analysis.bootstrap import Interval, joint_interval
from analysis.scores import Floats

MIN_RUNS = 3  # with two, the interval of a task spans only the two scores

RULE = f"""\
With m the equivalence margin of the score rule and [low, high] the 95 % interval of (ours - published):

- `consistent` if the interval lies within [-m, m];
- `different` (higher or lower) if it lies wholly outside [-m, m];
- `too few runs` if it reaches across an end of [-m, m], or if there are fewer than {MIN_RUNS} runs per task.

A published range widens [-m, m] by the range. Nothing is corrected for the number of verdicts in a table.
"""

Statistic = Callable[..., Floats]  # of one or several matrices (..., runs, tasks) -> (...)


@dataclass(frozen=True)
class Verdict:
    """A verdict and what it rests on."""

    verdict: str  # consistent, different, too few runs
    direction: str  # higher or lower, if different
    ours: Interval
    published: Interval  # low and high are NaN where only a value was published
    difference: Interval
    runs: int  # ours, per task
    further_seeds: (
        int | None
    )  # per task, that would decide it if nothing else changed; 0 once decided, None: see reason
    reason: str = ""


def against_runs(ours: tuple[Floats, ...], theirs: tuple[Floats, ...], statistic: Statistic, margin: float) -> Verdict:
    """Compare `statistic` of our matrices (runs, tasks) with that of as many published ones, seeds resampled in all."""
    difference = joint_interval(ours + theirs, lambda *m: statistic(*m[: len(ours)]) - statistic(*m[len(ours) :]))
    published = joint_interval(theirs, statistic)
    return _verdict(
        _runs(ours), joint_interval(ours, statistic), published, difference, (-margin, margin), _runs(theirs)
    )


def against_range(ours: tuple[Floats, ...], low: float, high: float, statistic: Statistic, margin: float) -> Verdict:
    """Compare `statistic` of our matrices with a published value (low == high) or range, taken as exact."""
    found = joint_interval(ours, statistic)
    nearest = float(np.clip(found.value, low, high))
    difference = Interval(found.value - nearest, found.low - nearest, found.high - nearest)
    bounds = (low - margin - nearest, high + margin - nearest)
    return _verdict(_runs(ours), found, Interval(nearest, nan, nan), difference, bounds, None)


def judge(difference: Interval, bounds: tuple[float, float]) -> tuple[str, str]:
    """Verdict and direction from an interval and the bounds within which a difference counts as none."""
    low, high = bounds
    if low <= difference.low and difference.high <= high:
        return "consistent", ""
    if difference.low > high:
        return "different", "higher"
    if difference.high < low:
        return "different", "lower"
    return "too few runs", ""


def runs_to_decide(runs: int, half_width: float, fixed: float, distance: float) -> int | None:
    """Runs per task with which the interval would no longer reach a bound at `distance` from the difference.

    `half_width` is that of our part with `runs` runs, shrinking with their square root; `fixed` is that of the
    published part, which our runs cannot shrink. None if that alone reaches the bound.
    """
    room = distance**2 - fixed**2
    return max(MIN_RUNS, ceil(runs * half_width**2 / room)) if room > 0 else None


def _verdict(
    runs: int,
    found: Interval,
    published: Interval,
    difference: Interval,
    bounds: tuple[float, float],
    published_runs: int | None,
) -> Verdict:
    verdict, direction = judge(difference, bounds) if runs >= MIN_RUNS else ("too few runs", "")
    if verdict != "too few runs":
        return Verdict(verdict, direction, found, published, difference, runs, 0)
    distance = min(abs(difference.value - bound) for bound in bounds)
    further, reason = _further(runs, found, published, published_runs, distance)
    return Verdict(verdict, direction, found, published, difference, runs, further, reason)


def _further(
    runs: int, found: Interval, published: Interval, published_runs: int | None, distance: float
) -> tuple[int | None, str]:
    fixed, half_width, known = _half_width(published), _half_width(found), runs
    if half_width is None:  # of a single run: assume the spread of the published ones
        half_width, known = fixed, published_runs or 0
    if half_width is None:
        return None, "one run says nothing about the spread between runs"
    needed = runs_to_decide(known, half_width, fixed or 0.0, distance)
    if needed is None:
        return None, "no number of further seeds decides it: the published runs alone reach across the margin"
    return max(1, needed - runs), ""


def _half_width(interval: Interval) -> float | None:
    return (interval.high - interval.low) / 2 if isfinite(interval.low) else None


def _runs(matrices: tuple[Floats, ...]) -> int:
    return min(len(m) for m in matrices)
