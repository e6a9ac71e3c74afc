"""Finished run directories, read strictly: what a killed or mixed-up run leaves behind is refused by name."""

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis import strict_csv
from analysis.errors import InputError
from analysis.experiments import RunName

COUNT = {"type": "integer", "minimum": 0}
EVALUATION_COLUMNS: dict[str, dict[str, Any]] = {
    "agent_step": COUNT,
    "env_frame": COUNT,
    "episode": COUNT,
    "return": {"type": "number"},
    "length": {"type": "integer", "minimum": 1},  # agent steps
    "success": {"type": ["integer", "null"], "minimum": 0, "maximum": 1},
    "seed": COUNT,
}
REQUIRED_CONFIG = ("benchmark", "task", "method", "variant", "seed", "digest", "evaluation", "frames_per_step")
REQUIRED_PROVENANCE = ("config_digest", "code_revision", "command", "agent_steps", "env_frames", "wall_seconds")


@dataclass(frozen=True)
class Run:
    """One finished run; tables are read when they are first asked for. Every table error is an InputError."""

    directory: Path
    name: RunName
    config: dict[str, Any]
    provenance: dict[str, Any]

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """Evaluations during training, one row for each episode (EVALUATION_COLUMNS)."""
        path = self.directory / "evaluations.csv"
        table = strict_csv.read(path, EVALUATION_COLUMNS, ("agent_step", "episode"))
        _check_complete(path, table, self.config["evaluation"], self.provenance["agent_steps"])
        return table

    @cached_property
    def final_evaluations(self) -> pd.DataFrame:
        """Episodes of the final policy (EVALUATION_COLUMNS), all at one agent step."""
        path = self.directory / "final_evaluations.csv"
        table = strict_csv.read(path, EVALUATION_COLUMNS, ("agent_step", "episode"))
        if (steps := table["agent_step"].unique()).size != 1:
            raise InputError(
                f"{path}: the final policy has one agent step, these rows have {sorted(steps)}: evaluate it again"
            )
        return table

    @cached_property
    def coefficients(self) -> pd.DataFrame:
        """Weights of the harmonised losses during training: agent_step, env_frame, loss, weight; empty without."""
        path = self.directory / "metrics.jsonl"
        rows = [
            {"agent_step": line["agent_step"], "env_frame": line["env_frame"], "loss": loss, "weight": weight}
            for number, line in enumerate(_metrics(path), start=1)
            for loss, weight in _weights(f"{path}:{number}", line)
        ]
        return pd.DataFrame(rows, columns=["agent_step", "env_frame", "loss", "weight"])


def load(directory: Path | str) -> Run:
    """The finished run in `directory`, .../<benchmark>/<task>/<method>/<variant>/seed_<k>."""
    directory = Path(directory)
    config = _mapping(directory / "config.yaml", REQUIRED_CONFIG)
    provenance = _mapping(directory / "provenance.json", REQUIRED_PROVENANCE)
    name = RunName(*(config[key] for key in REQUIRED_CONFIG[:5]))
    if not directory.resolve().as_posix().endswith(name.directory.removeprefix("runs")):
        raise InputError(f"{directory / 'config.yaml'}: belongs to another run, {name.directory}: put it back there")
    if provenance["config_digest"] != config["digest"]:
        raise InputError(
            f"{directory}: config.yaml has the digest {config['digest'][:12]} and provenance.json "
            f"{provenance['config_digest'][:12]}: files of two runs; remove the directory and train it again"
        )
    return Run(directory, name, config, provenance)


def _check_complete(path: Path, table: pd.DataFrame, evaluation: dict[str, int], agent_steps: int) -> None:
    """Every evaluation has all its episodes, up to the end: a file cut between two rows looks well formed otherwise."""
    counts = table.groupby("agent_step").size()
    for step, count in counts[counts != evaluation["episodes"]].items():
        raise InputError(
            f"{path}: {count} episodes at agent step {step}, its configuration has {evaluation['episodes']}: "
            "the file is incomplete; remove the run and train it again"
        )
    last = counts.index.max() if len(counts) else 0
    if agent_steps - last >= evaluation["every"]:
        raise InputError(
            f"{path}: the last evaluation is at agent step {last} of {agent_steps}, but there is one every "
            f"{evaluation['every']}: the file is incomplete; remove the run and train it again"
        )


def _mapping(path: Path, required: tuple[str, ...]) -> dict[str, Any]:
    """A YAML or JSON file that holds a mapping with at least the keys of `required`."""
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_YAML_LOADER)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: the run is not finished; train it first") from None
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path}: damaged ({error}); remove the run and train it again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: must hold named values, but holds {type(value).__name__}")
    if missing := [key for key in required if key not in value]:
        raise InputError(f"{path}: lacks {', '.join(missing)}; remove the run and train it again")
    return value


_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, where libyaml is there


def _metrics(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: the run is not finished; train it first") from None
    except ValueError as error:
        raise InputError(f"{path}: damaged or cut short ({error}); remove the run and train it again") from None
    for number, line in enumerate(lines, start=1):
        if not isinstance(line, dict) or "agent_step" not in line or "env_frame" not in line:
            raise InputError(f"{path}:{number}: a line must hold agent_step and env_frame")
    return lines


def _weights(where: str, line: dict[str, Any]) -> list[tuple[str, float]]:
    """The entries harmony/<loss>/weight of a line of metrics."""
    found = []
    for key, value in line.items():
        parts = key.split("/")
        if len(parts) == 3 and parts[0] == "harmony" and parts[2] == "weight":
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"{where}: {key} is {value!r}, not a finite number: the run diverged")
            found.append((parts[1], float(value)))
    return found
