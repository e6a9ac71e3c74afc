"""What a run writes down while it goes on: metrics.jsonl, evaluations.csv, TensorBoard events.

Positions in the files are part of every checkpoint; a run that is continued cuts what was written after it.
"""

import csv
import io
import json
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor

from agent.files import sync

EVALUATION_COLUMNS = ("agent_step", "env_frame", "episode", "return", "length", "success", "seed")


Position = list[int]  # size in bytes, CRC-32


class Records:
    def __init__(self, directory: Path, frames_per_step: int):
        self._frames_per_step = frames_per_step
        self.metrics_path, self.evaluations_path = directory / "metrics.jsonl", directory / "evaluations.csv"
        self._paths = (self.metrics_path, self.evaluations_path)
        self._board = Board(directory / "tensorboard")
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
        """One line of metrics.jsonl: means since the last, of what was finite. Returns the line."""
        line: dict[str, Any] = {
            "agent_step": agent_step,
            "env_frame": agent_step * self._frames_per_step,
            "update": updates,
        }
        means = {key: sum(values) / len(values) for key, values in self._episodes.items()}
        if (noted := self.pending_updates()) is not None:
            finite = noted.where(noted.isfinite(), torch.nan).nanmean(0)
            means |= dict(zip(self._names, finite.tolist(), strict=True))
        line |= {key: value for key, value in means.items() if value == value} | dict(extra)  # NaN is no JSON
        with self.metrics_path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._board.add(line, line["env_frame"])
        self._pending.clear()
        self._episodes.clear()
        return line

    def write_evaluation(self, rows: list[dict[str, Any]]) -> None:
        append_rows(self.evaluations_path, rows)
        values = {key: [float(row[key]) for row in rows if row[key] != ""] for key in ("return", "length", "success")}
        means = {f"evaluation/{key}": sum(found) / len(found) for key, found in values.items() if found}
        self._board.add(means, rows[0]["env_frame"])

    def positions(self) -> dict[str, Position]:
        """The size in bytes and the checksum of each file that there is; that much of it is on the disk then."""
        paths = [path for path in self._paths if path.exists()]
        for path in (*paths, self.metrics_path.parent):  # a power cut must not take a new file's name
            sync(path)
        return {path.name: _position(path.read_bytes()) for path in paths}

    def fault(self, positions: Mapping[str, Position]) -> str | None:
        """What is wrong with the files that were written up to these positions, if anything."""
        for path in self._paths:
            size, checksum = positions.get(path.name, (0, 0))
            data = path.read_bytes() if path.exists() else b""
            if _position(data[:size]) != [size, checksum]:
                return f"{path} is no longer what was written, {size} bytes with the CRC-32 {checksum}"
        return None

    def rewind(self, positions: Mapping[str, Position]) -> None:
        """Cut the files to the sizes that they had."""
        for path in filter(Path.exists, self._paths):
            os.truncate(path, positions.get(path.name, [0])[0])

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


class Board:
    """TensorBoard events, written as they come: the usual writer's thread cannot say that a disk is full."""

    def __init__(self, directory: Path):
        directory.mkdir(exist_ok=True)
        self._file = (directory / f"events.out.tfevents.{time.time_ns()}").open("wb", buffering=0)
        self._records = RecordWriter(self._file)
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def add(self, scalars: Mapping[str, float], env_frame: int) -> None:
        values = [Summary.Value(tag=key, simple_value=value) for key, value in scalars.items()]
        event = Event(wall_time=time.time(), step=env_frame, summary=Summary(value=values))
        self._records.write(event.SerializeToString())

    def close(self) -> None:
        self._file.close()


def _position(data: bytes) -> Position:
    return [len(data), zlib.crc32(data)]


def append_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Append evaluation episodes to a CSV file in one write, with the header if the file is new."""
    text = io.StringIO()
    writer = csv.DictWriter(text, EVALUATION_COLUMNS, lineterminator="\n")
    if not path.exists() or path.stat().st_size == 0:
        writer.writeheader()
    writer.writerows(rows)
    with path.open("a") as file:
        file.write(text.getvalue())
