"""Check that environments keep the contract, how fast they are, and what they look like.

    python -m envs.check distractor               every task of a benchmark
    python -m envs.check atari100k/pong           one task
    python -m envs.check --all --json check.json  every task of every benchmark, results to a file
    python -m envs.check metaworld dmc_remastered --set metaworld.rendering=fast --set dmc_remastered.textures=generated

Each task is run in worker processes with the options that config/benchmarks/<benchmark>.yaml gives it, and on top of
them those of --set; a task that is named there must be one of the adapter's. Its status is `pass`, `fail` (the reason
says what of the contract in envs/contract.py is broken) or `cannot_run` (the simulator or its assets are missing). An
environment that does not repeat an episode for its seed fails, unless its settings declare `deterministic: false`. One
contact sheet of each benchmark has frames of an episode of every task: look at it. The exit code is 0 if no task
failed, 1 if one did, 2 for a mistake in the arguments.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from envs import contract, registry
from envs.declared import BENCHMARKS, Declared, declared
from envs.errors import SimulatorMissing, UserError
from envs.faults import told
from envs.selection import options_by_benchmark, select, tasks
from envs.sheets import contact_sheet, png
from envs.worker import WorkerEnv

SEED = 1
FRAMES = Path("results/environments")
FEWEST, MOST = 10, 1000  # agent steps per check, if nothing else is asked for:
CHECK_SECONDS = 1.5  # as many as fit into this time
PICTURES = 8  # of an episode on the contact sheet


@dataclass
class Result:
    """The contract result of one task. `pictures` are frames of an episode, as the agent sees them."""

    benchmark: str
    task: str
    status: str = "fail"  # or pass, cannot_run
    reason: str = ""
    deterministic: bool | None = None  # as found
    note: str = ""
    steps: int | None = None  # agent steps of the longest check
    frames_per_second: float | None = None  # agent steps per second, through the worker
    reset_seconds: float | None = None  # median
    peak_memory_mb: float | None = None  # of the worker process, resident
    pictures: list[np.ndarray] = field(default_factory=list, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """All but the pictures, as JSON takes it."""
        return {key: value for key, value in asdict(self).items() if key != "pictures"}


def check(
    benchmark: str,
    task: str,
    *,
    seed: int = SEED,
    steps: int | None = None,
    options: Mapping[str, Any] | None = None,
    adapters: str = registry.ADAPTERS,
    settings: Path = BENCHMARKS,
) -> Result:
    """Hold one task to the contract, with `steps` agent steps per check, by default as many as its speed allows.

    options: of the environment, on top of those of the settings. settings: the folder of the benchmarks' settings.
    """
    result = Result(benchmark, task)
    try:
        _check_import(benchmark, adapters)
        says = declared(benchmark, settings)
        _check_settings(says, benchmark, task, adapters, settings)
        found = _violations(result, seed, steps, {**says.options(task), **(options or {})}, adapters, says)
    except SimulatorMissing as missing:
        result.status, result.reason = "cannot_run", str(missing)
    except UserError as mistake:
        result.reason = str(mistake)
    except Exception as error:  # a fault of an adapter must not keep the other tasks from being checked
        result.reason = told(error, adapters, benchmark)
    else:
        result.status, result.reason = ("fail", "; ".join(found)) if found else ("pass", "")
    result.reason = result.reason.replace("<benchmark>", benchmark)
    return result


def _check_import(benchmark: str, adapters: str) -> None:
    """UserError if the adapter's module needs what is not installed: that is no reason why it cannot be listed."""
    try:
        registry.adapter(benchmark, adapters)
    except SimulatorMissing as missing:
        raise UserError(
            f"the adapter cannot be imported ({missing.__cause__}): import the simulator in `make`, not at the top"
        ) from None


def _check_settings(says: Declared, benchmark: str, task: str, adapters: str, folder: Path) -> None:
    """UserError if there are no settings, or if task or options in them are not the adapter's."""
    if says.path is None:
        if adapters == registry.ADAPTERS:
            raise UserError(f"there are no settings {folder / benchmark}.yaml, which training needs: see envs.new")
        return
    try:
        registry.check(benchmark, task, SEED, says.options(task), adapters)
    except UserError as mistake:
        raise UserError(f"{says.path}: {mistake}") from None


def _violations(
    result: Result, seed: int, steps: int | None, options: Mapping[str, Any], adapters: str, settings: Declared
) -> list[str]:
    """Fill in what is measured, and return how the contract is broken."""
    place = (result.benchmark, result.task, seed)
    chosen: dict[str, Any] = {"restarts": 0, "adapters": adapters, "python": settings.python, "options": options}
    environment = WorkerEnv(*place, **chosen)
    try:
        result.steps = steps or _affordable_steps(environment, seed)
        if found := contract.violations(environment, seed, min(result.steps, 100), seeding=False):
            return found
        found = _measure(result, environment, seed, settings)
        if found:
            return found
        first = contract.trajectory(environment, seed, result.steps)
        found = contract.wrong_seeding(environment, seed, first)
        result.peak_memory_mb = environment.peak_memory_mb
    finally:
        environment.close()
    if not found:
        other = WorkerEnv(*place, **chosen)
        try:
            if contract.trajectory(other, seed, result.steps) != first:
                found = [f"reset(seed={seed}) does not start the same episode in a fresh process"]
        finally:
            other.close()
    found = _judge_determinism(result, found, settings)
    if not any(terminated or truncated for _, _, terminated, truncated in first):
        result.note = "; ".join(filter(None, [result.note, f"no episode ended within {result.steps} steps"]))
    if found or settings.python is not None:  # which this interpreter could not make
        return found
    # The worker's arrays are copies: only the adapter itself can show that it hands out the same one twice.
    make = partial(registry.create, *place, options, adapters)
    return contract.violations_in_own_process(make, seed, min(result.steps, 20))


