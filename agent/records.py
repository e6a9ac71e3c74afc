"""What a run writes down while it goes on: metrics.jsonl, evaluations.csv, TensorBoard events.

Positions in the files are part of every checkpoint; a run that is continued cuts what was written after it.
"""

import csv
import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

EVALUATION_COLUMNS = ("agent_step", "env_frame", "episode", "return", "length", "success", "seed")


class Records:
    def __init__(self, directory: Path, frames_per_step: int):
        self._frames_per_step = frames_per_step
        self.metrics_path, self.evaluations_path = directory / "metrics.jsonl", directory / "evaluations.csv"
        self._board = SummaryWriter(str(directory / "tensorboard"))
        self._pending: list[Tensor] = []
        self._names: tuple[str, ...] = ()
        self._episodes: dict[str, list[float]] = {}

    def note_update(self, metrics: Mapping[str, Tensor]) -> None:
        """Keep an update's metrics, scalars on the device, until `write`."""
        self._names = tuple(metrics)
        self._pending.append(torch.stack([value.float() for value in metrics.values()]))

    def note_episode(self, total: float, length: int) -> None:
        """Keep a training episode's return and length in agent steps until `write`."""
        self._episodes.setdefault("train/return", []).append(total)
        self._episodes.setdefault("train/length", []).append(float(length))

    def pending_updates(self) -> Tensor | None:
        """The metrics noted since the last `write`, (updates, metrics), fetched from the device."""
        return torch.stack(self._pending).cpu() if self._pending else None

    def write(self, agent_step: int, updates: int, extra: Mapping[str, float]) -> dict[str, float]:
        """One line of metrics.jsonl: means since the last; skipped updates are counted. Returns the line."""
        line: dict[str, Any] = {
            "agent_step": agent_step,
            "env_frame": agent_step * self._frames_per_step,
            "update": updates,
        }
        means = {key: sum(values) / len(values) for key, values in self._episodes.items()}
        if (noted := self.pending_updates()) is not None:
            means |= dict(zip(self._names, noted.nanmean(0).tolist(), strict=True))
        line |= {key: value for key, value in means.items() if value == value} | dict(extra)  # NaN is no JSON
        with self.metrics_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for key, value in line.items():
            self._board.add_scalar(key, value, line["env_frame"], time.time())
        self._pending.clear()
        self._episodes.clear()
        return line

    def write_evaluation(self, rows: list[dict[str, Any]]) -> None:
        append_rows(self.evaluations_path, rows)
        for key in ("return", "length", "success"):
            values = [float(row[key]) for row in rows if row[key] != ""]
            if values:
                self._board.add_scalar(f"evaluation/{key}", sum(values) / len(values), rows[0]["env_frame"])
        self._board.flush()

    def positions(self) -> dict[str, int]:
        """The files' sizes in bytes."""
        paths = {"metrics": self.metrics_path, "evaluations": self.evaluations_path}
        return {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}

    def rewind(self, positions: Mapping[str, int]) -> None:
        """Cut the files to the sizes that they had."""
        for name, path in {"metrics": self.metrics_path, "evaluations": self.evaluations_path}.items():
            if path.exists():
                os.truncate(path, positions[name])

    def pending(self) -> dict[str, Any]:
        """What was noted since the last `write`, for a checkpoint."""
        noted = self.pending_updates()
        return {
            "names": list(self._names),
            "updates": [] if noted is None else noted.tolist(),
            "episodes": self._episodes,
        }

    def load_pending(self, state: Mapping[str, Any]) -> None:
        self._names = tuple(state["names"])
        self._pending = [torch.tensor(values) for values in state["updates"]]
        self._episodes = dict(state["episodes"])

    def close(self) -> None:
        self._board.close()


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append evaluation episodes to a CSV file in one write, with the header if the file is new."""
    text = io.StringIO()
    writer = csv.DictWriter(text, EVALUATION_COLUMNS, lineterminator="\n")
    if not path.exists() or path.stat().st_size == 0:
        writer.writeheader()
    writer.writerows(rows)
    with path.open("a") as file:
        file.write(text.getvalue())
