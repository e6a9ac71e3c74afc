"""Tasks of the DeepMind control suite, as the pictures of their first camera; benchmarks change the scenery.

Action repeat 2, 64x64, 1,000 env frames for an episode, after which it is truncated.
"""

from __future__ import annotations

import abc
import importlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from envs.rendering import Renderer, choose_back_end, deviations
from envs.spaces import check_action

TASKS: tuple[str, ...] = (
    "cheetah_run", "hopper_stand", "walker_run",  # the paper's
    "ball_in_cup_catch", "cartpole_balance", "cartpole_balance_sparse", "cartpole_swingup", "cartpole_swingup_sparse",
    "finger_spin", "finger_turn_easy", "finger_turn_hard", "fish_swim", "fish_upright", "hopper_hop", "humanoid_run",
    "humanoid_stand", "humanoid_walk", "pendulum_swingup", "reacher_easy", "reacher_hard", "walker_stand",
    "walker_walk",
)  # fmt: skip
REPEAT = 2  # env frames per agent step
TIME_LIMIT = 500  # agent steps
SIZE = 64  # pixels
CAMERA = 0

Trees = Mapping[str, ElementTree.Element]  # `model`, and the shared `materials`, `skybox` and `visual`, to be changed
MATERIALS, SKYBOX, VISUAL = "./common/materials.xml", "./common/skybox.xml", "./common/visual.xml"


def domain_of(task: str) -> tuple[str, str]:
    """The suite's domain and task, for example ball_in_cup and catch."""
    if task == "ball_in_cup_catch":
        return "ball_in_cup", "catch"
    domain, _, name = task.partition("_")
    return domain, name


def load(task: str, edit: Callable[[Trees], None], files: Mapping[str, bytes] | None = None) -> Any:
    """The suite's environment without time limit, its scene's XML changed by `edit`, which may refer to `files`."""
    choose_back_end()
    from dm_control import suite

    domain, name = domain_of(task)
    environment = suite.load(domain, name, task_kwargs={"time_limit": float("inf")})
    model, assets = scene(task, edit)
    environment.physics.reload_from_xml_string(model, {**assets, **(files or {})})
    return environment


def scene(task: str, edit: Callable[[Trees], None]) -> tuple[bytes, dict[str, bytes]]:
    """The model of a task and the files that it includes by name, changed by `edit`."""
    module = importlib.import_module(f"dm_control.suite.{domain_of(task)[0]}")
    model, assets = module.get_model_and_assets()
    trees = {"model": ElementTree.fromstring(model)}
    for name, path in (("materials", MATERIALS), ("skybox", SKYBOX), ("visual", VISUAL)):
        trees[name] = ElementTree.fromstring(assets[path])
    edit(trees)
    included = {path: ElementTree.tostring(trees[path.split("/")[-1][:-4]]) for path in (MATERIALS, SKYBOX, VISUAL)}
    return ElementTree.tostring(trees["model"]), {**assets, **included}


class ControlTask(gymnasium.Env[Any, Any], abc.ABC):
    """A task of the suite, loaded by `load`. A benchmark says how an episode looks and what is random in it."""

    def __init__(self, environment: Any, seed: int, rendering: str, time_limit: int, terminal: bool) -> None:
        self._environment, self._time_limit, self._terminal = environment, time_limit, terminal
        self._steps = 0
        self._physics = environment.physics
        self._renderer = Renderer(self._physics.model.ptr, SIZE, rendering)
        self.provenance: dict[str, Any] = {
            "renderer": self._renderer.description,
            "deviations": deviations(rendering),
        }
        actions = environment.action_spec()
        assert (actions.minimum == -1).all()
        assert (actions.maximum == 1).all()
        self.observation_space = gymnasium.spaces.Dict(
            {"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)}
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, actions.shape, np.float32)
        self.np_random = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode, which depends on nothing but the state of `np_random`."""
        super().reset(seed=seed)
        self._steps = 0
        self._environment.task.random.seed(self._begin())
        self._environment.reset()
        return {"image": self._picture()}, {}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Repeat one action for `REPEAT` env frames; the reward is the sum, 0 to 2."""
        checked = check_action(self.action_space, action)
        self._steps += 1
        reward, ended = 0.0, False
        for _ in range(REPEAT):
            result = self._environment.step(checked)
            reward += result.reward or 0.0
            ended = result.last()
            if ended:
                break
        truncated = not ended and self._steps >= self._time_limit
        terminated = ended or (truncated and self._terminal)
        return {"image": self._picture()}, float(reward), terminated, truncated, {}

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    @abc.abstractmethod
    def _begin(self) -> int:
        """Prepare what an episode looks like; returns the seed of its dynamics."""

    @abc.abstractmethod
    def _picture(self) -> np.ndarray:
        """A new uint8 (SIZE, SIZE, 3) of the present state."""
