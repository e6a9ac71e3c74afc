"""Runs of DreamerV3: evaluated at the agent steps at which the authors' code evaluates them, and exact when stopped."""

import pytest

from agent.config import resolve

from .commands import evaluations, outcome, train


def schedule(benchmark, task, method):
    """The agent steps of a run's evaluations, by its settings."""
    config = resolve(benchmark, task, method, "paper")
    step = config.evaluation.first(config.train.prefill)
    while step <= config.train.steps:
        yield step
        step = config.evaluation.after(step)


@pytest.mark.parametrize(
    ("benchmark", "task", "method", "expected"),
    [
        # The JAX code: at multiples of n; its setting eval_initial is off on Atari and on elsewhere.
        ("atari100k", "pong", "dreamerv3", range(5_000, 100_001, 5_000)),
        ("metaworld", "hammer", "dreamerv3", [5_300, *range(10_000, 250_001, 10_000)]),
        # The torch code: an evaluation, then n steps, from the end of the prefill.
        ("metaworld", "hammer", "dreamerv2", range(5_000, 255_001, 10_000)),
        ("minecraft", "hunt_cow", "dreamerv3_torch", range(2_000, 1_002_001, 10_000)),
        ("dmc_remastered", "walker_run", "dreamerv2", range(1_000, 502_000, 10_000)),
    ],
)
def test_the_papers_runs_are_evaluated_as_the_authors_are(benchmark, task, method, expected):
    assert list(schedule(benchmark, task, method)) == list(expected)


DREAMERV3 = ("--method", "harmony_dreamerv3")


@pytest.mark.parametrize(
    ("initial", "from_start", "expected"),
    [
        (False, True, [80, 120]),
        (True, True, [60, 80, 120]),
        (False, False, [100, 140]),
    ],
)
def test_a_run_is_evaluated_by_its_schedule(tmp_path, initial, from_start, expected):
    chosen = {"every": 40, "episodes": 1, "initial": initial, "from_start": from_start}
    settings = [f"evaluation.{key}={str(value).lower()}" for key, value in chosen.items()]
    done = train(tmp_path, *DREAMERV3, *(word for setting in settings for word in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    assert [int(row["agent_step"]) for row in evaluations(tmp_path)] == expected


def test_a_run_that_replays_windows_goes_on_after_a_stop_as_if_it_had_never_stopped(tmp_path):
    """Its windows lie in the episode under way, too, which the prefill does not end here."""
    assert train(tmp_path / "whole", *DREAMERV3).returncode == 0
    for stop in ("SIGTERM:80", "SIGTERM:40"):
        done = train(tmp_path / "stopped", *DREAMERV3, misbehave=stop)
        assert done.returncode == 75, done.stderr
    assert train(tmp_path / "stopped", *DREAMERV3).returncode == 0
    assert outcome(tmp_path / "stopped") == outcome(tmp_path / "whole")
