"""Score rules: from evaluations to a runs x tasks matrix, refusing what would be averaged over in silence."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import yaml

from analysis import published, scores
from analysis.errors import InputError

FILE = Path(__file__).with_name("score_rules.yaml")
BUDGET_TOLERANCE = 0.02  # last evaluations of one budget may lie a little apart


@dataclass(frozen=True)
class ScoreRule:
    """One recipe of score_rules.yaml, where the fields are explained."""

    name: str
    version: int
    file: str
    metric: str
    evaluations: int | str
    reduction: str
    normaliser: str
    unit: str
    margin: float

    def run_score(self, evaluations: pd.DataFrame) -> float:
        """Score of one run before normalisation; `evaluations` has columns env_frame and the rule's metric."""
        points = evaluations.groupby("env_frame")[self.metric].mean().sort_index()
        if self.evaluations != "all":
            points = points.tail(int(self.evaluations))
        return float(points.agg(self.reduction))


def load() -> dict[str, ScoreRule]:
    """Every rule by its name."""
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {name: ScoreRule(name=name, **entry) for name, entry in entries.items()}


def get(name: str) -> ScoreRule:
    """The rule of that name; InputError lists those that exist."""
    rules = load()
    if name not in rules:
        raise InputError(f"score_rule: {name!r} is not one of {', '.join(rules)} (see analysis/score_rules.yaml)")
    return rules[name]


def same_budget(env_frames: float, published: float) -> bool:
    """Whether runs that were last evaluated at `env_frames` had the published budget."""
    return abs(env_frames - published) <= BUDGET_TOLERANCE * published


def score_matrix(evaluations: pd.DataFrame, rule: ScoreRule, benchmark: str, tasks: list[str]) -> pd.DataFrame:
    """Normalised scores of one method: index run (0, 1, ... in the order of seeds), one column for each of `tasks`.

    `evaluations`: columns task, seed, env_frame and the rule's metric, one row per episode or per evaluation.
    InputError names the task and seed that lack a score, runs evaluated at other steps, and unequal numbers of seeds.
    """
    check(evaluations, rule.metric, tasks)
    by_task = {
        task: [rule.run_score(run) for _, run in rows.groupby("seed")] for task, rows in evaluations.groupby("task")
    }
    matrix = pd.DataFrame(by_task, columns=tasks).rename_axis(index="run", columns="task")
    if rule.normaliser == "human":
        reference = published.human_reference(benchmark, tasks)
        return pd.DataFrame(
            scores.normalise(matrix, reference["random"], reference["human"]), matrix.index, matrix.columns
        )
    return matrix


def check(evaluations: pd.DataFrame, metric: str, tasks: list[str]) -> None:
    """InputError unless every task has the same number of runs, each with finite values at the same evaluations."""
    values = evaluations[metric]
    if not np.isfinite(values).all():
        row = evaluations[~np.isfinite(values)].iloc[0]
        raise InputError(
            f"task {row['task']}, seed {row['seed']}: {metric} at env_frame {row['env_frame']} is {row[metric]}, "
            "not a number"
        )
    found = set(evaluations["task"])
    if found != set(tasks):
        missing, extra = sorted(set(tasks) - found), sorted(found - set(tasks))
        raise InputError(
            f"tasks: no evaluations of {', '.join(missing)}" if missing else f"tasks: unexpected {', '.join(extra)}"
        )
    _check_seeds(evaluations)
    _check_steps(evaluations)


def _check_seeds(evaluations: pd.DataFrame) -> None:
    seeds = evaluations.groupby("task")["seed"].nunique()
    usual = seeds.max()
    unequal = [f"{task} has {n}" for task, n in seeds.items() if n != usual]
    if unequal:
        raise InputError(
            f"seeds: {', '.join(unequal)} where the other tasks have {usual}: finish or leave out these runs"
        )


def _check_steps(evaluations: pd.DataFrame) -> None:
    """Every run has the same number of episodes at each of the same evaluations."""
    episodes = evaluations.groupby(["task", "seed", "env_frame"]).size().unstack("env_frame", fill_value=0)
    usual = episodes.mode().iloc[0]
    for index, run in episodes.iterrows():
        for frame in run.index[run != usual]:
            task, seed = cast(tuple[str, int], index)
            raise InputError(
                f"task {task}, seed {seed}: {run[frame]} rows at env_frame {frame} where the other runs have "
                f"{int(usual[frame])}: a run of another budget, or cut short"
            )
