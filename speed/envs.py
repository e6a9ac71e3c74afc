"""What an agent step costs in this process and in a worker process, task by task, and what the difference consists of.

    python -m speed.envs distractor/reach atari100k/pong

Both are measured in turns, with pictures of 64x64, because a shared machine is never as fast as a moment ago: times and
the overhead are medians over all rounds, in microseconds; `best` is the overhead of the round that was disturbed least.
The floor is two bare processes that hand a byte back and forth over the same kind of socket: what this machine charges
for waking another process twice, without any of this project's code.
"""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

import envs
from envs.worker import WorkerEnv

STEPS = 500  # agent steps per measurement
ROUNDS = 12
SEED = 0
OPTIONS = {"distractor": {"size": 64}}  # pixels, what the others have by default


def median_microseconds(action: Callable[[], Any], repeats: int = STEPS) -> float:
    """The median time of an action."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return 1e6 * float(np.median(times))


def step_microseconds(environment: gymnasium.Env[Any, Any]) -> float:
    """The median time of an agent step; resets are not counted."""
    environment.action_space.seed(SEED)
    environment.reset(seed=SEED)
    times = []
    for _ in range(STEPS):
        action = environment.action_space.sample()
        started = time.perf_counter()
        _, _, terminated, truncated, _ = environment.step(action)
        times.append(time.perf_counter() - started)
        if terminated or truncated:
            environment.reset()
    return 1e6 * float(np.median(times))


def floor_microseconds() -> float:
    """The median time of one message to another process and one back."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while theirs.recv(1):
            theirs.sendall(b"x")
        os._exit(0)
    theirs.close()

    def exchange() -> None:
        ours.sendall(b"x")
        ours.recv(1)

    result = median_microseconds(exchange)
    ours.close()
    os.wait()
    return result


def measure(name: str) -> str:
    """One row of the table."""
    benchmark, _, task = name.partition("/")
    options = OPTIONS.get(benchmark, {})
    own, worker = envs.make(benchmark, task, SEED, **options), WorkerEnv(benchmark, task, SEED, options)
    try:
        times = np.array([[step_microseconds(own), step_microseconds(worker)] for _ in range(ROUNDS)])
    finally:
        worker.close()
    here, there = np.median(times, axis=0)
    overheads = times[:, 1] - times[:, 0]
    return (
        f"{name:<28}{here:>10.0f}{1e6 / here:>12.0f}{there:>10.0f}{1e6 / there:>12.0f}"
        f"{np.median(overheads):>10.0f}{overheads.min():>10.0f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["distractor/reach", "atari100k/pong"], metavar="BENCHMARK/TASK")
    names = parser.parse_args().names
    print(f"{'':<28}{'here':>10}{'steps/s':>12}{'worker':>10}{'steps/s':>12}{'overhead':>10}{'best':>10}")
    for name in names:
        print(measure(name), flush=True)
    print(f"{'floor of two processes':<50}{floor_microseconds():>32.0f}")


if __name__ == "__main__":
    main()
