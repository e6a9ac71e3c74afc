"""Meta-world: a Sawyer arm manipulates objects; goals are random and observable, an episode has 500 agent steps.

The authors used the v2 tasks on MuJoCo 2.0; the v3 tasks, which can be installed today, keep v2's rewards for the
paper's three tasks but have other physics. The picture is 64x64 from the camera `corner`, in mujoco-py's orientation.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from envs.options import choice, flag, integer
from envs.rendering import QUALITIES, Renderer, choose_back_end, deviations
from envs.spaces import check_action

TASKS: tuple[str, ...] = (
    "lever_pull", "handle_pull_side", "hammer",  # the paper's
    "assembly", "basketball", "bin_picking", "box_close", "button_press", "button_press_topdown",
    "button_press_topdown_wall", "button_press_wall", "coffee_button", "coffee_pull", "coffee_push", "dial_turn",
    "disassemble", "door_close", "door_lock", "door_open", "door_unlock", "drawer_close", "drawer_open",
    "faucet_close", "faucet_open", "hand_insert", "handle_press", "handle_press_side", "handle_pull",
    "peg_insert_side", "peg_unplug_side", "pick_out_of_hole", "pick_place", "pick_place_wall", "plate_slide",
    "plate_slide_back", "plate_slide_back_side", "plate_slide_side", "push", "push_back", "push_wall", "reach",
    "reach_wall", "shelf_place", "soccer", "stick_pull", "stick_push", "sweep", "sweep_into", "window_close",
    "window_open",
)  # fmt: skip
CAMERAS = ("corner", "corner2", "corner3", "corner4", "topview", "behindGripper", "gripperPOV")
MOVED_CAMERAS = {"corner2": (0.75, 0.075, 0.7)}  # metres; the authors' wrapper brings it closer to the table
UPSIDE_DOWN = ("corner", "corner2")  # mounted so; mujoco-py's rows, from bottom to top, put that right
SIZE = 64  # pixels
TIME_LIMIT = 500  # agent steps


def make(
    task: str,
    seed: int,
    *,
    camera: str = "corner",
    rendering: str = "faithful",
    time_limit: int = TIME_LIMIT,
    truncation_is_terminal: bool = False,
) -> gymnasium.Env[Any, Any]:
    """One task.

    camera: a camera of the scene. rendering: `faithful` as the scene asks for, or `fast`, without shadows, reflections
    and multisampling. time_limit: agent steps of an episode. truncation_is_terminal: also call its end by time_limit
    terminal.
    """
    return MetaWorld(
        task,
        seed,
        choice("camera", camera, CAMERAS),
        choice("rendering", rendering, QUALITIES),
        integer("time_limit", time_limit, low=1),
        flag("truncation_is_terminal", truncation_is_terminal),
    )


class MetaWorld(gymnasium.Env[Any, Any]):
    """One v3 task, seen by a camera. `state` (39,) is what the package's scripted policies act on, goal included."""

    def __init__(self, task: str, seed: int, camera: str, rendering: str, time_limit: int, terminal: bool) -> None:
        self._simulator = _simulator(task)
        self._simulator.max_path_length = time_limit
        self._terminal = terminal
        model = self._simulator.model
        self._camera = model.camera(camera).id
        if camera in MOVED_CAMERAS:
            model.cam_pos[self._camera] = MOVED_CAMERAS[camera]
        self._renderer = Renderer(model, SIZE, rendering, upside_down=camera in UPSIDE_DOWN)
        self.provenance = {"renderer": self._renderer.description, "deviations": deviations(rendering)}
        self.state = np.zeros(39)
        self.observation_space = gymnasium.spaces.Dict(
            {"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)}
        )
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.np_random = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode with a new goal and new places of the objects."""
        super().reset(seed=seed)
        self._simulator.np_random = self.np_random  # its own reset() ignores its seed
        self.state, _ = self._simulator.reset()
        return self._observation(), {"success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the gripper by the first three numbers, open or close it by the last; the reward is from 0 to 10."""
        checked = check_action(self.action_space, action)
        self.state, reward, _, truncated, info = self._simulator.step(checked)
        return (
            self._observation(),
            float(reward),
            truncated and self._terminal,
            truncated,
            {"success": bool(info["success"])},
        )

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _observation(self) -> dict[str, np.ndarray]:
        return {"image": self._renderer.picture(self._simulator.data, self._camera)}


def _simulator(task: str) -> Any:
    """The task's simulator with the goal in its state, drawing goals and places from its `np_random`."""
    choose_back_end()
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

    made: Any = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE[f"{task.replace('_', '-')}-v3-goal-observable"]
    simulator = made(seed=0)
    simulator._freeze_rand_vec = False  # the package has no public way to have random goals in one environment
    simulator.seeded_rand_vec = True
    return simulator
