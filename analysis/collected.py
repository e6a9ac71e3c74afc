"""The collected tables of one experiment, as `analysis.collect` writes them."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis import published, score_rules
from analysis.errors import InputError
from analysis.score_rules import ScoreRule

FAULTS = ("skipped_updates", "env_restarts", "inexact_resumes")  # counts in provenance, and sums in tables
FAULTS_SHORT = "s/r/i"
FAULTS_NOTE = (
    f"{FAULTS_SHORT}: updates skipped because they were not finite, environments restarted, and inexact resumes, over "
    "all runs of the row."
)
ALL_TASKS = "all tasks"  # in tables, in place of a task; no task's name has a space
OURS, PUBLISHED = "ours", "published"  # whose runs a line of a figure is made of


@dataclass(frozen=True)
class Collected:
    """An experiment and where its tables are."""

    directory: Path
    name: str
    title: str
    description: str
    score_rule: str
    benchmark: str
    variant: str
    tasks: list[str]
    methods: list[str]
    frames_per_step: int  # env frames that one agent step takes

    @property
    def rule(self) -> ScoreRule:
        return score_rules.get(self.score_rule)

    @property
    def task_rule(self) -> ScoreRule:
        """The score rule without normaliser: single tasks are shown in the unit of their metric."""
        rule = self.rule
        return rule if rule.normaliser == "none" else dataclasses.replace(rule, normaliser="none", unit=rule.metric)

    def table(self, name: str) -> pd.DataFrame:
        """One of evaluations, final_evaluations, coefficients, provenance."""
        return pd.read_csv(self.directory / f"{name}.csv")

    def released(self) -> pd.DataFrame:
        """The authors' evaluations of this experiment's methods, where they released all its tasks in its metric."""
        theirs = published.curves(self.benchmark)
        if self.rule.metric not in theirs or not set(self.tasks) <= set(theirs["task"]):
            return theirs.iloc[:0]
        return theirs[theirs["method"].isin(self.methods) & theirs["task"].isin(self.tasks)]


def faults(runs: pd.DataFrame) -> dict[str, int]:
    """The sum of each of FAULTS over runs, rows of the table `provenance`; one that was not counted has none."""
    return {name: int(runs[name].fillna(0).sum()) for name in FAULTS}


def deviations(runs: pd.DataFrame) -> list[str]:
    """What the environments of runs, rows of the table `provenance`, say of how they differ from the paper's."""
    return list(dict.fromkeys(text for cell in runs["deviations"].dropna() if cell for text in cell.split("; ")))


def joined_faults(table: pd.DataFrame) -> pd.Series:
    """The columns FAULTS in one for reading, headed FAULTS_SHORT: `0/0/0`; empty where nothing was run."""
    texts = ["" if row.isna().all() else "/".join(str(int(count)) for count in row) for _, row in table.iterrows()]
    return pd.Series(texts, table.index, dtype=str)


def load(directory: Path) -> Collected:
    """The experiment collected in `directory`; InputError if it has not been."""
    path = directory / "experiment.json"
    if not path.exists():
        raise InputError(f"{path}: no such file; run `python -m analysis.collect` or the whole workflow first")
    return Collected(directory=directory, **json.loads(path.read_text(encoding="utf-8")))
