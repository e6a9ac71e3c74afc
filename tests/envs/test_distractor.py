"""The distractor: what is seen is what is true, and the video is of no use."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.adapters.distractor import AGENT, PLAIN, TARGET
from envs.worker import WorkerEnv


def make(**options):
    return envs.make("distractor", "reach", 0, **options)


def play(environment, policy, seed):
    """The episode's return, and the success of its last step."""
    _, info = environment.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        _, reward, terminated, truncated, info = environment.step(policy(info))
        total, ended = total + reward, terminated or truncated
    return total, info["success"]


def steer(info):
    return np.clip((np.array(info["target"]) - info["agent"]) / 0.1, -1, 1)


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([32, 64]),
    objects=st.floats(0.05, 0.2),  # so small that they never overlap at the start
    contrast=st.floats(0.5, 1),
)
@settings(max_examples=60, deadline=None)
def test_objects_are_drawn_where_they_are(seed, size, objects, contrast):
    """Also between pixels: the centre of what differs from the background is the true position."""
    observation, info = make(size=size, objects=objects, contrast=contrast).reset(seed=seed)
    colours = np.array([TARGET, AGENT])[:, [0, 2]] - PLAIN
    opacity = (observation["image"][:, :, [0, 2]] - PLAIN) @ np.linalg.inv(colours)
    opacity[np.abs(opacity) < 0.02] = 0  # grey levels are whole numbers
    centres = (np.arange(size) + 0.5) / size
    for layer, name in zip(np.moveaxis(opacity, 2, 0), ("target", "agent"), strict=True):
        assert layer.sum() == pytest.approx(contrast * (objects * size) ** 2, rel=0.05)
        seen = np.array([layer.sum(0) @ centres, layer.sum(1) @ centres]) / layer.sum()
        assert seen == pytest.approx(info[name], abs=0.2 / size)


@given(seed=st.integers(0, 2**32), distraction=st.floats(0, 1), size=st.sampled_from([32, 64]))
@settings(max_examples=25, deadline=None)
def test_the_video_changes_the_picture_but_not_the_task(seed, distraction, size):
    plain, distracted = make(), make(distraction=distraction, size=size, contrast=0.5)
    (_, truth), (_, info) = plain.reset(seed=seed), distracted.reset(seed=seed)
    assert info == truth
    for action in np.random.default_rng(seed).uniform(-1, 1, (25, 2)):
        first, second = plain.step(action), distracted.step(action)
        assert second[1:] == first[1:]
        assert 0 <= second[1] <= 10
        assert second[0]["image"].shape == (size, size, 3)


def test_objects_are_a_quarter_of_the_side_and_distinct_by_default():
    environment = make()
    image = environment.reset(seed=2)[0]["image"].reshape(-1, 3).astype(float)
    for colour in (AGENT, TARGET):
        solid = (np.abs(image - colour).max(1) < 1).sum()
        assert 7 * 7 <= solid <= 8 * 8
    assert np.abs(np.subtract(AGENT, TARGET)).max() > 150


def test_the_video_moves_and_differs_between_episodes():
    environment = make(distraction=1.0, objects=0.02)
    frames = [environment.reset(seed=1)[0]["image"]] + [environment.step([0, 0])[0]["image"] for _ in range(24)]
    motion = [np.abs(b.astype(int) - a).mean() for a, b in itertools.pairwise(frames)]
    assert np.mean(motion) > 1.0
    assert frames[0].std((0, 1)).mean() > 5
    starts = [environment.reset()[0]["image"].astype(int) for _ in range(20)]
    gaps = [np.abs(a - b).mean() for i, a in enumerate(starts) for b in starts[:i]]
    assert min(gaps) > 4


def test_without_distraction_the_background_is_plain_and_still():
    environment = make(objects=0.1)
    image = environment.reset(seed=0)[0]["image"]
    assert (image == PLAIN).all(2).mean() > 0.9


def test_a_random_policy_is_far_from_the_best():
    environment = make()
    environment.action_space.seed(0)
    random = [play(environment, lambda _: environment.action_space.sample(), seed)[0] for seed in range(60)]
    best, success = zip(*(play(environment, steer, seed) for seed in range(60)), strict=True)
    assert np.mean(random) < 40
    assert min(best) > 150
    assert all(success)
    assert max(best) <= 250


@pytest.mark.parametrize("terminal", [False, True])
def test_the_time_limit_truncates(terminal):
    environment = make(time_limit=3, truncation_is_terminal=terminal)
    for _ in range(2):
        environment.reset()
        assert [environment.step([0, 0])[2:4] for _ in range(3)] == [(False, False)] * 2 + [(terminal, True)]


def test_the_agent_stays_in_the_picture():
    environment = make()
    environment.reset(seed=0)
    for _ in range(25):
        *_, info = environment.step([1, -1])
    assert info["agent"] == [0.875, 0.125]


@pytest.mark.parametrize("size", [32, 64])
def test_runs_at_2000_frames_per_second_at_its_hardest(size):
    environment = make(size=size, distraction=1.0)
    environment.reset(seed=0)
    best = 0.0
    for _ in range(3):  # the best of three: the machine may be busy
        started = time.perf_counter()
        for _ in range(20):
            environment.reset()
            for _ in range(25):
                environment.step([0.1, 0.1])
        best = max(best, 500 / (time.perf_counter() - started))
    assert best > 2000


def test_a_step_out_of_bounds_is_refused_in_both_processes():
    worker = WorkerEnv("distractor", "reach", 0)
    for environment in (make(), worker):
        environment.reset()
        for action in ([np.nan, 0], [np.inf, 0], [1.01, 0], [0, 0, 0], ["left", "up"]):
            with pytest.raises(ValueError, match="must be"):
                environment.step(action)
        environment.step(np.array([1 + 1e-9, -1]))  # rounding is forgiven
    worker.close()
