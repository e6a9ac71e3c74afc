"""One process for a run directory: a lock of the kernel, and a heartbeat where that is not shared.

The kernel's lock ends with its process, however that ends, but holds on one machine: network file systems may not tell
others of it. There, whoever wants the directory watches the heartbeat, and takes it over if that stands still. Clocks
are not compared, nor process ids, which mean nothing on other machines and in containers.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from envs.errors import UserError

BEAT = 10.0  # seconds between two beats
STALE = 60.0  # seconds without a beat after which the holder is taken for dead


class LockLost(Exception):  # noqa: N818
    """Another process has taken the directory over; nothing more may be written to it."""


class Lock:
    """Held within its `with` block. Entering raises UserError if another process holds the directory."""

    def __init__(self, path: Path):
        """`path` is the lock's file, in the directory that it is for."""
        self._path = path
        self._beats = 0
        self._mine = {
            "token": secrets.token_hex(8),
            "host": socket.gethostname(),
            "kernel": _kernel(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._held_at = 0.0  # when the lock was last known to be held, by time.monotonic()
        self._taken_by: dict[str, Any] | None = None
        self._closed, self._beating = threading.Event(), threading.Lock()

    def __enter__(self) -> "Lock":
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire()
        except BaseException:
            os.close(self._file)
            raise
        self._thread = threading.Thread(target=self._keep_beating, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            if self._is_mine(self._read()):
                os.ftruncate(self._file, 0)  # the next process need not wait
        os.close(self._file)

    def check(self) -> None:
        """Raise LockLost if another process has taken the directory over. Costs next to nothing."""
        if self._taken_by is None and time.monotonic() - self._held_at > STALE / 2:
            self._beat()  # this process stood still, or its heartbeat cannot be written
        if self._taken_by is not None:
            raise LockLost(
                f"the run in {self._path.parent} was taken over by {_holder(self._taken_by)}, because this process "
                f"gave no sign of life for {STALE:.0f} seconds: it has stopped without writing anything more"
            )

    def _acquire(self) -> None:
        shared = self._lock_in_kernel()
        other = self._read()
        if other and not (shared and other.get("kernel") == self._mine["kernel"]):
            self._wait_until_stale(other)
            self._beat_once()
            time.sleep(BEAT / 5)  # another process may have waited for the same
        else:
            self._beat_once()
        if not self._is_mine(self._read()):
            raise self._in_use(self._read())

    def _lock_in_kernel(self) -> bool:
        """Whether the kernel's lock is held now; some file systems have none. Raises UserError if another has it."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use(self._read()) from None
        except OSError:
            return False
        return True

    def _wait_until_stale(self, other: dict[str, Any]) -> None:
        """Wait as long as a living holder could take for its next beat. Raises UserError if it comes."""
        print(f"{self._path.parent} is held by {_holder(other)}: waiting {STALE:.0f} s for a sign of life", flush=True)
        deadline = time.monotonic() + STALE
        while time.monotonic() < deadline:
            time.sleep(BEAT / 10)
            if (found := self._read()) != other:
                if not found:
                    return  # it has ended
                raise self._in_use(found)

    def _in_use(self, other: dict[str, Any] | None) -> UserError:
        return UserError(
            f"another process is training in {self._path.parents[1]}: {_holder(other or {})}. Wait for it, or stop it"
        )

    def _keep_beating(self) -> None:
        while not self._closed.wait(BEAT) and self._taken_by is None:
            with contextlib.suppress(OSError):  # `check` tries again, and lets the run know
                self._beat()

    def _beat(self) -> None:
        """Write the next beat, unless the file holds another process's."""
        with self._beating:
            found = self._read()
            if found and not self._is_mine(found):
                self._taken_by = found
            else:
                self._beat_once()

    def _beat_once(self) -> None:
        now = time.monotonic()
        self._beats += 1
        data = json.dumps({**self._mine, "beats": self._beats}).encode()
        os.pwrite(self._file, data.ljust(512), 0)  # in place: other machines may have the file open
        os.fsync(self._file)
        self._held_at = now

    def _read(self) -> dict[str, Any] | None:
        """What the file says now, opened anew for the sake of network file systems; None if there is nothing in it."""
        with contextlib.suppress(ValueError):
            found = json.loads(self._path.read_bytes())
            return found if isinstance(found, dict) else None
        return None

    def _is_mine(self, found: dict[str, Any] | None) -> bool:
        return bool(found) and found.get("token") == self._mine["token"]  # type: ignore[union-attr]


def _holder(found: dict[str, Any]) -> str:
    return f"a process on host {found.get('host', '(unknown)')}, since {found.get('since', '(unknown)')}"


def _kernel() -> str:
    """What tells this start of this machine from all others, containers on it included; empty if it is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return secrets.token_hex(8)
