"""A training process with a fault in it, forked from one that has torch loaded."""

import functools
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.envs.processes import children
from tests.soak.disk import Watch

ROOT = Path(__file__).parents[2]
TIMEOUT = 300.0  # seconds that a process may take
LOG = "open checkpoint/train.log"
CHUNK = 1 << 16  # bytes of a replay chunk, so that a short run fills several
WORKER_TIMEOUT = 6.0  # seconds that an answer of a simulator may take


class Fault(NamedTuple):
    """What happens in a training process, at a file operation or at a time."""

    operation: int | None = None  # by its number, or
    label: str | None = None  # by its label, the first one of
    seconds: float | None = None  # after the log was opened
    errno: int | None = None  # the operation, and all later ones, fail with it; without it, the process is killed
    largest: int | None = None  # bytes of a file, in the midst of writing which the process is killed


class Child:
    """A started process; `report` is where it tells what it did to its files."""

    def __init__(self, arguments: list[str], directory: Path, scratch: Path, fault: Fault):
        self.report, self._stderr = scratch / "report.json", scratch / "stderr"
        self.report.unlink(missing_ok=True)
        self._stderr.write_text("")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.soak.child", "agent.train"])
        inputs = (arguments, directory, self.report, self._stderr, fault)
        self.process = context.Process(target=_run, args=inputs)
        self.process.start()

    def signal(self, number: int) -> None:
        if self.process.is_alive():
            os.kill(self.process.pid or 0, number)

    def workers(self) -> list[int]:
        """The processes of its simulators."""
        return children(self.process.pid)

    def wait(self) -> int:
        """Its exit code, negative for the signal that ended it."""
        self.process.join(TIMEOUT)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"a process went on for more than {TIMEOUT:g} s; it said:\n{self.stderr}")
        code = self.process.exitcode
        assert code is not None
        return code

    def wait_until_it_speaks(self) -> None:
        """Wait for the first line of its log: from then on it heeds signals."""
        while not self.stderr and self.process.is_alive():
            time.sleep(0.01)

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")


def _run(arguments: list[str], directory: Path, report: Path, stderr: Path, fault: Fault) -> None:
    for descriptor in (1, 2):
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(ROOT)
    from agent import commands, replay, train
    from envs.worker import WorkerEnv

    commands.WorkerEnv = functools.partial(WorkerEnv, timeout=WORKER_TIMEOUT)  # type: ignore[misc, assignment]
    replay.BYTES_PER_CHUNK = CHUNK
    striking = threading.Event()

    def strike() -> None:
        striking.set()
        watch.dump(report)
        os.kill(os.getpid(), signal.SIGKILL)

    def act(number: int) -> None:
        if striking.is_set():
            time.sleep(TIMEOUT)  # the other thread is about to kill this process
        if fault.seconds is not None and watch.labels[-1] == LOG:
            timer = threading.Timer(fault.seconds, strike)
            timer.daemon = True
            timer.start()
        due = number >= fault.operation if fault.operation is not None else watch.labels[-1] == fault.label
        if not due:
            return
        if fault.errno is not None:
            raise OSError(fault.errno, os.strerror(fault.errno))
        strike()

    watch = Watch(directory, act)
    if fault.largest is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.largest, fault.largest))
    sys.argv = ["agent.train", *arguments]
    code = train.main(arguments)
    watch.dump(report)
    sys.exit(code)
