"""A run that is stopped wherever it hurts ends with the very bits of one that was not, whatever its method."""

import json

import pytest
import torch

import envs
from agent import snapshot
from agent.config import names, resolve
from agent.loop import Loop
from envs.worker import RestartBudget

from .presets import METHODS
from .small import CPU

PLACES = {"distractor": "reach", "atari100k": "pong"}
SETTINGS = (
    "train.steps=112", "train.pretrain=2",
    "evaluation.every=50", "evaluation.episodes=1", "evaluation.initial=true", "evaluation.from_start=false",
)  # fmt: skip


class Killed(Exception):  # noqa: N818
    """The process is gone: nothing more is saved."""


def kill(loop):
    raise Killed


# Where the run of 112 steps is left, one after the other. It is evaluated at steps 60 and 110, saved every 50.
STOPS = {
    "in the prefill": lambda loop: loop.progress.step == 30,
    "between two updates of the pretraining": lambda loop: loop.progress.pretraining == 1,
    "within an evaluation": lambda loop: loop.eval_driver.steps == 3,
    "just after an evaluation": lambda loop: (
        loop.eval_driver.next and loop.progress.next_evaluation > loop.progress.step
    ),
    "within an episode": lambda loop: loop.progress.step == 97,
    "killed after a checkpoint": lambda loop: loop.progress.step == 108 and kill(loop),
    "within the last evaluation": lambda loop: loop.progress.step == 110 and loop.eval_driver.steps == 7,
}


def start(config, directory):
    """A run in this process, its environments too."""
    torch.seed()  # nothing may depend on the global generator
    directory.mkdir(exist_ok=True)
    budget = RestartBudget(config.limits.env_restarts)
    return Loop(config, 0, directory, CPU, lambda _: envs.make(config.benchmark, config.task, 5, **config.env), budget)


def go_on(loop, stop):
    """Whether the run was left by `stop`."""
    try:
        return not loop.run(lambda: bool(stop(loop)))
    except Killed:
        return True
    finally:
        loop.close()


def outcome(loop):
    """All that a run has found and is, without the time it took."""
    tensors, learner = snapshot.take(loop.agent, loop.carry, loop.actor)
    lines = [json.loads(line) for line in loop.records.metrics_path.read_text().splitlines()]
    timeless = [{k: v for k, v in line.items() if k != "wall_seconds" and "speed/" not in k} for line in lines]
    return tensors, (learner, timeless, loop.records.evaluations_path.read_text(), loop.replay.state())


@pytest.mark.parametrize(("share", "checkpoints"), [(0.02, 2), (1e-9, 1)])
def test_a_disk_that_is_slow_gets_fewer_checkpoints(tmp_path, monkeypatch, share, checkpoints):
    """Those of this run take a few hundredths of a second: too long for a share of a billionth."""
    monkeypatch.setattr("agent.loop.SOON", 0.0 if share < 0.02 else 60.0)
    monkeypatch.setattr("agent.loop.SHARE", share)
    loop = start(resolve("distractor", "reach", "dreamerv2", "smoke", SETTINGS), tmp_path)
    assert not go_on(loop, lambda loop: False)
    assert len(list((tmp_path / "state").iterdir())) == checkpoints


@pytest.mark.parametrize(
    ("benchmark", "method"),
    [("distractor", name) for name in names("methods")] + [("atari100k", name) for name in METHODS],
)
def test_a_stopped_run_ends_with_the_bits_of_one_that_was_not(tmp_path, benchmark, method):
    shorter = ["env.frame_cap=100"] if benchmark == "atari100k" else []
    config = resolve(benchmark, PLACES[benchmark], method, "smoke", (*SETTINGS, *shorter))
    undisturbed = start(config, tmp_path / "whole")
    assert not go_on(undisturbed, lambda loop: False)
    for where, stop in STOPS.items():
        assert go_on(start(config, tmp_path / "stopped"), stop), f"the run was not left {where}"
    stopped = start(config, tmp_path / "stopped")
    assert not go_on(stopped, lambda loop: False)

    (expected, expected_rest), (found, found_rest) = outcome(undisturbed), outcome(stopped)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []
    assert found_rest == expected_rest
    assert stopped.progress.inexact_resumes == 0
