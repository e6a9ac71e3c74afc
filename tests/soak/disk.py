"""What a process did to the files of a directory, operation by operation, and what of it a power cut could undo."""

import json
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Audit events that change files, and which of their arguments is the descriptor of a folder that the path is from.
CHANGES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1, "os.truncate": None, "open": None}


class Watch:
    """Calls `act(number)` before each operation of this process that changes files in a directory, fsync included.

    Operations are numbered from 0; `labels` names them. An audit hook cannot be taken away: one Watch per process.
    """

    def __init__(self, directory: Path, act: Callable[[int], None]):
        self._directory, self._act = os.path.realpath(directory), act
        self._here = threading.local()  # set while this class itself touches files
        self._fsync = os.fsync
        self.labels: list[str] = []
        self._synced: dict[str, int] = {}  # bytes of each file written to that a power cut leaves alone
        self._entries: list[tuple[str, str | None]] = []  # (new path, old path) that no fsync of a folder made last
        sys.addaudithook(self._audit)
        os.fsync = self._watched_fsync  # no audit event tells of it

    def dump(self, path: Path) -> None:
        """Write all that `cut_power` and an enumeration need."""
        self._here.busy = True
        path.write_text(json.dumps({"labels": self.labels, "synced": self._synced, "entries": self._entries}))
        self._here.busy = False

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in CHANGES or getattr(self._here, "busy", False):
            return
        self._here.busy = True
        try:
            self._note(event, arguments)
        finally:
            self._here.busy = False

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        folder = None if CHANGES[event] is None else arguments[CHANGES[event]]
        path = self._resolve(arguments[0], folder)
        if path is None or (event == "open" and not _writes(arguments[1], arguments[2])):
            return
        self._begin(event, path)
        if event == "open":
            self._note_open(path, arguments[2])
        elif event == "os.truncate":
            self._synced[path] = min(self._synced.get(path, _size(path)), arguments[1])
        elif event == "os.rename":
            self._note_rename(path, os.path.join(os.getcwd(), os.fsdecode(arguments[1])))
        elif event in ("os.remove", "os.rmdir"):
            self._synced.pop(path, None)
            self._entries = [entry for entry in self._entries if entry[0] != path]

    def _begin(self, event: str, path: str) -> None:
        self.labels.append(f"{event} {os.path.relpath(path, self._directory)}")
        self._act(len(self.labels) - 1)

    def _note_open(self, path: str, flags: int) -> None:
        if not os.path.exists(path):
            self._entries.append((path, None))
        self._synced[path] = 0 if flags & os.O_TRUNC else self._synced.get(path, _size(path))

    def _note_rename(self, old: str, new: str) -> None:
        def moved(path: str) -> str:
            return new + path[len(old) :] if path == old or path.startswith(old + "/") else path

        if not os.path.exists(new):
            self._entries.append((new, old))
        self._synced = {moved(path): size for path, size in self._synced.items()}
        self._entries = [(moved(path) if path != new else path, origin) for path, origin in self._entries]

    def _watched_fsync(self, descriptor: int) -> None:
        self._here.busy = True
        try:
            path = self._resolve(descriptor)
            if path is not None:
                self._begin("os.fsync", path)
            self._fsync(descriptor)
            if path is not None and os.path.isdir(path):
                self._entries = [entry for entry in self._entries if os.path.dirname(entry[0]) != path]
            elif path is not None:
                self._synced[path] = _size(path)
        finally:
            self._here.busy = False

    def _resolve(self, place: Any, folder: int | None = None) -> str | None:
        """The whole path of a path or descriptor, if it is in the directory."""
        name = os.readlink(f"/proc/self/fd/{place}") if isinstance(place, int) else os.fsdecode(place)
        start = os.getcwd() if folder in (None, -1) else os.readlink(f"/proc/self/fd/{folder}")
        path = os.path.join(start, name)
        return path if path.startswith(self._directory + "/") or path == self._directory else None


def cut_power(report: dict[str, Any], rng: random.Random) -> None:
    """Undo some of what was not made to last: ends of files, new names, renames."""
    for path, synced in report["synced"].items():
        if os.path.isfile(path) and (size := _size(path)) > synced:
            tear(Path(path), synced, size, rng)
    for new, old in reversed(report["entries"]):
        if rng.random() < 0.5 or not os.path.exists(new) or os.path.isdir(new) != (old is not None):
            continue
        if old is None:
            os.remove(new)
        elif os.path.isdir(os.path.dirname(old)) and not os.path.exists(old):
            os.rename(new, old)


def tear(path: Path, start: int, stop: int, rng: random.Random) -> None:
    """Cut a file at a random byte of [start, stop), or fill what follows with garbage."""
    at = rng.randrange(start, stop)
    if rng.random() < 0.5:
        os.truncate(path, at)
    else:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(rng.randbytes(stop - at))


def _writes(mode: str | None, flags: int) -> bool:
    return bool(flags & (os.O_WRONLY | os.O_RDWR)) if mode is None else any(letter in mode for letter in "wax+")


def _size(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0
