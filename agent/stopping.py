"""When a run has to stop: a signal came, or the workflow that started it is no more."""

import contextlib
import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from pathlib import Path

WORKFLOW = "SUITE_WORKFLOW"  # environment variable: the process of the workflow, as `this_process` gives it
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
log = logging.getLogger(__name__)


class StopRequests:
    """True when called once SIGTERM, SIGINT or SIGUSR1 came, or the workflow died; a second signal ends the process.

    A thread waits for them, so that neither a long computation nor a hanging simulator can hold up the second signal.
    """

    def __init__(self, exit_code: int):
        """`exit_code` is that of a process ended by the second signal."""
        self._exit_code, self._signals, self._stop = exit_code, 0, False
        self._incoming, outgoing = os.pipe()
        os.set_blocking(outgoing, False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)  # the number goes to the pipe
        signal.set_wakeup_fd(outgoing, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        when_the_workflow_dies(self._orphaned)

    def __call__(self) -> bool:
        return self._stop

    def _listen(self) -> None:
        while number := os.read(self._incoming, 1):
            if number[0] in SIGNALS:
                self._signals += 1
                if self._signals > 1:
                    os._exit(self._exit_code)
                self._stop = True
                log.warning("%s: saving a checkpoint; a second signal stops at once", signal.Signals(number[0]).name)

    def _orphaned(self) -> None:
        self._stop = True
        log.warning("the workflow that started this run is no more: saving a checkpoint")


def this_process() -> str:
    """What names this process for good: its id, which may come again, and its start in ticks since the system's."""
    return f"{os.getpid()}:{_start(os.getpid())}"


def when_the_workflow_dies(act: Callable[[], None]) -> None:
    """Call `act`, from a thread, when the process dies that the environment variable SUITE_WORKFLOW names.

    Its death cannot be seen by that of the parent, which may be a shell or a container's runtime. Where the process
    cannot be seen, on another machine or in a namespace of its own, nothing is called.
    """
    number, _, start = os.environ.get(WORKFLOW, "").partition(":")
    if not number.isdecimal():
        return
    with contextlib.suppress(OSError):
        process = os.pidfd_open(int(number))
        if _start(int(number)) == start:
            threading.Thread(target=_wait, args=(process, act), name="workflow", daemon=True).start()
        else:
            os.close(process)


def _wait(process: int, act: Callable[[], None]) -> None:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.poll()
    act()


def _start(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
