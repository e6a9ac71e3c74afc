"""Files that are either whole or not there."""

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path of the same suffix to write to; it is synced and takes the place of `path` if all went well."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.unlink(missing_ok=True)  # of a process that was killed
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write the file, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text)


def arrays_to_bytes(arrays: Mapping[str, np.ndarray]) -> memoryview:
    """What an .npz file holds, in memory: NumPy's own writer complains from a destructor if the disk is full."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return buffer.getbuffer()


def sync(path: Path) -> None:
    """Have the file or directory reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, data: bytes | memoryview) -> None:
    """Write at the end of a file, and have it reach the disk."""
    with path.open("ab", buffering=0) as file:
        write_all(file, data)
        os.fsync(file.fileno())


def write_all(file: io.FileIO, data: bytes | memoryview) -> None:
    """Write to a file without a buffer, whose destructor would complain if the disk is full."""
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[file.write(rest) :]
