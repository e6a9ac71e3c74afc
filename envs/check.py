"""Check that environments keep the contract, how fast they are, and what they look like.

    python -m envs.check distractor               every task of a benchmark
    python -m envs.check atari100k/pong           one task
    python -m envs.check --all --json check.json  every task of every benchmark, results to a file

Each task is run in worker processes with the adapter's defaults, which are the paper's protocol. Its status is `pass`,
`fail` (the reason says what of the contract in envs/contract.py is broken) or `cannot_run` (the simulator is not
installed here). The exit code is 0 if no task failed, 1 if one did, 2 for a mistake in the arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from envs import contract, registry
from envs.errors import EnvironmentFailure, SimulatorMissing, UserError
from envs.worker import WorkerEnv

SEED = 1
FRAMES = Path("results/environments")
TIMED_STEPS = 200  # agent steps


@dataclass
class Result:
    """The contract result of one task; frames are what the agent sees, one per agent step."""

    benchmark: str
    task: str
    status: str = "fail"  # or pass, cannot_run
    reason: str = ""
    frames_per_second: float | None = None
    reset_seconds: float | None = None  # median
    frame: str | None = None  # path of the PNG


def check(benchmark: str, task: str, frames: Path, *, steps: int = 100, adapters: str = registry.ADAPTERS) -> Result:
    """Hold one task to the contract with `steps` agent steps per check; one frame goes into the folder `frames`."""
    result = Result(benchmark, task)
    try:
        found = _check_worker(result, frames, steps, adapters)
    except SimulatorMissing as missing:
        result.status, result.reason = "cannot_run", str(missing)
    except EnvironmentFailure as failure:
        result.reason = str(failure)
    else:
        result.status, result.reason = ("fail", "; ".join(found)) if found else ("pass", "")
    return result


def _check_worker(result: Result, frames: Path, steps: int, adapters: str) -> list[str]:
    """Fill in the measurements, and return the violations."""
    place = (result.benchmark, result.task, SEED)
    environment = WorkerEnv(*place, restarts=0, adapters=adapters)
    try:
        if found := contract.violations(environment, SEED, steps):
            return found
        first = contract.trajectory(environment, SEED, steps)
        _measure(result, environment, frames)
    finally:
        environment.close()
    other = WorkerEnv(*place, restarts=0, adapters=adapters)
    try:
        if contract.trajectory(other, SEED, steps) != first:
            return [f"reset(seed={SEED}) does not start the same episode in a fresh process"]
    finally:
        other.close()
    # The worker's arrays are copies: only the adapter itself can show that it hands out the same one twice.
    return contract.violations(registry.create(*place, {}, adapters), SEED, min(steps, 20))


def _measure(result: Result, environment: WorkerEnv, frames: Path) -> None:
    """Speed of agent steps and of resets through the worker, and a frame from the middle of it."""
    environment.action_space.seed(SEED)
    resets, steps = [], 0.0
    start_reset = True
    for index in range(TIMED_STEPS):
        if start_reset:
            started = time.perf_counter()
            observation, _ = environment.reset(seed=SEED if index == 0 else None)
            resets.append(time.perf_counter() - started)
        action = environment.action_space.sample()
        started = time.perf_counter()
        observation, _, terminated, truncated, _ = environment.step(action)
        steps += time.perf_counter() - started
        start_reset = terminated or truncated
        if index == TIMED_STEPS // 2:
            path = frames / f"{result.benchmark}_{result.task}.png"
            _write(path, cv2.imencode(".png", observation["image"][:, :, ::-1])[1].tobytes())
            result.frame = str(path)
    result.frames_per_second = round(TIMED_STEPS / steps, 1)
    result.reset_seconds = round(float(np.median(resets)), 5)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; UserError if that cannot be."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose another place with --frames or --json"
        ) from None


def select(names: Sequence[str], everything: bool, adapters: str) -> list[tuple[str, str]]:
    """The (benchmark, task) pairs that the arguments name."""
    if everything == bool(names):
        raise UserError("name a BENCHMARK or BENCHMARK/TASK, or use --all; see --help")
    chosen = []
    for name in registry.benchmarks(adapters) if everything else names:
        benchmark, _, task = name.partition("/")
        if task:
            registry.check(benchmark, task, SEED, {}, adapters)
        chosen += [(benchmark, t) for t in ([task] if task else registry.tasks(benchmark, adapters))]
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="BENCHMARK[/TASK]", help="what to check")
    parser.add_argument("--all", action="store_true", help="check every task of every benchmark")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here as well")
    parser.add_argument("--frames", type=Path, default=FRAMES, metavar="DIR", help=f"PNG frames go here ({FRAMES})")
    parser.add_argument("--adapters", default=registry.ADAPTERS, help="package of the adapters (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    results = []
    for benchmark, task in select(options.names, options.all, options.adapters):
        result = check(benchmark, task, options.frames, adapters=options.adapters)
        results.append(result)
        speed = f"{result.frames_per_second:8.0f} frames/s" if result.frames_per_second else ""
        reset = f"{1e3 * result.reset_seconds:8.1f} ms/reset" if result.reset_seconds else ""
        print(
            f"{result.status:<10} {benchmark}/{task:<18} {speed}{reset} {result.reason.partition(chr(10))[0]}",
            flush=True,
        )
    if options.json:
        _write(options.json, json.dumps([asdict(result) for result in results], indent=2).encode() + b"\n")
    return int(any(result.status == "fail" for result in results))


if __name__ == "__main__":
    sys.exit(main())