def _affordable_steps(environment: WorkerEnv, seed: int) -> int:
    """How many agent steps fit into `CHECK_SECONDS`, from `FEWEST` to `MOST`."""
    environment.action_space.seed(seed)
    environment.reset(seed=seed)
    started = time.perf_counter()
    for _ in range(3):
        if any(environment.step(environment.action_space.sample())[2:4]):
            environment.reset()
    return int(np.clip(3 * CHECK_SECONDS / (time.perf_counter() - started), FEWEST, MOST))


def _judge_determinism(result: Result, found: list[str], settings: Declared) -> list[str]:
    """Whether it is as declared; what the settings declare is no violation."""
    result.deterministic = not found
    if settings.deterministic:
        advice = (
            " (is super().reset(seed=seed) called, and is all randomness from self.np_random? If it lies in the "
            "simulator, declare `deterministic: false` in config/benchmarks/<benchmark>.yaml)"
        )
        return [violation + advice for violation in found]
    result.note = (
        f"declared not deterministic, but repeated itself over {result.steps} steps"
        if result.deterministic
        else "not deterministic, as declared"
    )
    return []


def _measure(result: Result, environment: WorkerEnv, seed: int, settings: Declared) -> list[str]:
    """Speed of agent steps and of resets through the worker, and pictures; returns what of the score is missing."""
    steps = min(result.steps or FEWEST, 200)
    shown = set(np.linspace(0, steps - 1, PICTURES).astype(int).tolist())
    environment.action_space.seed(seed)
    resets, taken = [], 0.0
    start_reset = True
    for index in range(steps):
        if start_reset:
            started = time.perf_counter()
            environment.reset(seed=seed if index == 0 else None)
            resets.append(time.perf_counter() - started)
        action = environment.action_space.sample()
        started = time.perf_counter()
        observation, _, terminated, truncated, info = environment.step(action)
        taken += time.perf_counter() - started
        start_reset = terminated or truncated
        if index in shown:
            result.pictures.append(observation["image"])
    result.frames_per_second = round(steps / taken, 1)
    result.reset_seconds = round(float(np.median(resets)), 5)
    if settings.score == "success" and "success" not in info:
        return [f"{settings.path} says `score: success`, but info has no `success` at every step"]
    return []


def write(path: Path, content: bytes) -> None:
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


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="BENCHMARK[/TASK]", help="what to check")
    parser.add_argument("--all", action="store_true", help="check every task of every benchmark")
    parser.add_argument("--steps", type=int, help="agent steps per check (what fits into 1.5 s, from 10 to 1000)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="BENCHMARK.OPTION=VALUE", help="an option; repeatable"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here as well")
    parser.add_argument(
        "--frames", type=Path, default=FRAMES, metavar="DIR", help="contact sheets go here (%(default)s)"
    )
    parser.add_argument("--adapters", default=registry.ADAPTERS, help="package of the adapters (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        return _run(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.steps is not None and options.steps < 1:
        raise UserError(f"--steps is {options.steps}, but must be at least 1")
    chosen = select(options.names, options.all, options.adapters)
    given = options_by_benchmark(options.set)
    if unused := sorted(set(given) - {benchmark for benchmark, _ in chosen}):
        raise UserError(f"--set names {', '.join(unused)}, which is not checked; name it as a BENCHMARK, too")
    for benchmark, changes in given.items():
        if known := tasks(benchmark, options.adapters):
            registry.check(benchmark, known[0], SEED, changes, options.adapters)
    results: list[Result] = []
    for number, (benchmark, task) in enumerate(chosen, start=1):
        results.append(
            check(benchmark, task, steps=options.steps, options=given.get(benchmark), adapters=options.adapters)
        )
        print(f"{number:>4}/{len(chosen)} {_line(results[-1])}", flush=True)
        if options.json:  # after each task, so that little is lost if this is stopped
            write(options.json, json.dumps([result.as_dict() for result in results], indent=2).encode() + b"\n")
        if (benchmark, task) == chosen[-1] or chosen[number][0] != benchmark:
            _write_sheet(options.frames / f"{benchmark}.png", [r for r in results if r.benchmark == benchmark])
    return int(any(result.status == "fail" for result in results))


def _line(result: Result) -> str:
    speed = f"{result.frames_per_second:8.0f} frames/s" if result.frames_per_second else ""
    reset = f"{1e3 * result.reset_seconds:8.1f} ms/reset" if result.reset_seconds else ""
    memory = f"{result.peak_memory_mb:6.0f} MB" if result.peak_memory_mb else ""
    said = (result.reason or result.note).replace("\n", "\n" + 10 * " ")
    return f"{result.status:<10} {result.benchmark}/{result.task:<22}{speed}{reset}{memory} {said}".rstrip()


def _write_sheet(path: Path, results: list[Result]) -> None:
    if rows := {f"{r.benchmark}/{r.task}": r.pictures for r in results if r.pictures}:
        write(path, png(contact_sheet(rows)))
        print(f"     frames of an episode of each task: {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
