"""Learning curves: the mean over runs at each evaluation, per task and over all tasks, with 95 % intervals.

Beside our runs stand the authors' own, where they released the evaluations of a method of the same name.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import bootstrap, collected, errors, published, score_rules, scores
from analysis.collected import ALL_TASKS, OURS, PUBLISHED, Collected
from analysis.files import write_csv
from analysis.score_rules import ScoreRule

REPLICATES = 2_000  # hundreds of intervals in a figure, each narrower than a line is wide
COLUMNS = ["task", "method", "source", "env_frame", "value", "ci_low", "ci_high", "seeds", "unit"]

Row = dict[str, object]  # COLUMNS


def curves(experiment: Collected, evaluations: pd.DataFrame) -> pd.DataFrame:
    """One row for each task (and ALL_TASKS, where there are several), method, source and evaluation: COLUMNS.

    `evaluations`: task, method, seed, env_frame and the metric of the experiment's score rule, one row per episode.
    Tasks are in the metric's own unit, ALL_TASKS in that of the score rule.
    """
    sources = {OURS: evaluations, PUBLISHED: experiment.released()}
    rows = [
        row
        for source, table in sources.items()
        for method in experiment.methods
        if source == OURS or method in set(table["method"])
        for row in _of_method(experiment, method, source, table[table["method"] == method])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_method(experiment: Collected, method: str, source: str, evaluations: pd.DataFrame) -> Iterator[Row]:
    tasks, unit = experiment.tasks, experiment.task_rule.unit
    frames, values = _values(evaluations, experiment.rule, tasks)
    for i, task in enumerate(tasks):
        yield from _curve(task, method, source, unit, frames, values[:, :, i : i + 1])
    if len(tasks) > 1:
        yield from aggregate(experiment.rule, experiment.benchmark, tasks, method, source, evaluations)


def aggregate(
    rule: ScoreRule, benchmark: str, tasks: list[str], method: str, source: str, evaluations: pd.DataFrame
) -> Iterator[Row]:
    """The rows of ALL_TASKS: the mean over tasks in the unit of the score rule."""
    frames, values = _values(evaluations, rule, tasks)
    if rule.normaliser == "human":
        reference = published.human_reference(benchmark, tasks)
        values = scores.normalise(values, reference["random"].to_numpy(), reference["human"].to_numpy())
    yield from _curve(ALL_TASKS, method, source, rule.unit, frames, values)


def _values(evaluations: pd.DataFrame, rule: ScoreRule, tasks: list[str]) -> tuple[list[int], NDArray[np.float64]]:
    """Env frames of the evaluations, and the mean over episodes: (evaluations, runs, tasks)."""
    score_rules.check(evaluations, rule.metric, tasks)
    by_point = evaluations.groupby(["task", "seed", "env_frame"])[rule.metric]
    means = by_point.mean().unstack("env_frame").sort_index(axis=1)
    values = np.stack([means.loc[task].to_numpy() for task in tasks], axis=-1)  # (runs, evaluations, tasks)
    return [int(frame) for frame in means.columns], values.swapaxes(0, 1)


def _curve(
    task: str, method: str, source: str, unit: str, frames: list[int], values: NDArray[np.float64]
) -> Iterator[Row]:
    """Rows of one curve from `values` (evaluations, runs, tasks)."""
    for frame, matrix in zip(frames, values, strict=True):
        found = bootstrap.interval(matrix, scores.mean, replicates=REPLICATES)
        row = (task, method, source, frame, found.value, found.low, found.high, len(matrix), unit)
        yield dict(zip(COLUMNS, row, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m analysis.curves", description=__doc__)
    parser.add_argument("--collected", required=True, type=Path, help="directory written by analysis.collect")
    parser.add_argument("--out", required=True, type=Path, help="CSV file to write")
    args = parser.parse_args()
    experiment = collected.load(args.collected)
    write_csv(args.out, curves(experiment, experiment.table("evaluations")))


if __name__ == "__main__":
    errors.run(main)
