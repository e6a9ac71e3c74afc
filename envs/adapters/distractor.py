"""Distractor: small, coloured, relevant things in front of large, moving, irrelevant video. Needs NumPy only.

The observation model's loss grows with the video, the reward depends on a few pixels: the imbalance that HarmonyDream
harmonises, in an environment that runs at thousands of frames per second on one core. Positions are in sides of
the picture, (x, y), from its upper left corner; one agent step is one env frame.
"""

from __future__ import annotations

import abc
from typing import Any

import gymnasium
import numpy as np

from envs.options import choice, flag, fraction, integer
from envs.spaces import check_action
from envs.videos import Video

SIZES = (32, 64)
PLAIN = 64.0  # grey of the background without video
AGENT, TARGET = (255.0, 80.0, 40.0), (60.0, 220.0, 255.0)  # colours: orange, light blue
SPEED = 0.1  # sides per agent step, at the largest action
SCALE = 0.15  # distance in sides at which the reward has fallen to 10/e
APART = 0.3  # least distance of the target from the agent at the start, in sides


def make(
    task: str,
    seed: int,
    *,
    size: int = 32,
    objects: float = 0.25,
    contrast: float = 1.0,
    distraction: float = 0.0,
    time_limit: int = 25,
    truncation_is_terminal: bool = False,
) -> gymnasium.Env[Any, Any]:
    """One task.

    size: side of the picture in pixels, 32 or 64. objects: side of the objects in sides of the picture.
    contrast: opacity of the objects, 1 is solid. distraction: share of video in the background, 0 is plain grey.
    time_limit: agent steps of an episode. truncation_is_terminal: also call the end by time_limit terminal.
    """
    return TASKS_BY_NAME[task](
        seed,
        choice("size", size, SIZES),
        fraction("objects", objects, 0.02, 0.4),
        fraction("contrast", contrast, 0.01, 1.0),
        fraction("distraction", distraction, 0.0, 1.0),
        integer("time_limit", time_limit, low=1),
        flag("truncation_is_terminal", truncation_is_terminal),
    )


class Distractor(gymnasium.Env[Any, Any], abc.ABC):
    """What all tasks share: the picture, the time limit, the agent that moves with velocity `action`.

    A task says how an episode starts, what a step does beyond moving the agent, and what there is to see.
    """

    agent: np.ndarray  # (2,)

    def __init__(
        self, seed: int, size: int, objects: float, contrast: float, distraction: float, time_limit: int, terminal: bool
    ) -> None:
        self._size, self._objects, self._contrast, self._distraction = size, objects, contrast, distraction
        self._time_limit, self._terminal = time_limit, terminal
        self._steps = 0
        self._canvas = np.empty((size, size, 3), np.float32)
        self._pixels = np.arange(size)
        self.observation_space = gymnasium.spaces.Dict(
            {"image": gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)}
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
        # Last, so that an episode's task does not depend on the distraction.
        self._video = Video(self._size, self.np_random)
        return {"image": self._picture()}, self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the agent by `action` (2,) x `SPEED`; the reward is from 0 to 10."""
        velocity = check_action(self.action_space, action)
        self._steps += 1
        self.agent = self._inside(self.agent + SPEED * velocity)
        reward = self._advance()
        truncated = self._steps >= self._time_limit
        return {"image": self._picture()}, reward, truncated and self._terminal, truncated, self._info()

    @abc.abstractmethod
    def _start(self) -> None:
        """Place the agent and everything else."""

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
        if self._distraction:
            self._video.frame(self._steps, out=self._canvas)
            self._canvas *= self._distraction
            self._canvas += PLAIN * (1 - self._distraction)
        else:
            self._canvas.fill(PLAIN)
        for position, colour in self._things().values():
            self._draw(position, colour)
        return (self._canvas + 0.5).astype(np.uint8)

    def _draw(self, centre: np.ndarray, colour: tuple[float, float, float]) -> None:
        """Blend a square into the canvas, with partial pixels at its edges, so that a small object's place is exact."""
        low, high = (centre - self._objects / 2) * self._size, (centre + self._objects / 2) * self._size
        first, last = np.floor(low).astype(int), np.ceil(high).astype(int)
        columns, rows = (
            np.clip(np.minimum(self._pixels[f:n] + 1, h) - np.maximum(self._pixels[f:n], b), 0, 1)
            for f, n, b, h in zip(first, last, low, high, strict=True)
        )
        patch = self._canvas[first[1] : last[1], first[0] : last[0]]
        opacity = self._contrast * rows[:, None, None] * columns[None, :, None]
        patch += opacity * (np.asarray(colour) - patch)


class Reach(Distractor):
    """Bring the agent to the target, and stay there."""

    target: np.ndarray  # (2,)

    def _start(self) -> None:
        self.agent = self._somewhere()
        self.target = self._somewhere()
        while self._distance() < APART:
            self.target = self._somewhere()

    def _advance(self) -> float:
        return 10.0 * float(np.exp(-self._distance() / SCALE))

    def _things(self) -> dict[str, tuple[np.ndarray, tuple[float, float, float]]]:
        return {"target": (self.target, TARGET), "agent": (self.agent, AGENT)}

    def _success(self) -> bool:
        return self._distance() < self._objects / 2

    def _distance(self) -> float:
        """Distance from agent to target in sides."""
        return float(np.hypot(*(self.agent - self.target)))


TASKS_BY_NAME: dict[str, type[Distractor]] = {"reach": Reach}
TASKS: tuple[str, ...] = tuple(TASKS_BY_NAME)
