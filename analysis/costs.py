"""What a run costs in time, disk and memory: measured from finished runs like it, else assumed from its settings."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

import yaml

ASSUMED = Path(__file__).with_name("assumed_speed.yaml")


@dataclass(frozen=True)
class Cost:
    """Of one run; `hours` holds its GPU where there is one, `live_mb` of disk are freed when it is finished."""

    hours: float
    disk_mb: float
    live_mb: float
    memory_mb: float
    basis: str  # measured or assumed


class Needs(Protocol):
    """What a run needs while it trains, in MB of 2**20 bytes (agent/preflight.py)."""

    @property
    def disk_mb(self) -> int: ...

    @property
    def memory_mb(self) -> int: ...


def measured(directories: Sequence[Path], benchmark_files: Sequence[Path], needs: Needs) -> Cost:
    """The mean over finished run directories; memory from Snakemake's benchmark files, those of them that exist."""
    hours = [
        json.loads((d / "provenance.json").read_text(encoding="utf-8"))["wall_seconds"] / 3600 for d in directories
    ]
    disk = [sum(path.stat().st_size for path in d.rglob("*") if path.is_file()) / 1e6 for d in directories]
    memory = [row["max_rss"] for path in benchmark_files if path.exists() for row in _rows(path)]
    peak = max((float(value) for value in memory if value not in ("", "-", "NA")), default=None)
    return Cost(mean(hours), mean(disk), needs.disk_mb, needs.memory_mb if peak is None else peak, "measured")


def assumed(settings: Mapping[str, Any], needs: Needs) -> Cost:
    """From the resolved settings of a run (benchmark, train, evaluation) and assumed_speed.yaml."""
    speed = yaml.safe_load(ASSUMED.read_text(encoding="utf-8"))
    bench = speed["benchmarks"].get(settings["benchmark"])
    if bench is None:
        return Cost(float("nan"), speed["finished_mb"], needs.disk_mb, needs.memory_mb, "unknown")
    train, evaluation = settings["train"], settings["evaluation"]
    learning = train["steps"] - train["prefill"]
    updates = train["pretrain"] + learning / train["every"]
    played = learning + learning / evaluation["every"] * evaluation["episodes"] * bench["episode_steps"]
    seconds = (
        updates / speed["updates_per_second"]
        + (played + train["prefill"]) / bench["env_steps_per_second"]
        + played / speed["policy_steps_per_second"]
    )
    return Cost(seconds / 3600, speed["finished_mb"], needs.disk_mb, needs.memory_mb, "assumed")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))
