"""Sequence replay: whole episodes on disk, and sequences drawn from them.

With the unit `episodes`, sequences are uniform over episodes and lie inside one (torch code); with `windows`, uniform
over all stretches of rows in the order they came, which may run over the ends of episodes (JAX code).

A row holds what an environment step gave and the action that led to it: image (H, W, C) uint8, vectors, action (A,),
reward, is_first, is_terminal. An episode of n steps has n + 1 rows; the first has no action and no reward.
Reference: wmlib-torch/wmlib/core/replay.py; dreamerv3-jax/dreamerv3/embodied/replay/.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.chunks import Chunks
from agent.noise import stream_rng
from agent.settings import Batch as BatchSettings
from agent.settings import Replay as ReplaySettings
from envs.errors import UserError

Row = dict[str, Any]
Batch = dict[str, np.ndarray]
UNUSABLE = 20  # episodes too short to be drawn from, before the run is given up
BYTES_PER_CHUNK = 32 * 2**20


class Stretch(NamedTuple):
    """Rows that are drawn together, by their numbers in the order they came; whether a sequence begins with them."""

    rows: range
    begins: bool


class Replay:
    """Rows are written to `directory` as they come, so that a run which is continued finds them there.

    Rows of episodes that were dropped or evicted are never drawn; their place on the disk is given back chunk by chunk.
    """

    def __init__(self, directory: Path, settings: ReplaySettings, batch: BatchSettings, seed: int):
        self._settings, self._batch, self._seed = settings, batch, seed
        self._chunks = Chunks(directory, BYTES_PER_CHUNK, settings.capacity)
        self._episodes: dict[int, range] = {}
        self._begin = 0  # the first row of the episode under way
        self._count = 0  # episodes ever ended
        self._draws = 0  # batches ever drawn
        self._streams = [_Stream() for _ in range(1 if settings.one_stream else batch.size)]
        self._needed = 0  # the oldest row that the last checkpoint needs

    @property
    def steps(self) -> int:
        """Agent steps in the episodes held."""
        return sum(len(rows) - 1 for rows in self._episodes.values())

    def add(self, row: Row) -> None:
        """Append a row to the episode under way; one with `is_last` ends it."""
        self._chunks.append({key: value for key, value in row.items() if key != "is_last"})
        if row["is_last"]:
            self._end_episode()

    def drop_ongoing(self) -> None:
        """Forget the episode under way; the next one takes its number, so no stream may stay in it."""
        self._begin = len(self._chunks)
        for stream in self._streams:
            if stream.episode == self._count:
                stream.begin(-1, 0, 0)

    @property
    def ready(self) -> bool:
        """Whether there is anything to draw."""
        held = self._drawn_from().values()
        return bool(held) if self._settings.unit == "episodes" else sum(map(len, held)) >= self._batch.length

    @property
    def needs(self) -> str:
        """What must come before there is anything to draw, in the words of the settings."""
        if self._settings.unit == "episodes":
            return f"one episode that ended after at least replay.min_length = {self._settings.min_length} agent steps"
        kind = "rows" if self._settings.ongoing else "rows of episodes that ended"
        return f"a window of batch.length = {self._batch.length} {kind}"

    def _drawn_from(self) -> dict[int, range]:
        """The episodes that are drawn from; the one under way has the number that it will keep."""
        ongoing = range(self._begin, len(self._chunks))
        enough = 0 if self._settings.unit == "windows" else self._settings.min_length
        if self._settings.ongoing and len(ongoing) > enough:
            return {**self._episodes, self._count: ongoing}
        return self._episodes

    def _end_episode(self) -> None:
        number, episode = self._count, range(self._begin, len(self._chunks))
        self._count, self._begin = number + 1, episode.stop
        if self._settings.unit == "windows" or len(episode) > self._settings.min_length:
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
            if self._settings.unit == "windows" and sum(len(self._episodes[n]) for n in rest) < self._batch.length:
                return  # what is left would not hold one window
            del self._episodes[oldest]

    def sample(self) -> Batch:
        """A batch: each key (B, T, ...), image (B, T, H, W, C) uint8, all else float32."""
        rng = stream_rng(self._seed, "replay", self._draws)
        self._draws += 1
        draw = {"episodes": self._draw_streams, "windows": self._draw_windows}[self._settings.unit]
        batch = self._chunks.empty(self._batch.size, self._batch.length)
        for index, stretches in enumerate(draw(rng)):
            self._fill({key: values[index] for key, values in batch.items()}, stretches)
        return batch

    def _fill(self, sequence: Batch, stretches: Iterator[Stretch]) -> None:
        """Copy rows to where they belong: one sequence of a batch, each key (T, ...)."""
        at = 0
        for stretch in stretches:
            begin = at
            for rows in self._chunks.read(stretch.rows.start, stretch.rows.stop):
                for key, values in sequence.items():
                    values[at : at + len(rows)] = rows[key]
                at += len(rows)
            if stretch.begins:
                sequence["is_first"][begin] = 1.0

    def _draw_windows(self, rng: np.random.Generator) -> Iterator[Iterator[Stretch]]:
        blocks = list(self._drawn_from().values())
        ends = np.cumsum([len(block) for block in blocks])
        for start in rng.integers(ends[-1] - self._batch.length + 1, size=self._batch.size):
            yield _window(blocks, ends, int(start), self._batch.length)

    def _draw_streams(self, rng: np.random.Generator) -> Iterator[Iterator[Stretch]]:
        episodes = self._drawn_from()
        numbers = list(episodes)
        for i in range(self._batch.size):
            yield self._parts(self._streams[i % len(self._streams)], episodes, numbers, rng)

    def _parts(
        self, stream: "_Stream", episodes: dict[int, range], numbers: list[int], rng: np.random.Generator
    ) -> Iterator[Stretch]:
        """`length` rows from a stream of sequences, each beginning with is_first."""
        needed = self._batch.length
        while needed:
            begins = stream.start == stream.stop or stream.episode not in episodes
            if begins:
                number = numbers[rng.integers(len(numbers))]
                stream.begin(number, *self._draw_sequence(len(episodes[number]), rng))
            start, stop = stream.start, min(stream.stop, stream.start + needed)
            needed -= stop - start
            stream.start = stop
            first = episodes[stream.episode].start
            yield Stretch(range(first + start, first + stop), begins)

    def _draw_sequence(self, total: int, rng: np.random.Generator) -> tuple[int, int]:
        """First row and end of a sequence in an episode of `total` rows, uniform over starts."""
        settings = self._settings
        length = min(total, settings.max_length) - int(rng.integers(settings.min_length))
        length = max(length, settings.min_length)
        # Starts past the last possible one are moved back to it: sequences that end with the episode are drawn more.
        start = min(int(rng.integers(total - length + 1 + settings.prioritize_ends)), total - length)
        return start, start + length

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the rows, which are on the disk then."""
        return {
            "count": self._count,
            "draws": self._draws,
            "episodes": [[number, rows.start, rows.stop] for number, rows in self._episodes.items()],
            "begin": self._begin,
            "streams": [[s.episode, s.start, s.stop] for s in self._streams],
            "chunks": self._chunks.state(self._oldest),
        }

    @property
    def _oldest(self) -> int:
        """The oldest row of an episode that is held or under way."""
        return next((rows.start for rows in self._episodes.values()), self._begin)

    def saved(self) -> None:
        """Heed that a checkpoint with the last `state` is safe: no older one than that before it will be read."""
        self._chunks.discard(self._needed)
        self._needed = self._oldest

    def load_state(self, state: dict[str, Any]) -> tuple[int, bool]:
        """Go on from a state, without the episodes that have lost rows.

        Returns how many chunks were damaged, and whether the episode under way is whole.
        """
        self._count, self._draws, self._begin = state["count"], state["draws"], state["begin"]
        self._episodes = {number: range(start, stop) for number, start, stop in state["episodes"]}
        self._streams = [_Stream(*parts) for parts in state["streams"]]
        self._needed = self._oldest
        lost = self._chunks.load_state(state["chunks"])

        def whole(rows: range) -> bool:
            return not any(chunk.start < rows.stop and rows.start < chunk.stop for chunk in lost)

        self._episodes = {number: rows for number, rows in self._episodes.items() if whole(rows)}
        return len(lost), whole(range(self._begin, len(self._chunks)))


def _window(blocks: list[range], ends: np.ndarray, start: int, length: int) -> Iterator[Stretch]:
    """Rows [start, start + length) of all blocks in a row; the first one begins a sequence."""
    index = int(np.searchsorted(ends, start, side="right"))
    offset = start - (int(ends[index - 1]) if index else 0)
    begins = True
    while length:
        rows = blocks[index][offset : offset + length]
        yield Stretch(rows, begins)
        length -= len(rows)
        index, offset, begins = index + 1, 0, False


class _Stream:
    """Where a stream of sequences stands: rows [start, stop) of an episode are still to come."""

    def __init__(self, episode: int = -1, start: int = 0, stop: int = 0):
        self.begin(episode, start, stop)

    def begin(self, episode: int, start: int, stop: int) -> None:
        self.episode, self.start, self.stop = episode, start, stop
