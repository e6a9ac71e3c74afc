"""What is left to run and what it costs, before anything is started: `python -m workflow.scripts.plan`.

One line per experiment, method and state of its runs. A run that several experiments share is counted once.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from snakemake.utils import update_config

from agent import preflight
from agent.config import resolve
from agent.settings import RunConfig
from analysis import costs, errors, experiments
from analysis.costs import Cost
from analysis.errors import InputError
from analysis.experiments import Experiment, RunName
from envs.errors import UserError, unknown

ENVIRONMENT_RULES = Path(__file__).parents[1] / "rules" / "envs"
TRAINED = ("config.yaml", "metrics.jsonl", "evaluations.csv", "policy.safetensors", "provenance.json")
EVALUATED = ("final_evaluations.csv", "videos")
LEFT = ("to train", "begun", "settings changed")  # states that cost training


@dataclass(frozen=True)
class Planned:
    """A run of an experiment, how far it is, and what training it costs or did cost."""

    experiment: str
    name: RunName
    state: str  # done, to evaluate, or one of LEFT
    cost: Cost


def plan(found: Sequence[Experiment], results: Path, logs: Path) -> list[Planned]:
    """Every run of the experiments, each once; UserError if one names what does not exist."""
    runs = {run: experiment.name for experiment in reversed(found) for run in experiment.runs()}
    settings = {run: _settings(run.benchmark, run.task, run.method, run.variant) for run in runs}
    states = {run: _state(results / run.directory, settings[run].digest) for run in runs}
    alike: dict[tuple[str, ...], list[RunName]] = {}
    for run, state in states.items():
        if state in ("done", "to evaluate"):
            alike.setdefault(_kind(run), []).append(run)

    @cache
    def cost(kind: tuple[str, ...], example: RunName) -> Cost:
        needs = preflight.estimate(settings[example], "cpu")
        if kind not in alike:
            return costs.assumed(settings[example].as_dict(), needs)
        tables = [logs / f"{run.directory.replace('runs', 'train', 1)}.tsv" for run in alike[kind]]
        return costs.measured([results / run.directory for run in alike[kind]], tables, needs)

    examples = {_kind(run): run for run in runs}
    return [
        Planned(name, run, states[run], cost(_kind(run), examples[_kind(run)]))
        for run, name in sorted(runs.items(), key=lambda item: [e.name for e in found].index(item[1]))
    ]


def _kind(run: RunName) -> tuple[str, ...]:
    """Runs whose cost is alike."""
    return run.benchmark, run.method, run.variant


@cache
def _settings(benchmark: str, task: str, method: str, variant: str) -> RunConfig:
    known = [path.stem for path in ENVIRONMENT_RULES.glob("*.smk")]
    if benchmark not in known:
        raise unknown("benchmark", benchmark, known, "workflow/rules/envs")
    return resolve(benchmark, task, method, variant)


def _lacks(experiment: Experiment) -> str | None:
    try:
        for run in experiment.runs():
            _settings(run.benchmark, run.task, run.method, run.variant)
    except UserError as error:
        return str(error)
    return None


def _state(directory: Path, digest: str) -> str:
    if not all((directory / name).exists() for name in TRAINED):
        return "begun" if (directory / "checkpoint").exists() else "to train"
    if json.loads((directory / "provenance.json").read_text(encoding="utf-8"))["config_digest"] != digest:
        return "settings changed"
    return "done" if all((directory / name).exists() for name in EVALUATED) else "to evaluate"


def by_method(planned: Sequence[Planned]) -> pd.DataFrame:
    """One line per experiment, method and state: runs and what is still to be paid for them."""
    frame = pd.DataFrame(
        [
            {
                "experiment": p.experiment, "method": p.name.method, "state": p.state, "runs": 1,
                "hours": p.cost.hours * (p.state in LEFT), "disk GB": p.cost.disk_mb / 1e3 * (p.state in LEFT),
                "live disk GB per run": p.cost.live_mb / 1e3, "memory GB per run": p.cost.memory_mb / 1e3,
                "basis": p.cost.basis,
            }
            for p in planned
        ]
    )  # fmt: skip
    keys = ["experiment", "method", "state", "basis"]
    sums = {"runs": "sum", "hours": "sum", "disk GB": "sum"}
    peaks = {"live disk GB per run": "max", "memory GB per run": "max"}
    return frame.groupby(keys, sort=False).agg(sums | peaks).reset_index()


def summary(planned: Sequence[Planned]) -> str:
    """What is done, what is left, and what it costs, in a line each."""
    left = [p for p in planned if p.state in LEFT]
    done = sum(p.state == "done" for p in planned)
    evaluate = sum(p.state == "to evaluate" for p in planned)
    hours = sum(p.cost.hours for p in left)
    disk = sum(p.cost.disk_mb for p in left) / 1e3
    return (
        f"{len(planned)} runs: {done} done, {evaluate} to evaluate, {len(left)} to train or finish\n"
        f"left: {hours:,.1f} hours of a GPU, or of a CPU where there is none; {disk:,.1f} GB of results\n"
        "live disk and memory are needed for each run that trains at the same time"
    )


def _load(files: Sequence[Path]) -> dict[str, Experiment]:
    """The experiments of configuration files, merged as Snakemake merges them."""
    config: dict[str, Any] = {}
    for path in files:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not YAML: {error}") from None
        if not isinstance(content, dict):
            raise InputError(f"{path}: must hold named values; config/README.md explains them")
        update_config(config, content)
    return experiments.load(config, " ".join(map(str, files)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m workflow.scripts.plan", description=__doc__)
    parser.add_argument("--configfile", nargs="+", type=Path, required=True, help="as for snakemake")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results directory (default: results)")
    parser.add_argument("--logs", type=Path, default=Path("logs"), help="directory of Snakemake's benchmark files")
    args = parser.parse_args()
    runnable = []
    for experiment in _load(args.configfile).values():
        problem = _lacks(experiment)
        if problem and not experiment.planned:
            raise InputError(f"experiments.{experiment.name}: {problem}")
        if problem:
            print(f"not yet possible: {experiment.name}: {problem}")
        else:
            runnable.append(experiment)
    planned = plan(runnable, args.results, args.logs)
    if planned:
        print(by_method(planned).to_string(index=False, float_format="{:,.2f}".format))
    print(summary(planned))


if __name__ == "__main__":
    errors.run(main)
