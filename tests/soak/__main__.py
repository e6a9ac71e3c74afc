"""Let faults happen to real training runs, go on after each, and compare with runs that nothing disturbed.

    python -m tests.soak --faults 200                               # the counts as a table
    python -m tests.soak --faults 200 --write docs/reliability.md   # and into the document

A series is one run with a few faults in a row. Each series follows its number and --seed alone: one that failed can be
done again with --seed and --series. Root can mount small disks; others do without those faults, and the table says so.
"""

import argparse
import datetime
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from agent.provenance import cpu_name
from tests.soak.faults import COUNTED, KINDS, ON_A_DISK_OF_ITS_OWN, cut_power_at_operation, kill_at_operation
from tests.soak.run import METHODS, Disk, Lost, Reference, Run, reference

BEGIN, END = "<!-- soak: begin -->\n", "<!-- soak: end -->\n"
EVERY = 8  # series that have a fault of COUNTED
SWEPT = ("killed at a file operation", "power cut at a file operation")


class Soak:
    """`tried` and `lost` count faults by kind; a series that fails loses all its faults."""

    def __init__(self, place: Path, disk: Disk | None, seed: int, methods: tuple[str, ...] = METHODS):
        self.seed, self._methods = seed, methods
        self.tried: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.series = 0
        self.disk = disk
        self._place = disk.path if disk else place / "runs"
        self._scratch = place / "scratch"
        for path in (self._place, self._scratch):
            path.mkdir(exist_ok=True)
        self.references: dict[str, Reference] = {method: reference(self._scratch, method) for method in methods}
        self.kinds = KINDS | (ON_A_DISK_OF_ITS_OWN if disk else {})

    def do(self, number: int) -> str | None:
        """Series `number`; returns what was lost, if anything."""
        rng = random.Random(f"{self.seed} {number}")
        method = self._methods[number % len(self._methods)]
        directory = self._place / f"series_{number}"
        run = Run(directory, self._scratch, method, self.references[method], self.disk)
        happened: list[str] = []
        problem = None
        try:
            if number % EVERY == 0:
                happened += self._counted(run, number // EVERY, rng)
            else:
                happened.extend(self._faults(run, number, rng))
                run.finish()
        except (Lost, AssertionError) as error:
            problem = f"series {number} ({method}; {', '.join(happened)}): {error}"
            self.lost.update(happened or ["before the first fault"])
        self.tried.update(happened)
        self.series += 1
        subprocess.run(["rm", "-rf", str(directory)], check=True)
        return problem

    def _counted(self, run: Run, turn: int, rng: random.Random) -> list[str]:
        """A fault that cannot go without a trace."""
        kind = list(COUNTED)[turn % len(COUNTED)]
        return [kind] if COUNTED[kind](run, rng) else []

    def _faults(self, run: Run, number: int, rng: random.Random) -> Iterator[str]:
        """Up to six faults, as long as the run is not finished, and then one at the sweep's operation."""
        for kind in rng.choices(list(self.kinds), k=6):
            if not run.finished and self.kinds[kind](run, rng):
                yield kind
        labels = _checkpoint_and_end(run.reference.labels)
        cut = rng.random() < 0.5
        strike = (kill_at_operation, cut_power_at_operation)[cut]
        if not run.finished and strike(run, rng, labels[number % len(labels)]):
            yield SWEPT[cut]

    def table(self) -> str:
        """Counts by kind, as Markdown."""
        kinds = [*self.kinds, *COUNTED]
        rows = [f"| {kind} | {self.tried[kind]} | {self.tried[kind] - self.lost[kind]} |" for kind in kinds]
        total, lost = self.tried.total(), self.lost.total()
        head = "| fault | tried | survived |\n|---|---|---|"
        return "\n".join([head, *rows, f"| **all** | **{total}** | **{total - lost}** |"]) + "\n"


def _checkpoint_and_end(labels: list[str]) -> list[str]:
    """The kinds of file operations from the beginning of the last checkpoint to the end of the run."""
    begin = max(i for i, label in enumerate(labels) if label == "os.mkdir checkpoint/state/.writing")
    return list(dict.fromkeys(labels[begin:]))


def small_disk(place: Path) -> Disk | None:
    """One of its own in `place`, where mounting is allowed."""
    try:
        return Disk(place)
    except (OSError, subprocess.CalledProcessError):
        return None


def write(document: Path, text: str) -> None:
    """Put the text between the marks in the document."""
    before, rest = document.read_text().split(BEGIN)
    document.write_text(before + BEGIN + text + END + rest.split(END)[1])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=200, help="at least so many (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--series", type=int, help="this series alone")
    parser.add_argument("--write", type=Path, help="document to put the table into")
    args = parser.parse_args(arguments)
    shared_memory = Path("/dev/shm")
    place = shared_memory if os.access(shared_memory, os.W_OK) else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that small disks are unmounted
    started, problems = time.monotonic(), []
    with tempfile.TemporaryDirectory(dir=place) as folder:
        disk = small_disk(Path(folder))
        try:
            soak = Soak(Path(folder), disk, args.seed)
            number = args.series or 0
            while soak.tried.total() < args.faults:
                problem = soak.do(number)
                problems += [problem] if problem else []
                print(problem or f"series {number}: {soak.tried.total()} faults so far", flush=True)
                number += 1
                if args.series is not None:
                    break
        finally:
            if disk:
                disk.close()
    text = _document(soak, " ".join(arguments), time.monotonic() - started, len(problems))
    print(text)
    if args.write and not problems:
        write(args.write, text)
    return 1 if problems else 0


def _document(soak: Soak, options: str, seconds: float, failed: int) -> str:
    date = datetime.datetime.now(datetime.UTC).date()
    without = "" if soak.disk else " Without root: no small disks were mounted."
    return (
        f"`python -m tests.soak {options}` on {date}, {multiprocessing.cpu_count()} cores of {cpu_name()}, "
        f"{seconds / 60:.0f} minutes: {soak.series} runs on `distractor/reach`, of "
        f"{', '.join(f'`{method}`' for method in METHODS)} in turn, each with up to seven faults in a row. "
        f"Data lost: {failed} runs.{without}\n\n{soak.table()}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
