"""The worker process survives what simulators do, and dies with its client."""

import os
import signal
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import envs
from envs.contract import trajectory
from envs.errors import ContractViolation, EnvironmentFailure, SimulatorMissing, UserError
from envs.worker import WorkerEnv

from .processes import children, members, wait_until

ADAPTERS = "tests.envs.adapters"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def make():
    """Makes misbehaving environments and closes them."""
    made = []

    def make_one(task, benchmark="misbehaving", **arguments):
        made.append(WorkerEnv(benchmark, task, 0, adapters=ADAPTERS, **arguments))
        return made[-1]

    yield make_one
    for environment in made:
        environment.close()


@pytest.fixture
def started():
    """Gives the children that this process has started since: other tests leave helpers of multiprocessing behind."""
    before = set(children())
    return lambda: [child for child in children() if child not in before]


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    """Another interpreter, which has NumPy but neither gymnasium nor a simulator."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    packages = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        (site / name).symlink_to(packages / name)
    return folder / "bin/python"


@pytest.mark.parametrize(
    ("benchmark", "task", "options"),
    [("distractor", "reach", {"size": 64, "distraction": 0.5}), ("atari100k", "pong", {"frame_cap": 40})],
)
def test_plays_what_the_environment_in_this_process_plays(benchmark, task, options):
    here = envs.make(benchmark, task, 7, **options)
    there = WorkerEnv(benchmark, task, 7, options)
    assert there.observation_space == here.observation_space
    assert there.action_space == here.action_space
    assert np.array_equal(there.reset()[0]["image"], here.reset()[0]["image"]), "the seed of the environment counts too"
    assert trajectory(there, 3, 60) == trajectory(here, 3, 60)
    assert there.step(here.action_space.sample())[4].keys() == here.step(here.action_space.sample())[4].keys()
    there.close()


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("raises_in_step", "the arm left the table"),
        ("segfaults_in_step", "Segmentation fault"),
        ("exits_in_step", "license expired"),
        ("hangs_in_step", "in misbehave"),  # the place where it hung
        ("hangs_in_native_code", "in misbehave"),
    ],
)
def test_a_crash_or_hang_ends_the_episode_and_the_run_goes_on(make, caplog, task, said):
    environment = make(task, timeout=1.5)
    environment.reset(seed=5)
    good, reward, *_ = environment.step(0)
    assert reward == 1.0
    kept = good["image"].copy()
    good["image"][:] = 0  # what the caller does to its array does not matter

    last, reward, terminated, truncated, info = environment.step(0)

    assert np.array_equal(last["image"], kept)
    assert (reward, terminated, truncated, info) == (0.0, False, True, {"restarted": True})
    assert environment.restarts == 1
    assert said in caplog.text
    with pytest.raises(RuntimeError, match="reset"):
        environment.step(0)
    environment.reset()
    assert environment.step(1)[1] == 1.0


def test_a_worker_that_blocks_signals_is_killed_all_the_same(make, started, monkeypatch):
    monkeypatch.setattr("envs.process.PATIENCE", 0.2)
    environment = make("ignores_signals", timeout=1.0)
    worker = started()
    environment.reset()
    environment.step(0)
    assert environment.step(0)[4] == {"restarted": True}
    assert worker
    assert not set(worker) & set(started())


def test_the_restart_budget_ends_the_run_with_the_last_words(make):
    environment = make("raises_in_step", restarts=1)
    environment.reset()
    environment.step(0)
    environment.step(0)
    assert environment.restarts == 1
    environment.reset()
    environment.step(0)
    with pytest.raises(
        EnvironmentFailure, match=r"(?s)misbehaving/raises_in_step ended .* budget of 1 .*left the table"
    ):
        environment.step(0)
    assert environment.restarts == 1


def test_a_worker_that_dies_in_reset_is_started_again(make, tmp_path, monkeypatch):
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    environment = make("dies_in_first_reset", restarts=1)
    observation, _ = environment.reset(seed=3)
    assert environment.restarts == 1
    assert np.array_equal(observation["image"], environment.reset(seed=3)[0]["image"])


@pytest.mark.parametrize(("task", "said"), [("dies_in_reset", "SIGKILL"), ("dies_when_made", "no display")])
def test_a_worker_that_always_dies_is_given_up(make, task, said):
    with pytest.raises(EnvironmentFailure, match=said):
        make(task, restarts=1).reset()


def test_a_restarted_worker_does_not_play_the_first_episodes_again(make):
    environment = make("raises_in_step")
    first = environment.reset()[0]["image"]
    environment.step(0)
    environment.step(0)
    assert not np.array_equal(environment.reset()[0]["image"], first)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("wrong_shape", r"'image' is uint8 \(8, 9, 3\), but its space says uint8 \(8, 8, 3\)"),
        ("wrong_type", "'image' is float32"),
        ("wrong_keys", "pixels"),
        ("wrong_space", "Dict with `image`"),
        ("infinite_reward", "reward is inf"),
        ("unspeakable_info", "info must be JSON-able"),
    ],
)
def test_a_broken_contract_is_told_at_once(make, task, said):
    with pytest.raises(ContractViolation, match=said) as caught:
        play(make(task, restarts=5))
    assert "tests/envs/adapters/misbehaving.py" in str(caught.value)


def play(environment):
    environment.reset()
    environment.step(0)


def test_a_flood_of_output_stops_nothing_and_fills_nothing(make, started):
    environment = make("floods", restarts=0)
    environment.reset()
    for _ in range(3):  # 80 MB
        environment.step(0)
    os.kill(*started(), signal.SIGKILL)
    with pytest.raises(EnvironmentFailure, match=r"y{1000}") as failure:
        environment.step(0)
    assert len(str(failure.value)) < 10_000


def test_bad_actions_do_not_reach_the_worker(make):
    environment = make("sound")
    with pytest.raises(RuntimeError, match="reset"):
        environment.step(0)
    environment.reset()
    for action in (3, -1, 0.5, np.nan, [0]):
        with pytest.raises(ValueError, match="must be whole numbers"):
            environment.step(action)
    assert environment.step(2)[1] == 1.0


def test_another_interpreter_needs_neither_gymnasium_nor_this_python(make, bare_python):
    environment = make("count", benchmark="foreign", options={"height": 5}, python=bare_python)
    observation, info = environment.reset(seed=1)
    assert Path(info["python"]) == bare_python.parents[1]
    assert observation["image"].shape == environment.observation_space["image"].shape == (5, 6, 3)
    assert environment.observation_space["vector"].high.tolist() == [1.0, np.inf]
    assert environment.action_space.nvec.tolist() == [2, 3]
    steps = [environment.step([1, 2]) for _ in range(3)]
    assert [s[0]["image"].max() for s in steps] == [1, 2, 3]
    assert [s[0]["vector"].tolist() for s in steps] == [[0.5, 1], [0.5, 2], [0.5, 3]]
    assert [s[1:] for s in steps[1:]] == [
        (3.0, False, False, {"success": False}),
        (3.0, True, False, {"success": True}),
    ]


def test_a_missing_simulator_says_how_to_get_it(make, bare_python):
    with pytest.raises(SimulatorMissing, match=r"pip install '\.\[misbehaving\]'"):
        make("needs_simulator")
    with pytest.raises(SimulatorMissing, match=r"pip install '\.\[atari100k\]'"):
        WorkerEnv("atari100k", "pong", 0, python=bare_python)


def test_an_interpreter_that_cannot_run_is_named():
    with pytest.raises(UserError, match=r"'/nowhere/python' cannot be run: .*No such file"):
        WorkerEnv("distractor", "reach", 0, python="/nowhere/python")


def test_a_worker_of_another_version_is_refused(tmp_path, started):
    old = tmp_path / "host.py"
    source = (ROOT / "envs/host.py").read_text()
    assert "PROTOCOL = 1" in source
    old.write_text(source.replace("PROTOCOL = 1", "PROTOCOL = 0"))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} {old} "$@"\n')
    python.chmod(0o755)
    with pytest.raises(UserError, match="speaks protocol 0, but this program speaks 1"):
        WorkerEnv("distractor", "reach", 0, python=python)
    assert not started()


def test_close_ends_the_simulator_and_what_it_started(make, started):
    environment = make("has_children")
    (worker,) = started()
    assert len(members(worker)) == 3  # the worker, its guard, and what the simulator started
    environment.close()
    assert wait_until(lambda: not members(worker))
    environment.close()  # a second time does nothing


@pytest.mark.parametrize("how", ["closed", "died", "killed"])
def test_a_session_of_a_simulators_own_is_ended_too(make, started, how):
    environment = make("own_session", restarts=1)
    (worker,) = started()
    environment.reset()
    *_, info = environment.step(0)
    assert members(info["child"]) == [info["child"]]
    if how == "killed":
        os.kill(worker, signal.SIGKILL)
    if how == "closed":
        environment.close()
    else:
        assert environment.step(0)[4] == {"restarted": True}
    assert wait_until(lambda: not members(info["child"]))


CLIENT = """
import sys, time
from envs.worker import WorkerEnv
environment = WorkerEnv("misbehaving", sys.argv[1], 0, adapters="tests.envs.adapters")
environment.reset()
*_, info = environment.step(0)
print(info.get("child"), flush=True)
environment.step(0) if sys.argv[1] == "has_children" else time.sleep(1000)  # the step hangs in native code
"""


def test_nothing_is_left_when_the_client_is_killed():
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, "has_children"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    client.stdout.readline()
    (worker,) = children(client.pid)
    assert len(members(worker)) == 3
    os.kill(client.pid, signal.SIGKILL)
    client.communicate()
    assert wait_until(lambda: not members(worker))


def test_no_session_is_left_when_the_client_is_killed():
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, "own_session"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    child = int(client.stdout.readline())
    assert members(child) == [child]
    client.kill()
    client.communicate()
    assert wait_until(lambda: not members(child))
