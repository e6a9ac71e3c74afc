"""Learning curves: the mean over runs at each evaluation, per task and over all tasks, with 95 % intervals."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import bootstrap, collected, errors, published, score_rules, scores
from analysis.collected import ALL_TASKS, Collected
from analysis.files import write_csv

REPLICATES = 2_000  # hundreds of intervals in a figure, each narrower than a line is wide
COLUMNS = ["task", "method", "env_frame", "value", "ci_low", "ci_high", "seeds", "unit"]


def curves(experiment: Collected, evaluations: pd.DataFrame) -> pd.DataFrame:
    """One row for each task (and ALL_TASKS, where there are several), method and evaluation: COLUMNS.

    `evaluations`: task, method, seed, env_frame and the metric of the experiment's score rule, one row per episode.
    Tasks are in the metric's own unit, ALL_TASKS in that of the score rule.
    """
    rule = experiment.rule
    rows: list[dict[str, object]] = []
    for method in experiment.methods:
        its = evaluations[evaluations["method"] == method]
        score_rules.check(its, rule.metric, experiment.tasks)
        frames, values = _values(its, rule.metric, experiment.tasks)
        for i, task in enumerate(experiment.tasks):
            rows += _curve(task, method, experiment.task_rule.unit, frames, values[:, :, i : i + 1])
        if len(experiment.tasks) > 1:
            if rule.normaliser == "human":
                reference = published.human_reference(experiment.benchmark, experiment.tasks)
                values = scores.normalise(values, reference["random"].to_numpy(), reference["human"].to_numpy())
            rows += _curve(ALL_TASKS, method, rule.unit, frames, values)
    return pd.DataFrame(rows, columns=COLUMNS)


def _values(evaluations: pd.DataFrame, metric: str, tasks: list[str]) -> tuple[list[int], NDArray[np.float64]]:
    """Env frames of the evaluations, and the mean over episodes: (evaluations, runs, tasks)."""
    means = evaluations.groupby(["task", "seed", "env_frame"])[metric].mean().unstack("env_frame").sort_index(axis=1)
    values = np.stack([means.loc[task].to_numpy() for task in tasks], axis=-1)  # (runs, evaluations, tasks)
    return [int(frame) for frame in means.columns], values.swapaxes(0, 1)


def _curve(
    task: str, method: str, unit: str, frames: list[int], values: NDArray[np.float64]
) -> Iterator[dict[str, object]]:
    """Rows of one curve from `values` (evaluations, runs, tasks)."""
    for frame, matrix in zip(frames, values, strict=True):
        interval = bootstrap.interval(matrix, scores.mean, replicates=REPLICATES)
        row = (task, method, frame, interval.value, interval.low, interval.high, len(matrix), unit)
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
