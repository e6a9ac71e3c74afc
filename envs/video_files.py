"""Frames from a folder of videos, whatever their formats and sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from envs.errors import SimulatorMissing, UserError

SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")


def read(folder: str, count: int, size: int, random: np.random.Generator, where: str) -> tuple[np.ndarray, list[Path]]:
    """`count` consecutive grayscale frames of randomly ordered videos, uint8 (count, size, size), and their files.

    If all the videos together are shorter, they are shown again, in another order. `where` says what names the folder.
    Raises SimulatorMissing if the folder holds no video, UserError for a video that cannot be read.
    """
    paths = find(folder, where)
    frames = np.empty((count, size, size), np.uint8)
    filled, used = 0, list[Path]()
    while filled < count:
        for index in random.permutation(len(paths)):
            used.append(paths[index])
            for frame in _frames(paths[index], where):
                frames[filled] = cv2.resize(frame, (size, size))
                filled += 1
                if filled == count:
                    return frames, used
    raise AssertionError("a video has at least one frame")


def find(folder: str, where: str) -> list[Path]:
    """The videos in a folder and the folders in it, sorted."""
    root = Path(folder).expanduser()
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        problem = f"holds no video ({', '.join(SUFFIXES)})" if root.is_dir() else "is not a folder"
        raise SimulatorMissing(f"{where}: {root.absolute()} {problem}.")
    return paths


def describe(frames: np.ndarray, files: list[Path]) -> str:
    """What identifies the frames, wherever their files lie."""
    digest = hashlib.sha256(frames.tobytes()).hexdigest()
    return f"{len(frames)} frames of {len(set(files))} videos, SHA-256 {digest}"


def _frames(path: Path, where: str) -> Iterator[np.ndarray]:
    """The frames of a video in turn, uint8 (height, width), at least one."""
    import av

    none = True
    try:
        with av.open(str(path)) as container:
            if container.streams.video:
                for frame in container.decode(container.streams.video[0]):
                    none = False
                    yield frame.to_ndarray(format="gray")
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{where}: {path.absolute()} cannot be read ({error}): repair or remove it.") from error
    if none:
        raise UserError(f"{where}: {path.absolute()} has no frames: repair or remove it.")
