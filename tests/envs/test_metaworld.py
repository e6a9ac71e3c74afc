"""Meta-world as the protocol has it: random seeded goals, success, 500 steps, and the arm the right way up."""

import numpy as np
import pytest

import envs
from envs.errors import SimulatorMissing, UserError

PAPER = ("lever_pull", "handle_pull_side", "hammer")


def make(task="hammer", **options):
    try:
        return envs.make("metaworld", task, 0, **{"rendering": "fast", **options})
    except SimulatorMissing as missing:
        pytest.skip(str(missing))


def policy(task):
    from metaworld import policies

    return getattr(policies, f"Sawyer{task.title().replace('_', '')}V3Policy")()


@pytest.mark.parametrize("task", PAPER)
@pytest.mark.filterwarnings("ignore:Constant")
def test_the_packages_scripted_policy_solves_the_task(task):
    environment, scripted = make(task), policy(task)
    starts = set()
    for seed in range(2):
        environment.reset(seed=seed)
        starts.add(environment.state.tobytes())
        rewards, success = [], False
        while not success and len(rewards) < 200:
            action = np.clip(scripted.get_action(environment.state), -1, 1)
            _, reward, terminated, truncated, info = environment.step(action)
            success = info["success"]
            rewards.append(reward)
            assert (terminated, truncated) == (False, False)
        assert success
        assert 0 <= min(rewards) < 1 < max(rewards) <= 10
    assert len(starts) == 2, "objects and goals are random"
    environment.close()


def test_an_episode_has_500_steps_and_does_not_end_with_success():
    environment = make("reach")
    still = np.zeros(4)
    for _ in range(2):
        environment.reset(seed=3)
        # The picture is not looked at: only the last step's is rendered, by the environment itself.
        environment._observation = dict
        ends = [environment.step(still)[2:4] for _ in range(499)]
        assert set(ends) == {(False, False)}
        del environment._observation
        assert environment.step(still)[2:4] == (False, True)
    environment.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_shorter_time_limit_truncates_again_and_again(terminal):
    environment = make(time_limit=3, truncation_is_terminal=terminal)
    for _ in range(2):
        environment.reset()
        ends = [environment.step(np.zeros(4))[2:4] for _ in range(3)]
        assert ends == [(False, False)] * 2 + [(terminal, True)]
    environment.close()


def test_the_picture_is_mujocos_with_the_rows_from_bottom_to_top():
    """mujoco-py gave them so, and its camera `corner` hangs upside down: the arm, red, reaches in from above."""
    import mujoco

    environment = make(rendering="faithful")
    image = environment.reset(seed=0)[0]["image"]
    simulator = environment._simulator
    simulator.model.vis.global_.offwidth = simulator.model.vis.global_.offheight = 64
    with mujoco.Renderer(simulator.model, 64, 64) as renderer:
        renderer.update_scene(simulator.data, "corner")
        expected = renderer.render()[::-1]
    assert np.abs(image.astype(int) - expected).max() <= 2
    red = (image[..., 0] > 100) & (image[..., 1] < 60)
    assert red[:32].sum() > 2 * red[32:].sum() > 0
    environment.close()


def test_fast_rendering_is_the_same_scene_and_declared():
    faithful, fast = make(rendering="faithful"), make()
    first, second = (e.reset(seed=1)[0]["image"].astype(int) for e in (faithful, fast))
    assert 1 < np.abs(first - second).mean() < 8  # 5.5 when it was measured
    assert faithful.provenance["deviations"] == []
    assert "shadows" in fast.provenance["deviations"][0]
    for environment in (faithful, fast):
        environment.close()


def test_every_v3_task_of_the_package_is_there():
    make().close()
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert sorted(envs.tasks("metaworld")) == sorted(
        name.removesuffix("-v3").replace("-", "_") for name in ALL_V3_ENVIRONMENTS
    )
    assert envs.tasks("metaworld")[:3] == PAPER


def test_every_camera_of_the_scene_can_be_chosen_and_no_other():
    from envs.adapters.metaworld import CAMERAS

    pictures = set()
    for camera in CAMERAS:
        environment = make(camera=camera)
        pictures.add(environment.reset(seed=0)[0]["image"].tobytes())
        environment.close()
    assert len(pictures) == len(CAMERAS)
    with pytest.raises(UserError, match="option camera is 'corner5', but must be one of corner, corner2"):
        envs.make("metaworld", "hammer", 0, camera="corner5")
