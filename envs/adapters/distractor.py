"""Distractor: small, coloured, relevant things among large, moving, irrelevant ones. Needs NumPy only.

The observation model's loss grows with what is irrelevant, the reward depends on a few pixels: the imbalance that
HarmonyDream harmonises, in an environment that runs at thousands of frames per second on one core. By default nothing
distracts; what does is chosen with the options of `make`. Positions are in sides of the picture, (x, y), from its upper
left corner; one agent step is one env frame. Returns of an episode at the default options, means over 200 episodes:

| task  | random policy | scripted policy of tests/envs/test_distractor.py |
|-------|---------------|--------------------------------------------------|
| reach | 19            | 224                                              |
| catch | 10            | 20 (all balls)                                   |
| push  | 19            | 119                                              |
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from envs.adapters._distractor import SPEED, Distractor, Look
from envs.options import choice, flag, fraction, integer

SIZES = (32, 64)
AGENT, TARGET = (255.0, 80.0, 40.0), (60.0, 220.0, 255.0)  # colours: orange, light blue
BOX = (250.0, 235.0, 90.0)  # yellow
SCALE = 0.15  # distance in sides at which the reward has fallen to 10/e
APART = 0.3  # least distance in sides, at the start, of what has to be brought together
FALL = 0.1  # sides per agent step that a ball falls
DRIFT = 0.06  # largest sides per agent step that it moves sideways
MOST_BLOCKS = 32


def make(
    task: str,
    seed: int,
    *,
    size: int = 32,
    objects: float = 0.25,
    contrast: float = 1.0,
    distraction: float = 0.0,
    blocks: int = 0,
    block_size: float = 0.2,
    block_contrast: float = 1.0,
    noise: float = 0.0,
    time_limit: int = 25,
    truncation_is_terminal: bool = False,
) -> gymnasium.Env[Any, Any]:
    """One task.

    What is relevant. objects: side of the objects in sides of the picture; at 0.05 they are 3 pixels of 64, the fine
    grain of the paper's robots. contrast: opacity of the objects, 1 is solid.

    What is not. distraction: share of video in the background, 0 is plain grey; another video in each episode. blocks:
    number of coloured blocks, from 0 to 32, that drift about behind the objects; block_size, their side in sides of the
    picture; block_contrast, their opacity. noise: standard deviation of noise in every pixel, as a share of the range.

    size: side of the picture in pixels, 32 or 64. time_limit: agent steps of an episode. truncation_is_terminal: also
    call the end by time_limit terminal.
    """
    kind = TASKS_BY_NAME[task]
    look = Look(
        choice("size", size, SIZES),
        fraction("objects", objects, 0.02, kind.LARGEST),
        fraction("contrast", contrast, 0.01, 1.0),
        fraction("distraction", distraction, 0.0, 1.0),
        integer("blocks", blocks, low=0, high=MOST_BLOCKS),
        fraction("block_size", block_size, 0.02, 0.5),
        fraction("block_contrast", block_contrast, 0.01, 1.0),
        fraction("noise", noise, 0.0, 1.0),
    )
    terminal = flag("truncation_is_terminal", truncation_is_terminal)
    return kind(seed, look, integer("time_limit", time_limit, low=1), terminal)


class Reach(Distractor):
    """Bring the agent to the target, and stay there: the reward grows with nearness."""

    target: np.ndarray  # (2,)

    def _start(self) -> None:
        self.agent = self._somewhere()
        self.target = self._somewhere()
        while _distance(self.agent, self.target) < APART:
            self.target = self._somewhere()

    def _advance(self) -> float:
        return 10.0 * float(np.exp(-_distance(self.agent, self.target) / SCALE))

    def _things(self) -> dict[str, tuple[np.ndarray, tuple[float, float, float]]]:
        return {"target": (self.target, TARGET), "agent": (self.agent, AGENT)}

    def _success(self) -> bool:
        return _distance(self.agent, self.target) < self._objects / 2


class Catch(Distractor):
    """Move the agent along the lower edge to where each ball will land: 10 for a ball caught, one ball after another.

    Only the first component of the action counts. The episode is a success if no ball was missed until its end.
    """

    ball: np.ndarray  # (2,)

    def _start(self) -> None:
        self._balls = np.random.default_rng(self.np_random.integers(2**63))  # for the rest of the episode
        self.agent = np.array([self._somewhere()[0], 1 - self._objects / 2])
        self._missed = False
        self._throw()

    def _throw(self) -> None:
        self.ball = np.array([self._balls.uniform(self._objects / 2, 1 - self._objects / 2), self._objects / 2])
        self._velocity = np.array([self._balls.uniform(-DRIFT, DRIFT), FALL])

    def _advance(self) -> float:
        self.agent[1] = 1 - self._objects / 2
        landed = self.ball[1] >= 1 - self._objects / 2
        if landed:
            self._throw()
            return 0.0
        moved = self.ball + self._velocity
        self.ball = self._inside(moved)
        if self.ball[0] != moved[0]:
            self._velocity[0] *= -1
        if self.ball[1] < 1 - self._objects / 2:
            return 0.0
        caught = abs(self.ball[0] - self.agent[0]) < self._objects
        self._missed |= not caught
        return 10.0 if caught else 0.0

    def _things(self) -> dict[str, tuple[np.ndarray, tuple[float, float, float]]]:
        return {"ball": (self.ball, TARGET), "agent": (self.agent, AGENT)}

    def _success(self) -> bool:
        return self._steps >= self._time_limit and not self._missed


class Push(Distractor):
    """Push the box to the target: the reward grows with the box's nearness to it. The agent cannot pull."""

    LARGEST = 0.3
    target: np.ndarray  # (2,)
    box: np.ndarray  # (2,)

    def _start(self) -> None:
        margin = min(1.5 * self._objects, 0.5)  # room for the agent on every side of the box
        self.box = self.np_random.uniform(margin, 1 - margin, 2)
        self.target, self.agent = self._somewhere(), self._somewhere()
        while _distance(self.box, self.target) < APART:
            self.target = self._somewhere()
        while np.abs(self.box - self.agent).max() < self._objects:
            self.agent = self._somewhere()

    def _move(self, way: np.ndarray) -> None:
        """In strides so short that a small box is not leapt over."""
        strides = math.ceil(2 * SPEED / self._objects)
        for _ in range(strides):
            super()._move(way / strides)
            self._touch()

    def _touch(self) -> None:
        """Move the box out of the agent's way, along the axis on which that is the shortest."""
        offset = self.box - self.agent
        overlap = self._objects - np.abs(offset)  # (2,), the box is touched where both are positive
        if overlap.min() <= 0:
            return
        axis = int(np.argmin(overlap))
        side = 1.0 if offset[axis] >= 0 else -1.0
        self.box[axis] += side * overlap[axis]
        self.box = self._inside(self.box)
        self.agent[axis] = self.box[axis] - side * self._objects  # a wall behind the box stops both

    def _advance(self) -> float:
        return 10.0 * float(np.exp(-_distance(self.box, self.target) / SCALE))

    def _things(self) -> dict[str, tuple[np.ndarray, tuple[float, float, float]]]:
        return {"target": (self.target, TARGET), "box": (self.box, BOX), "agent": (self.agent, AGENT)}

    def _success(self) -> bool:
        return _distance(self.box, self.target) < self._objects / 2


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Between two positions, in sides."""
    return float(np.hypot(*(first - second)))


TASKS_BY_NAME: dict[str, type[Distractor]] = {"reach": Reach, "catch": Catch, "push": Push}
TASKS: tuple[str, ...] = tuple(TASKS_BY_NAME)
