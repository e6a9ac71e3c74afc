"""Rows of a replay on disk: append-only chunk files with a checksum for each row, read through memory maps.

A chunk file has a header of HEADER bytes, one line of JSON that says what a row is, and then rows of a fixed size, each
its CRC-32 and its values. Rows have numbers, from 0 in the order they came; a chunk is named by its first row. Rows are
not compressed: even the fastest zlib takes longer to unpack a batch than all else that drawing it takes.
"""

import bisect
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from agent.files import append, sync
from envs.errors import UserError

FORMAT = 1
HEADER = 4096  # bytes
CHECKSUM = 4  # bytes, at the start of each row
log = logging.getLogger(__name__)


class Chunks:
    """Rows that are appended at the end, read anywhere, and given up from the beginning.

    Main memory holds the rows of the chunk that is being filled; those of full chunks are in the system's page cache,
    which it takes back when it needs to. Damaged chunks are set aside by name.
    """

    def __init__(self, directory: Path, bytes_per_chunk: int, capacity: int):
        """A chunk has about `bytes_per_chunk`, or 1/256 of `capacity` rows: each takes an open file."""
        self._directory, self._bytes, self._fewest = directory, bytes_per_chunk, -(-capacity // 256)
        self._full: dict[int, np.ndarray] = {}  # by first row
        self._dtype = np.dtype([])  # of a row; from the first one on
        self._rows = np.empty(0)  # of the chunk that is being filled
        self._first = self._filled = self._written = 0
        directory.mkdir(exist_ok=True)

    def __len__(self) -> int:
        """Rows that were ever appended: the number of the next one."""
        return self._first + self._filled

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row, whose keys, shapes and types are those of the first one ever."""
        if not self._dtype.names:
            self._set_dtype(_dtype_of(row))
        assert len(row) + 1 == len(self._dtype.names or ()), "a row lacks what the first one had"
        values = self._rows[self._filled]
        for key, value in row.items():
            values[key] = value
        values["checksum"] = _checksum(_bytes(self._rows)[self._filled])
        self._filled += 1
        if self._filled == len(self._rows):
            self._seal()

    def read(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Rows [start, stop), as views of structured arrays, one for each chunk that they lie in."""
        firsts = [*self._full, self._first]
        while start < stop:
            first = firsts[bisect.bisect_right(firsts, start) - 1]
            rows = self._full.get(first, self._rows)[start - first : stop - first]
            assert len(rows), f"row {start} is not here"
            yield rows
            start += len(rows)

    def empty(self, *shape: int) -> dict[str, np.ndarray]:
        """Arrays to be filled: for each key of a row (*shape, ...)."""
        kinds = {key: self._dtype[key] for key in self._dtype.names or () if key != "checksum"}
        return {key: np.empty((*shape, *kind.shape), kind.base) for key, kind in kinds.items()}

    def flush(self) -> None:
        """Have all rows reach the disk."""
        if self._written < self._filled:
            path = self._path(self._first)
            if not self._written:
                self._forget_files_from(self._first)
                append(path, self._header(self._first))
                sync(self._directory)
            append(path, _bytes(self._rows[self._written : self._filled]).data)
            self._written = self._filled

    def discard(self, before: int) -> None:
        """Remove the files of chunks that hold only rows with numbers below `before`."""
        for first, following in pairwise([*self._on_disk(), len(self)]):
            if following <= before and first != self._first:
                self._full.pop(first, None)
                self._path(first).unlink()

    def state(self, oldest: int) -> dict[str, Any]:
        """What a checkpoint holds, for the rows from `oldest` on; they are on the disk then."""
        self.flush()
        chunks = [[first, first + len(rows)] for first, rows in self._full.items() if first + len(rows) > oldest]
        if self._filled:
            chunks.append([self._first, len(self)])
        return {"rows": len(self), "chunks": chunks, "row": self._dtype.descr}

    def load_state(self, state: Mapping[str, Any]) -> list[range]:
        """Take up the files as they were; what came later goes. Returns the rows of each chunk that is damaged."""
        self._full.clear()
        self._first, self._filled, self._written = state["rows"], 0, 0
        if state["chunks"]:
            self._set_dtype(np.dtype([(name, kind, *map(tuple, shape)) for name, kind, *shape in state["row"]]))
        return [range(first, stop) for first, stop in state["chunks"] if not self._take_up(first, stop)]

    def _take_up(self, first: int, stop: int) -> bool:
        path, count = self._path(first), stop - first
        if (fault := self._fault(first, count)) is not None:
            log.warning("replay chunk %s is damaged: %s. It is set aside as %s.damaged", path, fault, path.name)
            if path.exists():
                path.rename(f"{path}.damaged")
            return False
        if count < len(self._rows) and stop == self._first:
            with path.open("r+b") as file:
                file.truncate(HEADER + count * self._rows.itemsize)
            self._rows[:count] = self._mapped(first, count)
            self._first, self._filled, self._written = first, count, count
        else:
            self._full[first] = self._mapped(first, count)
        return True

    def _fault(self, first: int, count: int) -> str | None:
        """What is wrong with the first `count` rows of a chunk, if anything."""
        path = self._path(first)
        try:
            with path.open("rb") as file:
                header = file.read(HEADER)
            size = path.stat().st_size - HEADER
        except OSError as error:
            return str(error)
        _check_format(header, path)
        if header != self._header(first):
            return "its header is not the one that was written"
        if size < count * self._rows.itemsize:
            return f"it has {max(size, 0) // self._rows.itemsize} rows, the checkpoint names {count}"
        rows = self._mapped(first, count)
        wrong = [i for i, row in enumerate(_bytes(rows)) if _checksum(row) != rows["checksum"][i]]
        return f"wrong checksum of row {first + wrong[0]}" if wrong else None

    def _set_dtype(self, dtype: np.dtype) -> None:
        self._dtype = dtype
        self._rows = np.empty(max(self._bytes // dtype.itemsize, self._fewest, 1), dtype)

    def _seal(self) -> None:
        self.flush()
        self._full[self._first] = self._mapped(self._first, self._filled)
        self._rows = np.empty_like(self._rows)
        self._first, self._filled, self._written = len(self), 0, 0

    def _mapped(self, first: int, count: int) -> np.ndarray:
        return np.asarray(np.memmap(self._path(first), self._dtype, "r", HEADER, (count,)))

    def _forget_files_from(self, first: int) -> None:
        """Remove what the run wrote before it was taken back to here."""
        for number in self._on_disk():
            if number >= first:
                self._path(number).unlink()

    def _on_disk(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("rows_")) for path in self._directory.glob("rows_*.chunk"))

    def _path(self, first: int) -> Path:
        return self._directory / f"rows_{first:012d}.chunk"

    def _header(self, first: int) -> bytes:
        text = json.dumps({"replay_chunk": FORMAT, "first_row": first, "row": self._dtype.descr})
        assert len(text) < HEADER
        return text.encode().ljust(HEADER - 1) + b"\n"


def _dtype_of(row: Mapping[str, Any]) -> np.dtype:
    arrays = {key: np.asarray(value) for key, value in row.items()}
    fields = [(key, array.dtype.newbyteorder("<"), array.shape) for key, array in arrays.items()]
    return np.dtype([("checksum", "<u4"), *fields])


def _check_format(header: bytes, path: Path) -> None:
    try:
        found = json.loads(header)["replay_chunk"]
    except (ValueError, KeyError, TypeError):
        return  # damaged
    if isinstance(found, int) and found != FORMAT:
        raise UserError(
            f"replay chunk {path} has format {found}, this code reads {FORMAT}: continue the run with the code that "
            "began it, or remove its directory to start anew"
        )


def _bytes(rows: np.ndarray) -> np.ndarray:
    """Rows as bytes, (rows, bytes per row)."""
    return rows.view(np.uint8).reshape(len(rows), rows.itemsize)


def _checksum(row: np.ndarray) -> int:
    return zlib.crc32(row[CHECKSUM:].data)
