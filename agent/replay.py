"""Sequence replay: whole episodes in memory and on disk, and sequences drawn from them.

With the unit `episodes`, sequences are uniform over episodes and lie inside one (torch code); with `windows`, uniform
over all stretches of rows in the order they came, which may run over the ends of episodes (JAX code).

A row holds what an environment step gave and the action that led to it: image (H, W, C) uint8, vectors, action (A,),
reward, is_first, is_terminal. An episode of n steps has n + 1 rows; the first has no action and no reward.
Reference: wmlib-torch/wmlib/core/replay.py; dreamerv3-jax/dreamerv3/embodied/replay/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from agent.files import replaced, save_arrays
from agent.noise import stream_rng
from agent.settings import Batch as BatchSettings
from agent.settings import Replay as ReplaySettings
from envs.errors import UserError

Row = dict[str, Any]
Episode = dict[str, np.ndarray]
UNUSABLE = 20  # episodes too short to be drawn from, before the run is given up


class Replay:
    """Episodes are written to `directory` as they end, so that a run which is continued finds them there."""

    def __init__(self, directory: Path, settings: ReplaySettings, batch: BatchSettings, seed: int):
        self._directory, self._settings, self._batch, self._seed = directory, settings, batch, seed
        self._episodes: dict[int, Episode] = {}
        self._ongoing = _Growing()
        self._count = 0  # episodes ever ended
        self._draws = 0  # batches ever drawn
        self._streams = [_Stream() for _ in range(1 if settings.one_stream else batch.size)]
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def steps(self) -> int:
        """Agent steps in the episodes held."""
        return sum(map(_steps, self._episodes.values()))

    def add(self, row: Row) -> None:
        """Append a row to the episode under way; one with `is_last` ends it."""
        self._ongoing.append(row)
        if row["is_last"]:
            self._end_episode()

    def drop_ongoing(self) -> None:
        """Forget the episode under way; the next one takes its number, so no stream may stay in it."""
        self._ongoing.clear()
        for stream in self._streams:
            if stream.episode == self._count:
                stream.begin(-1, 0, 0)

    @property
    def ready(self) -> bool:
        """Whether there is anything to draw."""
        if self._settings.unit == "episodes":
            return bool(self._numbers())
        return self._count_rows(self._numbers()) >= self._batch.length

    @property
    def needs(self) -> str:
        """What must come before there is anything to draw, in the words of the settings."""
        if self._settings.unit == "episodes":
            return f"one episode that ended after at least replay.min_length = {self._settings.min_length} agent steps"
        kind = "rows" if self._settings.ongoing else "rows of episodes that ended"
        return f"a window of batch.length = {self._batch.length} {kind}"

    def _numbers(self) -> list[int]:
        """The episodes that are drawn from; the one under way has the number that it will keep."""
        enough = 0 if self._settings.unit == "windows" else self._settings.min_length
        ongoing = self._settings.ongoing and len(self._ongoing) > enough
        return [*self._episodes, self._count] if ongoing else list(self._episodes)

    def _rows(self, number: int) -> Episode:
        return self._ongoing.rows() if number == self._count else self._episodes[number]

    def _count_rows(self, numbers: list[int]) -> int:
        return sum(len(self._rows(number)["reward"]) for number in numbers)

    def _end_episode(self) -> None:
        number, self._count = self._count, self._count + 1
        episode = {key: values.copy() for key, values in self._ongoing.rows().items()}
        self._ongoing.clear()
        if self._settings.unit == "windows" or _steps(episode) >= self._settings.min_length:
            with replaced(self._path(number)) as temporary:
                save_arrays(temporary, episode)
            self._episodes[number] = episode
            self._evict()
        elif self._count >= UNUSABLE and not self._episodes:
            raise UserError(
                f"all of the first {self._count} episodes are shorter than replay.min_length = "
                f"{self._settings.min_length} agent steps: lower replay.min_length and replay.max_length"
            )

    def _evict(self) -> None:
        while len(self._episodes) > 1 and self.steps > self._settings.capacity:
            oldest, *rest = self._episodes
            if self._settings.unit == "windows" and self._count_rows(rest) < self._batch.length:
                return  # what is left would not hold one window
            del self._episodes[oldest]  # its file stays: an older checkpoint may name it

    def sample(self) -> Episode:
        """A batch: each key (B, T, ...), image (B, T, H, W, C) uint8, all else float32."""
        rng = stream_rng(self._seed, "replay", self._draws)
        self._draws += 1
        draw = {"episodes": self._draw_streams, "windows": self._draw_windows}[self._settings.unit]
        rows = [_joined(parts) for parts in draw(rng)]
        return {key: np.stack([row[key] for row in rows]) for key in rows[0]}

    def _draw_windows(self, rng: np.random.Generator) -> Iterator[list[Episode]]:
        blocks = [self._rows(number) for number in self._numbers()]
        ends = np.cumsum([len(block["reward"]) for block in blocks])
        for start in rng.integers(ends[-1] - self._batch.length + 1, size=self._batch.size):
            yield list(_stretch(blocks, ends, int(start), self._batch.length))

    def _draw_streams(self, rng: np.random.Generator) -> Iterator[list[Episode]]:
        for i in range(self._batch.size):
            yield list(self._parts(self._streams[i % len(self._streams)], rng))

    def _parts(self, stream: "_Stream", rng: np.random.Generator) -> Iterator[Episode]:
        """`length` rows from a stream of sequences, each beginning with is_first."""
        needed = self._batch.length
        while needed:
            begins = stream.start == stream.stop or stream.episode not in self._numbers()
            if begins:
                stream.begin(*self._draw_sequence(rng))
            stop = min(stream.stop, stream.start + needed)
            part = {key: values[stream.start : stop] for key, values in self._rows(stream.episode).items()}
            part["is_first"] = np.zeros(stop - stream.start, np.float32)
            part["is_first"][0] = begins
            needed -= stop - stream.start
            stream.start = stop
            yield part

    def _draw_sequence(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """Episode, first row and end of a sequence: uniform over episodes, then over starts."""
        settings = self._settings
        numbers = self._numbers()
        number = numbers[rng.integers(len(numbers))]
        total = len(self._rows(number)["reward"])
        length = min(total, settings.max_length) - int(rng.integers(settings.min_length))
        length = max(length, settings.min_length)
        # Starts past the last possible one are moved back to it: sequences that end with the episode are drawn more.
        start = min(int(rng.integers(total - length + 1 + settings.prioritize_ends)), total - length)
        return number, start, start + length

    def state(self) -> tuple[dict[str, Any], Episode]:
        """What a checkpoint holds beside the episodes' files: JSON, and the rows of the episode under way."""
        state = {
            "count": self._count,
            "draws": self._draws,
            "episodes": list(self._episodes),
            "streams": [[s.episode, s.start, s.stop] for s in self._streams],
        }
        return state, {key: values.copy() for key, values in self._ongoing.rows().items()}

    def load_state(self, state: dict[str, Any], ongoing: Episode) -> None:
        self._count, self._draws = state["count"], state["draws"]
        self._episodes = {number: self._read(number) for number in state["episodes"]}
        self._streams = [_Stream(*parts) for parts in state["streams"]]
        for i in range(len(ongoing["reward"]) if ongoing else 0):
            self._ongoing.append({key: values[i] for key, values in ongoing.items()})

    def _read(self, number: int) -> Episode:
        with np.load(self._path(number), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}

    def _path(self, number: int) -> Path:
        return self._directory / f"episode_{number:08d}.npz"


