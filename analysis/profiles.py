"""Performance profiles: the fraction of runs x tasks that score above each threshold, with 95 % bands.

Agarwal et al., NeurIPS 2021. Beside our runs stand the authors' own of the same method, task, score rule and budget.
"""

import argparse
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import bootstrap, collected, errors, scores
from analysis.collected import OURS, PUBLISHED, Collected
from analysis.files import write_csv
from analysis.score_rules import same_budget, score_matrix

REPLICATES = 2_000  # a band has tens of intervals
POINTS = 31  # evenly spaced thresholds, and as many where the scores are
SHOWN = 0.975  # of the scores lie on the axis: single games far above human would squeeze all else into a corner
COLUMNS = ["method", "source", "threshold", "value", "ci_low", "ci_high", "seeds", "tasks", "unit"]

Matrices = Mapping[tuple[str, str], pd.DataFrame]  # by method and source: runs x tasks


def matrices(experiment: Collected) -> Matrices:
    """Scores by the experiment's rule; the authors' runs only where they were evaluated up to the same env frame."""
    rule = experiment.rule
    tables = {OURS: experiment.table(Path(rule.file).stem)}
    theirs = experiment.released()
    if rule.file == "evaluations.csv" and len(theirs) and same_budget(*(_last(t) for t in (tables[OURS], theirs))):
        tables[PUBLISHED] = theirs
    return {
        (method, source): score_matrix(rows[rows["method"] == method], rule, experiment.benchmark, experiment.tasks)
        for source, rows in tables.items()
        for method in experiment.methods
        if source == OURS or method in set(rows["method"])
    }


def _last(evaluations: pd.DataFrame) -> int:
    return int(evaluations["env_frame"].max())


def profiles(found: Matrices, unit: str) -> pd.DataFrame:
    """One row for each method, source and threshold, which are in `unit`: COLUMNS."""
    values = np.concatenate([m.to_numpy().ravel() for m in found.values()])
    quantiles = np.quantile(values, np.linspace(0, SHOWN, POINTS))
    thresholds = np.union1d(np.linspace(min(0, quantiles[0]), quantiles[-1], POINTS), quantiles)
    rows = [row for key, matrix in found.items() for row in _profile(*key, matrix, thresholds, unit)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _profile(
    method: str, source: str, matrix: pd.DataFrame, thresholds: scores.Floats, unit: str
) -> Iterator[tuple[object, ...]]:
    for threshold in thresholds:
        above = partial(_fraction_above, threshold=threshold)
        found = bootstrap.interval(matrix.to_numpy(), above, replicates=REPLICATES)
        yield method, source, threshold, found.value, found.low, found.high, *matrix.shape, unit


def _fraction_above(m: scores.Floats, threshold: float) -> scores.Floats:
    return scores.performance_profile(m, [threshold])[..., 0]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m analysis.profiles", description=__doc__)
    parser.add_argument("--collected", required=True, type=Path, help="directory written by analysis.collect")
    parser.add_argument("--out", required=True, type=Path, help="CSV file to write")
    args = parser.parse_args()
    experiment = collected.load(args.collected)
    write_csv(args.out, profiles(matrices(experiment), experiment.rule.unit))


if __name__ == "__main__":
    errors.run(main)
