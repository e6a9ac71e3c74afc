"""The client's end of one worker process: start it, exchange messages, notice its death, end it."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from envs import errors
from envs.host import MARK, PROTOCOL, Connection, encode, kill_marked

HOST = Path(__file__).with_name("host.py")
TAIL = 4000  # bytes of a worker's latest output that are kept for the error message
PATIENCE = 5.0  # seconds that a worker gets to close its simulator

# One worker is one core: its libraries' own threads would only compete with the other workers.
ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
        "LP_NUM_THREADS",  # of Mesa's software renderer
    )
}


class WorkerDied(Exception):  # noqa: N818
    """The worker crashed, hung or was killed; `output` is the end of what it printed."""

    def __init__(self, reason: str, output: str) -> None:
        super().__init__(reason)
        self.output = output


class WorkerProcess:
    """A started worker. `timeout` is the seconds that each answer may take."""

    def __init__(self, python: str | Path | None, timeout: float) -> None:
        self._timeout = timeout
        self._socket, theirs = socket.socketpair()
        self._frames = os.memfd_create("frames")
        self._mark = secrets.token_hex(16)
        guarded, self._lifeline = os.pipe()
        fds = (theirs.fileno(), self._frames, guarded)
        try:
            self._process = subprocess.Popen(
                [python or sys.executable, "-u", HOST, *map(str, fds)],
                pass_fds=fds,
                start_new_session=True,  # its own process group, out of reach of the terminal's Ctrl-C
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**ONE_THREAD, **os.environ, MARK: self._mark},
            )
        except OSError as error:
            self._close_fds()
            raise errors.UserError(
                f"the worker's Python interpreter {python!r} cannot be run: {error}; set "
                "worker.python (config/benchmarks/<benchmark>.yaml, or --set) to an absolute path or a name on the PATH"
            ) from error
        finally:
            theirs.close()
            os.close(guarded)
        self._output = b""
        self._reader = threading.Thread(target=self._drain, daemon=True)
        self._reader.start()
        self._connection = Connection(self._socket)
        # Cheaper per message than settimeout(), which polls before every call.
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", *divmod(int(timeout * 1e6), 10**6))
        )

    def make(self, **request: Any) -> dict[str, Any]:
        """Shake hands, have the environment made, map its frames; returns the spaces' descriptions."""
        hello = self._receive("start")
        if hello.get("protocol") != PROTOCOL:
            raise errors.UserError(
                f"the worker speaks protocol {hello.get('protocol')}, but this program speaks {PROTOCOL}: "
                f"let both run the same checkout (the worker's Python is {hello.get('python')})."
            )
        description = self.request("make", **request)
        memory = mmap.mmap(self._frames, description["bytes"], access=mmap.ACCESS_READ)
        self._views = {
            name: np.ndarray(tuple(shape), dtype, memory, offset)
            for name, (offset, shape, dtype) in description["arrays"].items()
        }
        return description

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The worker's answer. Raises WorkerDied, or the error of `envs.errors` that the worker reports."""
        try:
            self._send(command, **arguments)
        except OSError:
            raise self._died(command) from None
        answer = self._receive(command)
        if "error" in answer:
            raise getattr(errors, answer["error"])(answer["message"])
        return answer

    def observation(self) -> dict[str, np.ndarray]:
        """A copy of the latest observation."""
        return {name: view.copy() for name, view in self._views.items()}

    def peak_memory(self) -> float:
        """The most memory that the worker has had so far, in MB; nan where the system does not tell."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return float("nan")

    def close(self) -> None:
        """Let the worker close its simulator, then end its process group."""
        try:
            self._send("close")
            self._process.wait(PATIENCE)
        except (OSError, subprocess.TimeoutExpired):
            pass
        self.kill()

    def kill(self) -> None:
        """End the process group, whatever state it is in, and what it started outside of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        kill_marked(self._mark)
        self._process.wait()
        self._reader.join(timeout=1.0)
        self._close_fds()

    def _send(self, command: str, **arguments: Any) -> None:
        self._connection.send(encode({"command": command, **arguments}))

    def _receive(self, command: str) -> dict[str, Any]:
        try:
            answer = self._connection.receive()
        except BlockingIOError:
            self._process.send_signal(signal.SIGABRT)  # the host's fault handler prints where it hung
            raise self._died(command, f"gave no answer to {command} within {self._timeout:g} s") from None
        except OSError:
            answer = None
        if answer is None:
            raise self._died(command)
        return answer

    def _died(self, command: str, reason: str | None = None) -> WorkerDied:
        try:
            code = self._process.wait(PATIENCE)
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            how = "closed its socket"
        self.kill()
        return WorkerDied(reason or f"{how} during {command}", self._output.decode(errors="replace"))

    def _drain(self) -> None:
        """Keep the end of the worker's output, so that a chatty simulator fills neither the pipe nor the memory."""
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while chunk := os.read(pipe.fileno(), 1 << 16):
                self._output = (self._output + chunk)[-TAIL:]

    def _close_fds(self) -> None:
        self._socket.close()
        for fd in (self._frames, self._lifeline):
            os.close(fd)
