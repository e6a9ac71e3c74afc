"""The scene of the distractor's tasks: an agent that moves, what distracts from it, and the picture of both."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from envs.clutter import Blocks, add_noise
from envs.spaces import check_action
from envs.videos import Video

PLAIN = 64.0  # grey of the background without video
SPEED = 0.1  # sides per agent step, at the largest action


@dataclass(frozen=True)
class Look:
    """What an episode looks like; `make` says what each value means."""

    size: int
    objects: float
    contrast: float
    distraction: float
    blocks: int
    block_size: float
    block_contrast: float
    noise: float


class Distractor(gymnasium.Env[Any, Any], abc.ABC):
    """What all tasks share: the picture, the time limit, the agent that moves with velocity `action`.

    A task says how an episode starts, what a step does beyond moving the agent, and what there is to see.
    """

    LARGEST = 0.4  # side of the objects that leaves room for the task, in sides of the picture
    agent: np.ndarray  # (2,)

    def __init__(self, seed: int, look: Look, time_limit: int, terminal: bool) -> None:
        self._look, self._size, self._objects = look, look.size, look.objects
        self._time_limit, self._terminal = time_limit, terminal
        self._steps = 0
        self._canvas = np.empty((look.size, look.size, 3), np.float32)
        self.observation_space = gymnasium.spaces.Dict(
            {"image": gymnasium.spaces.Box(0, 255, (look.size, look.size, 3), np.uint8)}
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.np_random = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)
        self._steps = 0
        self._start()
        # Last, so that an episode's task does not depend on what distracts from it.
        look = self._look
        self._video = Video(look.size, self.np_random)
        self._blocks = Blocks(look.size, look.blocks, look.block_size, look.block_contrast, self.np_random)
        return {"image": self._picture()}, self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the agent by `action` (2,) x `SPEED`; the reward is from 0 to 10."""
        velocity = check_action(self.action_space, action)
        self._steps += 1
        self._move(SPEED * velocity)
        reward = self._advance()
        truncated = self._steps >= self._time_limit
        return {"image": self._picture()}, reward, truncated and self._terminal, truncated, self._info()

    @abc.abstractmethod
    def _start(self) -> None:
        """Place the agent and everything else."""

    def _move(self, way: np.ndarray) -> None:
        """Move the agent by `way` (2,)."""
        self.agent = self._inside(self.agent + way)

    @abc.abstractmethod
    def _advance(self) -> float:
        """Move everything but the agent by one step; the reward, 0 to 10."""

    @abc.abstractmethod
    def _things(self) -> dict[str, tuple[np.ndarray, tuple[float, float, float]]]:
        """Position (2,) and colour of what is to be seen, back to front."""

    @abc.abstractmethod
    def _success(self) -> bool:
        """Whether the task is done now."""

    def _info(self) -> dict[str, Any]:
        """The true state: positions by name, in sides."""
        state = {name: position.tolist() for name, (position, _) in self._things().items()}
        return {**state, "success": self._success()}

    def _somewhere(self) -> np.ndarray:
        """A random position (2,) where an object is whole."""
        return self.np_random.uniform(self._objects / 2, 1 - self._objects / 2, 2)

    def _inside(self, position: np.ndarray) -> np.ndarray:
        return np.clip(position, self._objects / 2, 1 - self._objects / 2)

    def _picture(self) -> np.ndarray:
        """A new uint8 (size, size, 3)."""
        look = self._look
        if look.distraction:
            self._video.frame(self._steps, out=self._canvas)
            self._canvas *= look.distraction
            self._canvas += PLAIN * (1 - look.distraction)
        else:
            self._canvas.fill(PLAIN)
        if look.blocks:
            self._blocks.draw(self._canvas, self._steps)
        for position, colour in self._things().values():
            self._draw(position, colour)
        if look.noise:
            add_noise(self._canvas, 255 * look.noise, self.np_random)
        return (self._canvas + 0.5).astype(np.uint8)

    def _draw(self, centre: np.ndarray, colour: tuple[float, float, float]) -> None:
        """Blend a square into the canvas, with partial pixels at its edges, so that a small object's place is exact."""
        (left, columns), (top, rows) = (self._covered(place) for place in centre.tolist())
        patch = self._canvas[top : top + len(rows), left : left + len(columns)]
        opacity = self._look.contrast * rows[:, None, None] * columns[None, :, None]
        patch += opacity * (np.asarray(colour) - patch)

    def _covered(self, place: float) -> tuple[int, np.ndarray]:
        """Along one axis, the first pixel of an object and how much of it and of the following ones it covers."""
        low, high = (place - self._objects / 2) * self._size, (place + self._objects / 2) * self._size
        first, last = max(math.floor(low), 0), min(math.ceil(high), self._size)
        share = np.ones(last - first)
        share[-1] = min(high, last) - (last - 1)
        share[0] = min(first + 1, high) - max(first, low)
        return first, share
