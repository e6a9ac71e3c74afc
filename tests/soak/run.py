"""One training run that faults happen to, and what must still hold after each of them."""

import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.chunks import HEADER
from tests.agent.commands import outcome
from tests.soak.child import Child, Fault

METHODS = ("harmony_dreamerv2", "harmony_dreamerv3", "harmony_dreamerv3_torch")
OUTCOME = ("files", "metrics", "counts")  # what `outcome` gives
STEPS = 140
SMALL = (f"train.steps={STEPS}", "train.checkpoint_every=25", "evaluation.episodes=1", "replay.capacity=90")


class Lost(AssertionError):  # noqa: N818
    """A fault cost what it must not cost."""


def check(holds: bool, what: str, child: Child) -> None:
    if not holds:
        raise Lost(f"{what}; the process said:\n{child.stderr}")


@dataclass(frozen=True)
class Reference:
    """A run that nothing disturbed: what it found, how many file operations it did, the largest file in bytes."""

    outcome: Any
    labels: list[str]
    seconds: float  # from the first line of its log on
    largest: int

    @property
    def operations(self) -> int:
        return len(self.labels)


class Disk:
    """A small file system of its own; making one raises CalledProcessError without the right to mount."""

    def __init__(self, place: Path, size: str = "24m"):
        self.path, self._kept = place / "disk", place / "kept"
        for path in (self.path, self._kept):
            path.mkdir()
        _call("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self._kept)
        _call("mount", "--bind", self._kept, self.path)

    def close(self) -> None:
        for path in (self.path, self._kept):
            _call("umount", "-l", path)

    @contextlib.contextmanager
    def full(self, left: int) -> Iterator[None]:
        """Without room but for about `left` bytes."""
        filler = self.path / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
        os.truncate(filler, max(0, filler.stat().st_size - left))
        try:
            yield
        finally:
            filler.unlink()

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        _call("mount", "-o", "remount,bind,ro", self.path)
        try:
            yield
        finally:
            _call("mount", "-o", "remount,bind,rw", self.path)

    @contextlib.contextmanager
    def gone(self) -> Iterator[Path]:
        """Unmounted, although files on it are open; gives the empty folder where it was."""
        _call("umount", "-l", self.path)
        try:
            yield self.path
        finally:
            shutil.rmtree(self.path)
            self.path.mkdir()
            _call("mount", "--bind", self._kept, self.path)


class Run:
    """`expected` is the agent step that the next process must go on from, None for the beginning."""

    def __init__(self, directory: Path, scratch: Path, method: str, reference: Reference, disk: Disk | None):
        self.directory, self.scratch, self.method, self.reference = directory, scratch, method, reference
        self.state = directory / "checkpoint" / "state"
        self._disk = disk
        self.expected: int | None = None

    @property
    def disk(self) -> Disk:
        assert self._disk is not None
        return self._disk

    @contextlib.contextmanager
    def process(self, fault: Fault, alone: bool = True) -> Iterator[Child]:
        """A process of the run; what it should have left, and where it should have begun, is checked at the end."""
        before = self.whole_checkpoints()
        child = start(self.directory, self.scratch, self.method, fault)
        try:
            yield child
        finally:
            child.process.kill()
        if (begun := re.search(r"continuing at agent step (\d+)", child.stderr)) is not None:
            check(int(begun[1]) == self.expected, f"went on from step {begun[1]}, not {self.expected}", child)
        if alone and not self.finished:
            promised = (before[-1] if before else 0) + _saves(self.report(child))
            found = [0, *self.whole_checkpoints()]
            check(found[-1] >= promised, f"whole checkpoints {found[1:]}, promised was number {promised}", child)
        if not self.finished:
            numbers = self.whole_checkpoints()
            self.expected = self.step_of(numbers[-1]) if numbers else None

    def moment(self, rng: random.Random) -> float:
        """Seconds from the first line of the log to a random moment of what is left of the run."""
        left = 1 - (self.expected or 0) / STEPS
        return rng.uniform(0, 0.3 + 0.7 * left) * self.reference.seconds

    def other_process(self) -> Child:
        scratch = self.scratch / "other"
        scratch.mkdir(exist_ok=True)
        return start(self.directory, scratch, self.method, Fault())

    def report(self, child: Child) -> dict[str, Any]:
        return json.loads(child.report.read_text()) if child.report.exists() else {"labels": []}

    @property
    def finished(self) -> bool:
        return (self.directory / "provenance.json").exists()

    @property
    def provenance(self) -> dict[str, Any]:
        return json.loads((self.directory / "provenance.json").read_text())

    def chunks_of(self, number: int) -> list[tuple[Path, int]]:
        """The replay's files that a checkpoint names, each with the number of its first bytes that are meant."""
        replay = json.loads((self.state / str(number) / "state.json").read_text())["replay"]["chunks"]
        row = np.dtype([(name, kind, *map(tuple, shape)) for name, kind, *shape in replay["row"]])
        folder = self.directory / "checkpoint" / "replay"
        return [
            (folder / f"rows_{first:012d}.chunk", HEADER + (stop - first) * row.itemsize)
            for first, stop in replay["chunks"]
        ]

    def finish(self) -> None:
        """Let it go on undisturbed; what it found must be what a run without faults finds."""
        with self.process(Fault()) as child:
            code = child.wait()
        check(code == 0 and self.finished, f"exit code {code} at last", child)
        try:
            found = outcome(self.directory)
        except (OSError, ValueError) as error:
            check(False, f"damaged results ({error})", child)
        unlike = [what for what, a, b in zip(OUTCOME, found, self.reference.outcome, strict=True) if a != b]
        check(not unlike, f"{' and '.join(unlike)} are not those of a run without faults", child)

    def whole_checkpoints(self) -> list[int]:
        """The numbers of those whose every file has the checksum that the manifest says."""
        numbers = sorted(int(path.name) for path in self.state.glob("*") if path.name.isdecimal())
        return [number for number in numbers if _whole(self.state / str(number))]

    def step_of(self, number: int) -> int:
        return json.loads((self.state / str(number) / "state.json").read_text())["progress"]["step"]


def start(directory: Path, scratch: Path, method: str, fault: Fault) -> Child:
    place = ("--benchmark", "distractor", "--task", "reach", "--method", method, "--variant", "smoke")
    options = [word for setting in SMALL for word in ("--set", setting)]
    arguments = [*place, "--seed", "0", "--run-dir", str(directory), "--device", "cpu", "--no-preflight", *options]
    return Child(arguments, directory, scratch, fault)


def reference(place: Path, method: str) -> Reference:
    """Train twice, since the first process of all starts slowly."""
    for attempt in range(2):
        directory = place / f"reference_{method}_{attempt}"
        child = start(directory, place, method, Fault())
        child.wait_until_it_speaks()
        started = time.monotonic()
        code = child.wait()
        check(code == 0, f"exit code {code} without faults", child)
    report = json.loads(child.report.read_text())
    largest = max(path.stat().st_size for path in directory.rglob("*"))
    return Reference(
        outcome(directory), report["labels"], time.monotonic() - started, max(largest, *report["synced"].values())
    )


def _saves(report: dict[str, Any]) -> int:
    """How many checkpoints the process had made to last."""
    labels = report["labels"][:-1]  # the last one was not done
    done = [label for label in labels if label in ("os.rename checkpoint/state/.writing", "os.fsync checkpoint/state")]
    return sum(a.startswith("os.rename") and b.startswith("os.fsync") for a, b in itertools.pairwise(done))


def _whole(path: Path) -> bool:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        files, digest = manifest["files"], manifest.pop("digest")
        if hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest() != digest:
            return False
        return all(hashlib.sha256((path / name).read_bytes()).hexdigest() == digest for name, digest in files.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def _call(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
