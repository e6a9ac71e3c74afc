"""Atari 100k: the 26 games as DreamerV3's code, on which HarmonyDream builds, plays them.

Action repeat 4, the maximum of the last two screens, 64x64 RGB by area interpolation, no sticky actions, 0 to 29
no-ops, the game's minimal actions, losing a life does not end the episode, rewards as the game gives them.
"""

from __future__ import annotations

from typing import Any

import cv2
import gymnasium
import numpy as np

from envs.options import flag, integer
from envs.spaces import check_action

TASKS: tuple[str, ...] = (
    "alien", "amidar", "assault", "asterix", "bank_heist", "battle_zone", "boxing", "breakout", "chopper_command",
    "crazy_climber", "demon_attack", "freeway", "frostbite", "gopher", "hero", "james_bond", "kangaroo", "krull",
    "kung_fu_master", "ms_pacman", "pong", "private_eye", "qbert", "road_runner", "seaquest", "up_n_down",
)  # fmt: skip

REPEAT = 4  # env frames per agent step
SIZE = 64  # pixels
NOOPS = 30  # exclusive: the code base draws randint(30)
FRAME_CAP = 108_000  # env frames, half an hour of play
FRAME_CAPS = {"chopper_command": 5_400}  # the authors trained this game with a shorter episode
ROMS = {"james_bond": "jamesbond"}


def make(
    task: str, seed: int, *, frame_cap: int | None = None, truncation_is_terminal: bool = False
) -> gymnasium.Env[Any, Any]:
    """One game.

    frame_cap: length of an episode in env frames, no-ops not counted; 108,000, but 5,400 for Chopper Command.
    truncation_is_terminal: also call the end by frame_cap terminal, as the authors' wrapper does.
    """
    cap = FRAME_CAPS.get(task, FRAME_CAP) if frame_cap is None else integer("frame_cap", frame_cap, low=REPEAT)
    return Atari(ROMS.get(task, task), seed, cap, flag("truncation_is_terminal", truncation_is_terminal))


class Atari(gymnasium.Env[Any, Any]):
    """A game of the Arcade Learning Environment; one step is `REPEAT` env frames."""

    def __init__(self, rom: str, seed: int, frame_cap: int, truncation_is_terminal: bool) -> None:
        self._ale = _emulator(rom)
        self._power_on = self._ale.cloneSystemState()
        self._actions = self._ale.getMinimalActionSet()
        self._screens = np.zeros((2, *self._ale.getScreenDims(), 3), np.uint8)  # second to last, last
        self._frame_cap = frame_cap
        self._truncation_is_terminal = truncation_is_terminal
        self._frames = 0  # env frames of this episode, no-ops not counted
        self.observation_space = gymnasium.spaces.Dict(
            {"image": gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)}
        )
        self.action_space = gymnasium.spaces.Discrete(len(self._actions))
        self.np_random = np.random.default_rng(seed)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; with a seed it is the same one whatever was played before."""
        super().reset(seed=seed)
        if seed is not None:
            # Some games (Assault, Krull, Seaquest) keep memory across a reset of the game.
            self._ale.restoreSystemState(self._power_on)
        self._ale.reset_game()
        for _ in range(self.np_random.integers(NOOPS)):
            self._ale.act(0)
            if self._ale.game_over():
                self._ale.reset_game()
        self._frames = 0
        self._screens[0] = 0
        self._ale.getScreenRGB(self._screens[1])
        return self._observation(), {}

    def step(self, action: int) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Repeat one action for `REPEAT` env frames or until the game is over."""
        chosen = self._actions[int(check_action(self.action_space, action))]
        reward, over = 0.0, False
        for frame in range(REPEAT):
            reward += self._ale.act(chosen)
            self._frames += 1
            over = self._ale.game_over()
            # Read before the break: a game that ends earlier keeps the older screen, as in the authors' wrapper.
            if frame == REPEAT - 2:
                self._ale.getScreenRGB(self._screens[0])
            if over:
                break
        self._ale.getScreenRGB(self._screens[1])
        truncated = not over and self._frames >= self._frame_cap
        terminated = over or (truncated and self._truncation_is_terminal)
        return self._observation(), reward, terminated, truncated, {}

    def _observation(self) -> dict[str, np.ndarray]:
        """The maximum of the two screens, as a new (SIZE, SIZE, 3) array."""
        screen = np.maximum(self._screens[0], self._screens[1], out=self._screens[1])
        return {"image": cv2.resize(screen, (SIZE, SIZE), interpolation=cv2.INTER_AREA)}


def _emulator(rom: str) -> Any:
    """A console with the game's cartridge, without sticky actions; deterministic, so that it needs no seed."""
    import ale_py
    import ale_py.roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    emulator = ale_py.ALEInterface()
    emulator.setFloat("repeat_action_probability", 0.0)
    emulator.setInt("random_seed", 0)
    path = ale_py.roms.get_rom_path(rom)
    assert path is not None, rom  # every game of TASKS comes with ale-py
    emulator.loadROM(path)
    return emulator
