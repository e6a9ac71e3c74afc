"""The faults: each function lets one happen to a run, and returns whether it did; Lost, if it cost anything."""

import contextlib
import errno
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.soak.child import Child, Fault
from tests.soak.disk import cut_power, tear
from tests.soak.run import Run, check

FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


def kill_at_operation(run: Run, rng: random.Random, label: str | None = None) -> bool:
    return _killed(run, _at_operation(run, rng, label))


def cut_power_at_operation(run: Run, rng: random.Random, label: str | None = None) -> bool:
    return _killed(run, _at_operation(run, rng, label), lambda report: cut_power(report, rng))


def kill_at_moment(run: Run, rng: random.Random) -> bool:
    return _killed(run, Fault(seconds=run.moment(rng)))


def cut_power_at_moment(run: Run, rng: random.Random) -> bool:
    fault = Fault(seconds=run.moment(rng))
    return _killed(run, fault, lambda report: cut_power(report, rng))


def kill_in_write(run: Run, rng: random.Random) -> bool:
    """The process dies as soon as a file grows beyond a random size, in the midst of a write."""
    with run.process(Fault(largest=rng.randrange(5_000, run.reference.largest))) as child:
        code = child.wait()
    check(code in (0, -signal.SIGXFSZ), f"exit code {code}", child)
    return code != 0


def failing_operation(run: Run, rng: random.Random) -> bool:
    """A file operation fails, and so do all later ones."""
    with run.process(_at_operation(run, rng)._replace(errno=rng.choice(FAILURES))) as child:
        code = child.wait()
    return _stopped_with_a_message(child, code)


def full_disk(run: Run, rng: random.Random) -> bool:
    with run.disk.full(rng.randrange(100_000)), run.process(Fault()) as child:
        code = child.wait()
    return _stopped_with_a_message(child, code)


def read_only_disk(run: Run, rng: random.Random) -> bool:
    with run.disk.read_only(), run.process(Fault()) as child:
        code = child.wait()
    return _stopped_with_a_message(child, code)


def vanished_mount(run: Run, rng: random.Random) -> bool:
    with run.process(Fault()) as child:
        child.wait_until_it_speaks()
        time.sleep(run.moment(rng))
        with run.disk.gone() as below:
            code = child.wait()
            check(not any(below.iterdir()), f"wrote to the place below the mount: {list(below.rglob('*'))}", child)
    return _stopped_with_a_message(child, code)


def stop_signal(run: Run, rng: random.Random, times: int = 1) -> bool:
    with run.process(Fault()) as child:
        child.wait_until_it_speaks()
        time.sleep(run.moment(rng))
        for _ in range(times):
            child.signal(rng.choice((signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)))
            time.sleep(rng.uniform(0, 0.05))
        code = child.wait()
    check(code in (0, 75) and "Traceback" not in child.stderr, f"exit code {code} after a signal", child)
    return code == 75


def second_signal(run: Run, rng: random.Random) -> bool:
    """The second one comes while the checkpoint is being written, or before."""
    return stop_signal(run, rng, times=2)


def paused_simulator(run: Run, rng: random.Random) -> bool:
    """A simulator gives no answer for a while, but one in time; the run is killed some time later."""
    with run.process(Fault()) as child:
        worker = _stop_a_worker(run, rng, child)
        time.sleep(0.5)
        _signal(worker, signal.SIGCONT)
        time.sleep(run.moment(rng) / 2)
        child.signal(signal.SIGKILL)
        code = child.wait()
    check(code in (0, -signal.SIGKILL), f"exit code {code} after a simulator had paused", child)
    return worker is not None


def damaged_checkpoint(run: Run, rng: random.Random) -> bool:
    """A file of the newest checkpoint is torn at a random byte; the one before must be used."""
    numbers = run.whole_checkpoints()
    if not numbers:
        return False
    newest = run.state / str(numbers[-1])
    path = rng.choice([path for path in sorted(newest.iterdir()) if path.stat().st_size])
    before = path.read_bytes()
    tear(path, 0, len(before), rng)
    if path.read_bytes() == before:
        return False
    run.expected = run.step_of(numbers[-2]) if len(numbers) > 1 else None
    return True


