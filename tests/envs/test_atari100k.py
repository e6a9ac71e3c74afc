"""Atari as the protocol has it, against a pipeline written down plainly."""

import ale_py
import cv2
import numpy as np
import pytest

import envs
from envs.adapters.atari100k import FRAME_CAP
from envs.contract import trajectory

BLACK = np.zeros((210, 160, 3), np.uint8)


class Plain:
    """DreamerV3's Atari wrapper, as its protocol reads: slow, and nothing shared with the adapter."""

    def __init__(self, rom):
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.loadROM(ale_py.roms.get_rom_path(rom))

    def reset(self, noops):
        self.ale.reset_game()
        for _ in range(noops):
            self.ale.act(ale_py.Action.NOOP)
        self.older = BLACK
        return self.observe()

    def step(self, action):
        reward = 0.0
        for frame in (1, 2, 3, 4):
            reward += self.ale.act(self.ale.getMinimalActionSet()[action])
            if frame == 3:
                self.older = self.ale.getScreenRGB()
            if self.ale.game_over():
                break
        return self.observe(), reward, self.ale.game_over()

    def observe(self):
        both = np.maximum(self.older, self.ale.getScreenRGB())
        return cv2.resize(both, (64, 64), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(
    ("task", "rom", "least_reward", "least_ends"),
    [
        ("pong", "pong", 3, 0),
        ("james_bond", "jamesbond", 0, 0),
        ("breakout", "breakout", 3, 3),
        ("boxing", "boxing", 3, 0),
    ],
)
def test_equals_the_plain_pipeline(task, rom, least_reward, least_ends):
    environment, plain = envs.make("atari100k", task, 0), Plain(rom)
    assert environment.action_space.n == len(plain.ale.getMinimalActionSet())
    noops = np.random.default_rng(11)  # what the seed of the environment makes as well
    assert np.array_equal(environment.reset(seed=11)[0]["image"], plain.reset(noops.integers(30)))
    actions = np.random.default_rng(0).integers(environment.action_space.n, size=700)
    total, ends = 0.0, 0
    for action in actions:
        observation, reward, terminated, truncated, _ = environment.step(action)
        image, plain_reward, over = plain.step(action)
        assert np.array_equal(observation["image"], image)
        assert (reward, terminated, truncated) == (plain_reward, over, False)
        total += abs(reward)
        if terminated:
            ends += 1
            assert np.array_equal(environment.reset()[0]["image"], plain.reset(noops.integers(30)))
    assert total >= least_reward
    assert ends >= least_ends


def test_the_picture_is_in_colour_the_right_way_up():
    """Pong: orange field, the green paddle on the right, the scores above."""
    environment = envs.make("atari100k", "pong", 0)
    environment.reset(seed=0)
    for _ in range(20):
        image = environment.step(0)[0]["image"].astype(int)
    field = image[40, 32]
    assert field[0] > field[1] > field[2]
    rows, columns = np.nonzero(image[15:58, :, 1] > image[15:58, :, 0] + 40)
    assert len(rows) > 2
    assert columns.min() > 50
    assert image[:6].std() > image[20:50, 20:40].std()


@pytest.mark.parametrize("terminal", [False, True])
def test_the_frame_cap_truncates_after_that_many_frames(terminal):
    environment = envs.make("atari100k", "pong", 0, frame_cap=42, truncation_is_terminal=terminal)
    for _ in range(2):  # it counts anew in each episode, and the no-ops not at all
        environment.reset()
        ends = [environment.step(0)[2:4] for _ in range(11)]
        assert ends == [(False, False)] * 10 + [(terminal, True)]


def test_the_frame_caps_of_the_paper():
    """Half an hour of play, but the authors trained Chopper Command with 5,400 frames."""

    def length(task, most):
        environment = envs.make("atari100k", task, 0)
        environment.reset(seed=0)
        return next((n for n in range(1, most) if any(environment.step(0)[2:4])), None)

    assert 4 * length("chopper_command", 2000) == 5_400
    assert length("freeway", 1400) is None
    assert FRAME_CAP == 108_000


@pytest.mark.parametrize("task", ["assault", "krull", "seaquest"])
def test_a_seed_gives_the_same_episode_in_games_that_remember_the_last_one(task):
    environment = envs.make("atari100k", task, 0)
    first = trajectory(environment, 4, 150)
    trajectory(environment, 5, 400)
    assert trajectory(environment, 4, 150) == first


def test_no_ops_vary_between_episodes():
    environment = envs.make("atari100k", "freeway", 0)
    starts = {environment.reset()[0]["image"].tobytes() for _ in range(12)}
    assert len(starts) > 4
