"""Crafter: survival in a generated world, 22 achievements, as its authors' package plays it (Hafner 2022).

One agent step is one env frame. The reward is 1 for a step that unlocks an achievement for the first time in the
episode, and 0.1 for each point of health won or lost. The package keeps the creatures of a region in a set of objects
and draws one of them by its place there, which follows from addresses in memory: the same seed does not give the same
episode, not even with a fixed PYTHONHASHSEED. So config/benchmarks/crafter.yaml declares it not deterministic.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from envs.options import flag, integer
from envs.spaces import check_action

TASKS: tuple[str, ...] = ("reward",)

SIZE = 64  # pixels


def make(
    task: str, seed: int, *, time_limit: int = 10_000, truncation_is_terminal: bool = False
) -> gymnasium.Env[Any, Any]:
    """The only task, with rewards.

    time_limit: agent steps of an episode. truncation_is_terminal: also call the end by time_limit terminal.
    """
    return Crafter(
        seed, integer("time_limit", time_limit, low=1), flag("truncation_is_terminal", truncation_is_terminal)
    )


class Crafter(gymnasium.Env[Any, Any]):
    """`info["achievements"]` has how often each of the 22 was done in this episode."""

    def __init__(self, seed: int, time_limit: int, truncation_is_terminal: bool) -> None:
        import crafter

        self._game = crafter.Env(size=(SIZE, SIZE), length=None, seed=0)  # which `reset` seeds
        self._time_limit, self._truncation_is_terminal = time_limit, truncation_is_terminal
        self._steps = 0
        self.observation_space = gymnasium.spaces.Dict(
            {"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)}
        )
        self.action_space = gymnasium.spaces.Discrete(self._game.action_space.n)
        self.np_random = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Generate a world, which takes about a second; with a seed it is the same one whatever was played before."""
        super().reset(seed=seed)
        self._steps = 0
        # The package has no way to seed an episode: it draws each world from these two.
        self._game._seed, self._game._episode = int(self.np_random.integers(2**31)), 0
        return {"image": self._game.reset()}, {"achievements": self._game._player.achievements.copy()}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One action; the episode ends with the player's death or truncated after `time_limit` steps."""
        image, reward, dead, info = self._game.step(int(check_action(self.action_space, action)))
        self._steps += 1
        truncated = not dead and self._steps >= self._time_limit
        terminated = dead or (truncated and self._truncation_is_terminal)
        return {"image": image}, float(reward), bool(terminated), truncated, {"achievements": info["achievements"]}
