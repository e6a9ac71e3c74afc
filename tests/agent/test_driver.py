"""An episode is played again from its seed and actions, or known to be another one."""

import gymnasium
import numpy as np
import pytest

import envs
from agent.actions import action_kind
from agent.config import resolve
from agent.driver import Driver
from envs.worker import WorkerEnv

from .small import make


class Env(gymnasium.Env):
    """The pictures of an episode of six steps: its seed and the last action's sign, if nothing else is said."""

    action_space = gymnasium.spaces.Box(-1, 1, (2,))
    other, length = -1, 6  # the step whose picture is another one; the episode's length

    def reset(self, *, seed=None, options=None):
        self.seed, self.steps = seed, 0
        return self.picture(0), {}

    def step(self, action):
        self.steps += 1
        return self.picture(int(action[0] > 0)), 0.0, False, self.steps == self.length, {}

    def picture(self, value):
        return {"image": np.full((4, 4, 3), (self.seed + value + 9 * (self.steps == self.other)) % 256, np.uint8)}


@pytest.fixture(scope="module")
def kind():
    return make().kind


def played(kind, steps):
    driver = Driver(Env(), kind, 3, "episodes")
    for _ in range(2):  # the second episode is under way
        driver.reset()
    rng = np.random.default_rng(0)
    for _ in range(steps):
        driver.step(kind.random(rng))
    return driver


@pytest.mark.parametrize("steps", [0, 1, 5, 6])
def test_an_episode_goes_on_from_where_it_was(kind, steps):
    driver, again = played(kind, steps), Driver(Env(), kind, 3, "episodes")
    assert again.load_state(driver.state(), np.array(driver.actions))
    assert (again.next, again.ended) == (2, steps == 6)
    if not again.ended:
        assert again.state() == driver.state()
        assert again.steps == steps
        assert np.array_equal(again.row["image"], driver.row["image"])


@pytest.mark.parametrize("changed", [{"other": 0}, {"other": 2}, {"other": 5}, {"length": 3}, {"length": 5}])
def test_another_picture_anywhere_or_an_earlier_end_makes_another_episode(kind, changed):
    driver, env = played(kind, 5), Env()
    for name, value in changed.items():
        setattr(env, name, value)
    again = Driver(env, kind, 3, "episodes")
    assert not again.load_state(driver.state(), np.array(driver.actions))
    assert again.ended
    assert again.next == driver.next, "the cut episode is not played once more"


def test_an_episode_without_its_actions_is_cut(kind):
    driver, again = played(kind, 5), Driver(Env(), kind, 3, "episodes")
    assert not again.load_state(driver.state(), None)
    assert (again.ended, again.next) == (True, driver.next)


def test_crafter_does_not_repeat_its_episode_and_goes_on_with_the_next(monkeypatch):
    monkeypatch.setattr(Driver, "episode_seed", 3)  # a world whose creatures hardly ever do the same twice
    env = envs.make("crafter", "reward", 0)
    kind = action_kind(env.action_space, resolve("crafter", "reward", "dreamerv2", "smoke").behavior.policy)
    driver = Driver(env, kind, 0, "episodes")
    driver.reset()
    env.action_space.seed(3)
    for _ in range(60):
        driver.step(np.eye(17, dtype=np.float32)[env.action_space.sample()])
    for _ in range(4):
        again = Driver(WorkerEnv("crafter", "reward", 0), kind, 0, "episodes")
        repeated = again.load_state(driver.state(), np.array(driver.actions))
        if not repeated:
            break
        again.env.close()
    assert not repeated, "is Crafter deterministic now? Its settings say that it is not"
    again.reset()
    assert again.episode == driver.next
    again.env.close()
