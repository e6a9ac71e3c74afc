"""Gather the runs of an experiment into tidy tables, once every run has been found sound and alike.

Writes `experiment.json` and, one row for each run and ..., `evaluations.csv` (episode during training),
`final_evaluations.csv` (episode of the final policy), `coefficients.csv` (loss and logged step), `provenance.csv`.
"""

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import errors, runs
from analysis.errors import InputError
from analysis.files import write_csv, write_text
from analysis.runs import Run

PROVENANCE = (
    "code_revision", "config_digest", "image_digest", "command", "started", "finished", "wall_seconds", "gpu_seconds",
    "device", "cpu", "gpu", "threads", "python", "libraries", "agent_steps", "env_frames", "updates", "env_restarts",
    "skipped_updates", "inexact_resumes", "peak_memory_mb", "peak_gpu_memory_mb",
)  # fmt: skip


def collect(found: Sequence[Run]) -> dict[str, pd.DataFrame]:
    """The tables of an experiment by name, each with the columns task, method and seed first."""
    _check_alike(found)
    return {
        "evaluations": _stack(found, lambda run: run.evaluations.drop(columns="seed")),
        "final_evaluations": _stack(found, lambda run: run.final_evaluations.drop(columns="seed")),
        "coefficients": _stack(found, lambda run: run.coefficients.copy()),
        "provenance": _stack(found, _provenance),
    }


def _stack(found: Sequence[Run], table: Callable[[Run], pd.DataFrame]) -> pd.DataFrame:
    parts = []
    for run in found:
        part = table(run)
        for i, key in enumerate(("task", "method", "seed")):
            part.insert(i, key, getattr(run.name, key))
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _provenance(run: Run) -> pd.DataFrame:
    row: dict[str, Any] = {key: run.provenance.get(key) for key in PROVENANCE}
    libraries = row["libraries"] or {}
    row["command"] = shlex.join(row["command"])
    row["libraries"] = ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))
    environments = (run.provenance.get("environments") or {}).values()
    row["renderer"] = "; ".join(dict.fromkeys(e["renderer"] for e in environments if "renderer" in e))
    row["deviations"] = "; ".join(dict.fromkeys(text for e in environments for text in e.get("deviations", ())))
    return pd.DataFrame([{**row, "directory": run.directory.as_posix()}])


def _check_alike(found: Sequence[Run]) -> None:
    """Runs in one figure share what must be the same for their numbers to be put together."""
    _check_same(found, lambda run: "", lambda run: f"the benchmark {run.name.benchmark}")
    _check_same(found, lambda run: "", lambda run: f"the variant {run.name.variant}")
    _check_same(
        found,
        lambda run: f"{run.name.task} {run.name.method}",
        lambda run: f"settings with the digest {run.config['digest'][:12]}",
    )
    _check_same(
        found,
        lambda run: run.name.task,
        lambda run: f"evaluations at the agent steps {run.evaluations['agent_step'].unique().tolist()}",
    )


def _check_same(found: Sequence[Run], group: Callable[[Run], str], feature: Callable[[Run], str]) -> None:
    """InputError unless all runs of a group have the same feature, given as words that follow `has`."""
    first: dict[str, Run] = {}
    for run in found:
        other = first.setdefault(group(run), run)
        if feature(run) != feature(other):
            raise InputError(
                f"{run.directory} has {feature(run)}, {other.directory} has {feature(other)}: unlike runs never "
                "share a figure; remove the one that is out of date and train it again"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m analysis.collect", description=__doc__)
    parser.add_argument("--name", required=True, help="the experiment's name")
    parser.add_argument("--title", required=True, help="the experiment's heading in the report")
    parser.add_argument("--description", default="", help="what the experiment shows")
    parser.add_argument("--score-rule", required=True, help="a rule of analysis/score_rules.yaml")
    parser.add_argument("--out", required=True, type=Path, help="directory for the tables")
    parser.add_argument("runs", nargs="+", help="run directories, in the order of legends and tables")
    args = parser.parse_args()
    found = [runs.load(directory) for directory in args.runs]
    for name, table in collect(found).items():
        write_csv(args.out / f"{name}.csv", table)
    experiment = {
        "name": args.name,
        "title": args.title,
        "description": args.description,
        "score_rule": args.score_rule,
        "benchmark": found[0].name.benchmark,
        "variant": found[0].name.variant,
        "tasks": list(dict.fromkeys(run.name.task for run in found)),
        "methods": list(dict.fromkeys(run.name.method for run in found)),
        "frames_per_step": found[0].config["frames_per_step"],
    }
    write_text(args.out / "experiment.json", json.dumps(experiment, indent=2) + "\n")


if __name__ == "__main__":
    errors.run(main)