class _Growing:
    """The rows of the episode under way, in arrays that double when they are full."""

    def __init__(self) -> None:
        self._arrays: Episode = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, row: Row) -> None:
        for key, value in row.items():
            if key == "is_last":
                continue
            array = self._arrays.get(key)
            if array is None or self._length == len(array):
                value = np.asarray(value)
                larger = np.empty((max(64, 2 * self._length), *value.shape), value.dtype)
                if array is not None:
                    larger[: self._length] = array
                self._arrays[key] = larger
            self._arrays[key][self._length] = value
        self._length += 1

    def rows(self) -> Episode:
        """Views of what is there."""
        return {key: values[: self._length] for key, values in self._arrays.items()} if self._length else {}

    def clear(self) -> None:
        self._length = 0


def _stretch(blocks: list[Episode], ends: np.ndarray, start: int, length: int) -> Iterator[Episode]:
    """Rows [start, start + length) of all blocks in a row; the first one begins a sequence."""
    index = int(np.searchsorted(ends, start, side="right"))
    offset = start - (int(ends[index - 1]) if index else 0)
    first = True
    while length:
        part = {key: values[offset : offset + length] for key, values in blocks[index].items()}
        if first:
            part["is_first"] = part["is_first"].copy()
            part["is_first"][0] = 1.0
        length -= len(part["reward"])
        index, offset, first = index + 1, 0, False
        yield part


def _joined(parts: list[Episode]) -> Episode:
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


class _Stream:
    """Where a stream of sequences stands: rows [start, stop) of an episode are still to come."""

    def __init__(self, episode: int = -1, start: int = 0, stop: int = 0):
        self.begin(episode, start, stop)

    def begin(self, episode: int, start: int, stop: int) -> None:
        self.episode, self.start, self.stop = episode, start, stop


def _steps(episode: Episode) -> int:
    return len(episode["reward"]) - 1
