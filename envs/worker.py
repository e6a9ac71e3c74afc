"""An environment whose simulator lives in a worker process, which may crash or hang without taking the run with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from envs import registry
from envs.errors import EnvironmentFailure
from envs.process import WorkerDied, WorkerProcess
from envs.spaces import build, check_action

log = logging.getLogger(__name__)

Observation = dict[str, np.ndarray]


@dataclass
class RestartBudget:
    """How many restarts of workers a run may have, over all its environments, and how many it has had."""

    allowed: int
    used: int = 0


class WorkerEnv(gymnasium.Env[Observation, Any]):
    """`envs.make(benchmark, task, seed, **options)` in a worker process.

    A crash or hang restarts the worker and ends the episode: the step returns the last good observation, reward 0,
    truncated, and info {"restarted": True}. The restart that would be one too many raises EnvironmentFailure instead.

    python: the interpreter of the worker, this one by default. timeout: seconds that an answer may take.
    restarts: how many restarts there may be, or a budget shared with others. adapters: the package of the adapter.
    """

    def __init__(
        self,
        benchmark: str,
        task: str,
        seed: int,
        options: Mapping[str, Any] | None = None,
        *,
        python: str | Path | None = None,
        timeout: float = 60.0,
        restarts: int | RestartBudget = 3,
        adapters: str = registry.ADAPTERS,
    ) -> None:
        registry.check(benchmark, task, seed, options or {}, adapters)
        self._request = {"benchmark": benchmark, "task": task, "options": dict(options or {}), "adapters": adapters}
        self._seed, self._python, self._timeout = seed, python, timeout
        self._budget = RestartBudget(restarts) if isinstance(restarts, int) else restarts
        self.restarts = 0  # of this environment
        self._worker: WorkerProcess | None = None
        self._last: Observation | None = None  # of the episode that is going on
        description = self._start()
        self.observation_space = build(description["observation_space"])
        self.action_space = build(description["action_space"])
        # What results must say of the simulator: its renderer, its data, its `deviations` from the paper's.
        self.provenance: dict[str, Any] = description["provenance"]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode, in a new worker if this one dies of it."""
        while True:
            worker = self._running()
            try:
                info = worker.request("reset", seed=seed)["info"]
            except WorkerDied as death:
                self._restart(death)
                continue
            return self._observe(worker), info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One agent step. Raises ValueError for an action outside the action space, NaN included."""
        if self._last is None or self._worker is None:
            raise RuntimeError("step() needs reset() first: no episode is going on")
        checked = check_action(self.action_space, action)
        try:
            answer = self._worker.request("step", action=checked.tolist())
        except WorkerDied as death:
            self._restart(death)
            return self._last, 0.0, False, True, {"restarted": True}
        return self._observe(self._worker), answer["reward"], answer["terminated"], answer["truncated"], answer["info"]

    @property
    def peak_memory_mb(self) -> float | None:
        """The most resident memory that the worker has had so far; None while there is none."""
        return round(self._worker.peak_memory(), 1) if self._worker is not None else None

    def close(self) -> None:
        """End the worker and all that it started."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _observe(self, worker: WorkerProcess) -> Observation:
        self._last = worker.observation()  # kept apart from what is handed out, which the caller may change
        return {name: array.copy() for name, array in self._last.items()}

    def _running(self) -> WorkerProcess:
        if self._worker is None:
            self._start()
        assert self._worker is not None
        return self._worker

    def _start(self) -> dict[str, Any]:
        """Start a worker and have it make the environment, again and again within the budget; returns its spaces."""
        while True:
            worker = WorkerProcess(self._python, self._timeout)
            try:
                description = worker.make(seed=self._worker_seed(), **self._request)
            except WorkerDied as death:
                self._restart(death)
            except BaseException:
                worker.kill()
                raise
            else:
                self._worker = worker
                return description

    def _worker_seed(self) -> int:
        """A restarted worker must not play the run's first episodes again."""
        if not self.restarts:
            return self._seed
        return int(np.random.SeedSequence((self._seed, self.restarts)).generate_state(1)[0])

    def _restart(self, death: WorkerDied) -> None:
        """Count a restart, which is done when the next worker is needed; EnvironmentFailure when none is left."""
        self._worker = None
        name = f"{self._request['benchmark']}/{self._request['task']}"
        output = death.output.strip() or "(nothing)"
        if self._budget.used >= self._budget.allowed:
            raise EnvironmentFailure(
                f"the worker of {name} {death}, and its budget of {self._budget.allowed} restarts is used up: mend the "
                f"simulator or, in a run, raise limits.env_restarts. It printed last:\n{output}"
            ) from None
        self.restarts += 1
        self._budget.used += 1
        log.warning(
            "the worker of %s %s; restart %d of %d. It printed last:\n%s",
            name, death, self._budget.used, self._budget.allowed, output,
        )  # fmt: skip