def second_process(run: Run, rng: random.Random) -> bool:
    """Another process is started in the same directory: it is refused, the first one goes on."""
    with run.process(Fault(), alone=False) as child:
        child.wait_until_it_speaks()
        if not child.process.is_alive():
            return False
        other = run.other_process()
        code = other.wait()
        child.signal(signal.SIGKILL)
        struck = child.wait() == -signal.SIGKILL
    if struck and code != 0:
        check(code == 2 and "another process" in other.stderr, f"exit code {code} of a second process", other)
    return struck


def stopped_simulator(run: Run, rng: random.Random) -> bool:
    """A simulator never answers again: it is restarted, its episode ends, and that is counted."""
    with run.process(Fault()) as child:
        _stop_a_worker(run, rng, child)
        code = child.wait()
    check(code == 0, f"exit code {code} after a simulator had stopped", child)
    told, counted = child.stderr.count("; restart "), run.provenance["env_restarts"]
    check(counted == told, f"{counted} restarts counted, {told} told", child)
    return told > 0


def damaged_replay(run: Run, rng: random.Random) -> bool:
    """A chunk of the replay is torn at a random byte of what a checkpoint names: it is set aside, and that counted."""
    with run.process(Fault(seconds=rng.uniform(0.6, 0.9) * run.reference.seconds)) as child:
        child.wait()
    numbers = run.whole_checkpoints()
    if run.finished or not numbers:
        return False
    path, size = rng.choice(run.chunks_of(numbers[-1]))
    before = path.read_bytes()[:size]
    tear(path, 0, size, rng)
    if path.read_bytes()[:size] == before:
        return False
    with run.process(Fault()) as child:
        code = child.wait()
    check(code == 0, f"exit code {code} after a chunk of the replay was torn", child)
    counts = [run.provenance[name] for name in ("damaged_replay_chunks", "inexact_resumes")]
    check(counts == [1, 1], f"the damage is counted as {counts}", child)
    return True


def _at_operation(run: Run, rng: random.Random, label: str | None = None) -> Fault:
    return Fault(label=label) if label else Fault(operation=rng.randrange(run.reference.operations // 2))


def _stop_a_worker(run: Run, rng: random.Random, child: Child) -> int | None:
    """Stop one of the simulators at a random moment; its process id, if there was one."""
    child.wait_until_it_speaks()
    time.sleep(run.moment(rng))
    workers = child.workers()
    worker = rng.choice(workers) if workers else None
    _signal(worker, signal.SIGSTOP)
    return worker


def _signal(process: int | None, number: int) -> None:
    if process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def _killed(run: Run, fault: Fault, then: Callable[[dict[str, Any]], None] = lambda report: None) -> bool:
    with run.process(fault) as child:
        code = child.wait()
        if code == -signal.SIGKILL:
            then(run.report(child))
    check(code in (0, -signal.SIGKILL), f"exit code {code} instead of being killed", child)
    return code != 0


def _stopped_with_a_message(child: Child, code: int) -> bool:
    said = "error: " in child.stderr and "Traceback" not in child.stderr
    check(code == 0 or (code in (1, 2) and said), f"exit code {code}", child)
    return code != 0


KINDS: dict[str, Callable[[Run, random.Random], bool]] = {
    "killed at a file operation": kill_at_operation,
    "power cut at a file operation": cut_power_at_operation,
    "killed at a random moment": kill_at_moment,
    "power cut at a random moment": cut_power_at_moment,
    "killed within a write": kill_in_write,
    "file operations fail: no space, quota, read-only, input/output, stale handle": failing_operation,
    "signal": stop_signal,
    "second signal": second_signal,
    "checkpoint torn at a random byte": damaged_checkpoint,
    "second process in the same directory": second_process,
    "simulator paused (SIGSTOP, SIGCONT)": paused_simulator,
}
ON_A_DISK_OF_ITS_OWN = {  # these mount, which needs root
    "full disk": full_disk,
    "read-only disk": read_only_disk,
    "vanished mount": vanished_mount,
}
COUNTED = {  # after these a run is another one, and says so: a series has only one of them
    "simulator stopped for ever (SIGSTOP)": stopped_simulator,
    "replay chunk torn at a random byte": damaged_replay,
}
