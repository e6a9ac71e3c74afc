"""The distractor: what is seen is what is true, and the video is of no use."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.adapters._distractor import PLAIN, SPEED
from envs.adapters.distractor import AGENT, TARGET
from envs.clutter import Blocks
from envs.worker import WorkerEnv

TASKS = envs.tasks("distractor")
ALL = {"distraction": 1.0, "blocks": 8, "block_contrast": 0.5, "noise": 0.1}  # that distracts


def make(task="reach", **options):
    return envs.make("distractor", task, 0, **options)


def play(environment, policy, seed):
    """The episode's return, and the success of its last step."""
    _, info = environment.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        _, reward, terminated, truncated, info = environment.step(policy(info))
        total, ended = total + reward, terminated or truncated
    return total, info["success"]


def toward(place, info):
    """The action that brings the agent to a place as fast as it can."""
    return np.clip((np.asarray(place) - info["agent"]) / SPEED, -1, 1)


def reach(info, objects):
    return toward(info["target"], info)


def catch(info, objects):
    return toward(info["ball"], info)


def push(info, objects):
    """Push the box from behind, along one axis and then the other; go round it where the agent is not behind."""
    agent, box, target = (np.array(info[name]) for name in ("agent", "box", "target"))
    gap = target - box
    along = 0 if abs(gap[0]) > 0.03 else 1
    across, side = 1 - along, np.sign(gap[along])
    goal = agent.copy()
    behind = side * (agent - box)[along] <= -objects + 1e-6
    beside = abs(agent - box)[across] >= objects
    if abs(gap[along]) < 0.02:
        return np.zeros(2)
    if behind and abs(agent - box)[across] < objects / 2:
        goal[along] = target[along] - side * objects
    elif behind:
        goal[across] = box[across]
    elif beside:
        goal[along] = box[along] - side * (objects + 1e-3)
    else:  # to the side of the box where there is room
        way = np.sign((agent - box)[across]) or 1.0
        if not objects / 2 < box[across] + way * objects < 1 - objects / 2:
            way = -way
        goal[across] = box[across] + way * (objects + 1e-3)
    return toward(goal, info)


SCRIPTED = {"reach": reach, "catch": catch, "push": push}


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


@pytest.mark.parametrize("objects", [0.25, 0.05])
@pytest.mark.parametrize(("task", "times"), [("reach", 8), ("catch", 1.8), ("push", 4)])
def test_a_random_policy_is_far_from_the_scripted_one(task, times, objects):
    environment = make(task, objects=objects)
    environment.action_space.seed(0)
    random = [play(environment, lambda _: environment.action_space.sample(), seed)[0] for seed in range(40)]
    scripted, success = zip(
        *(play(environment, lambda info: SCRIPTED[task](info, objects), seed) for seed in range(40)), strict=True
    )
    assert np.mean(scripted) > times * np.mean(random)
    assert np.mean(success) > 0.6
    assert max(scripted) <= 250


def test_reach_looks_as_it_did_when_its_results_were_kept():
    """results/measured/distractor_reach was made with these pictures."""
    digest = hashlib.sha256()
    environment = make()
    for seed in range(5):
        digest.update(environment.reset(seed=seed)[0]["image"].tobytes())
        for action in np.random.default_rng(seed).uniform(-1, 1, (25, 2)):
            digest.update(environment.step(action)[0]["image"].tobytes())
    assert digest.hexdigest()[:16] == "3f81e3ad9e971cf8"


@pytest.mark.parametrize("task", TASKS)
def test_no_distraction_changes_the_task(task):
    plain, distracted = make(task, objects=0.1), make(task, objects=0.1, size=64, **ALL)
    for seed in range(5):
        assert plain.reset(seed=seed)[1] == distracted.reset(seed=seed)[1]
        for action in np.random.default_rng(seed).uniform(-1, 1, (25, 2)):
            assert plain.step(action)[1:] == distracted.step(action)[1:]


@pytest.mark.parametrize(
    ("option", "least", "most"), [("blocks", 1, 32), ("noise", 0.1, 1.0), ("distraction", 0.2, 1.0)]
)
def test_more_distraction_is_more_that_changes(option, least, most):
    def change(value):
        environment = make(objects=0.02, **{option: value})
        frames = [environment.reset(seed=3)[0]["image"].astype(int)]
        frames += [environment.step([0, 0])[0]["image"].astype(int) for _ in range(20)]
        return np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(frames)])

    assert change(0) == 0
    assert 0 < 2 * change(least) < change(most)


@given(seed=st.integers(0, 2**32), count=st.integers(0, 32), extent=st.floats(0.02, 0.5), frame=st.integers(0, 500))
@settings(max_examples=50, deadline=None)
def test_blocks_stay_whole_and_in_the_picture(seed, count, extent, frame):
    canvas = np.full((64, 64, 3), -1000.0, np.float32)
    Blocks(64, count, extent, 1.0, np.random.default_rng(seed)).draw(canvas, frame)
    drawn = (canvas >= 0).all(2).sum()
    side = max(1, round(extent * 64))
    assert (drawn >= side**2) if count else drawn == 0
    assert canvas.max() <= 255


def test_a_box_is_pushed_and_never_pulled_through_or_leapt_over():
    for objects in (0.02, 0.1, 0.3):
        environment = make("push", objects=objects)
        moved = 0.0
        for seed in range(20):
            _, before = environment.reset(seed=seed)
            for action in np.random.default_rng(seed).uniform(-1, 1, (25, 2)):
                info = environment.step(action)[4]
                apart = np.abs(np.subtract(info["box"], info["agent"])).max()
                assert apart >= objects - 1e-9
                assert objects / 2 - 1e-9 <= min(info["box"]) <= max(info["box"]) <= 1 - objects / 2 + 1e-9
                assert np.hypot(*np.subtract(info["box"], before["box"])) <= 2 * SPEED + 1e-9
                moved += np.abs(np.subtract(info["box"], before["box"])).sum()
                before = info
        assert moved > 0


def test_a_missed_ball_gives_nothing_and_no_success():
    environment = make("catch")
    away = lambda info: [1.0 if info["ball"][0] < 0.5 else -1.0, 0.0]  # noqa: E731
    assert play(environment, away, seed=2) == (0.0, False)
    assert play(environment, lambda info: catch(info, 0.25), seed=2) == (20.0, True)


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


def test_a_step_out_of_bounds_is_refused_in_both_processes():
    worker = WorkerEnv("distractor", "reach", 0)
    for environment in (make(), worker):
        environment.reset()
        for action in ([np.nan, 0], [np.inf, 0], [1.01, 0], [0, 0, 0], ["left", "up"]):
            with pytest.raises(ValueError, match="must be"):
                environment.step(action)
        environment.step(np.array([1 + 1e-9, -1]))  # rounding is forgiven
    worker.close()
