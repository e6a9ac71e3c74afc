"""Evaluation: a fixed number of episodes with the policy as it is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from agent.agent import Agent, PolicyCarry
from agent.driver import Driver
from agent.noise import Noise
from agent.replay import Row


class Actor:
    """The policy in one environment: its latent state, and the noise of its every step."""

    def __init__(self, agent: Agent, noise: Noise, stream: str):
        self._agent, self._noise, self._stream = agent, noise, stream
        self.carry: PolicyCarry = agent.initial_policy_carry(1)

    def act(self, row: Row, number: int, mode: str) -> np.ndarray:
        """The action (A,) for a row; `number` keys the noise, mode is `sample` or `mode`."""
        obs = {key: self._to_device(row[key]) for key in (*self._agent.shapes, "is_first")}
        obs["image"] = obs["image"].permute(0, 3, 1, 2)  # (1, H, W, C) to (1, C, H, W)
        noise = self._noise.draw(self._stream, number, self._agent.policy_noise(1))
        action, self.carry = self._agent.policy(obs, self.carry, noise, mode)
        return action[0].float().cpu().numpy()

    def _to_device(self, value: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(value)[None]).to(self._agent.device)


def evaluate(
    driver: Driver,
    actor: Actor,
    *,
    episodes: int,
    mode: str,
    agent_step: int,
    frames_per_step: int,
    watch: Callable[[int, Row], None] = lambda episode, row: None,
) -> list[dict[str, Any]]:
    """Play `episodes` episodes; one row of evaluations.csv for each. `watch` sees every row as it comes."""
    rows = []
    for episode in range(episodes):
        watch(episode, driver.reset())
        while not driver.ended:
            assert driver.row is not None
            number = (driver.episode << 32) + driver.steps  # keys the noise: unlike for any two steps of a run
            watch(episode, driver.step(actor.act(driver.row, number, mode)))
        rows.append(
            {
                "agent_step": agent_step,
                "env_frame": agent_step * frames_per_step,
                "episode": episode,
                "return": driver.total,
                "length": driver.steps,
                "success": "" if driver.success is None else int(driver.success),
                "seed": driver.episode_seed,
            }
        )
    return rows
