"""Every task keeps the contract, and the check tells which do not."""

import json

import cv2
import pytest

import envs
from envs.check import check, main

ADAPTERS = "tests.envs.adapters"
SIMULATED = {"metaworld", "dmc_remastered", "dmc_background"}  # slow to render: tests/envs/test_simulated.py
TASKS = [(b, t) for b in envs.benchmarks() if b not in SIMULATED for t in envs.tasks(b)]


@pytest.mark.parametrize(("benchmark", "task"), TASKS)
def test_every_task_keeps_the_contract(benchmark, task, tmp_path):
    result = check(benchmark, task, tmp_path, steps=20)
    if result.status == "cannot_run":
        pytest.skip(result.reason)
    assert (result.status, result.reason) == ("pass", "")
    assert result.frames_per_second > 0
    assert result.reset_seconds > 0
    image = cv2.imread(result.frame)
    assert image.std() > 5, "there is something to see"


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [
        ("sound", "pass", ""),
        ("needs_simulator", "cannot_run", "a_simulator_that_nobody_has"),
        ("raises_in_step", "fail", "the arm left the table"),
        ("segfaults_in_step", "fail", "SIGSEGV"),
        ("dies_when_made", "fail", "no display"),
        ("wrong_shape", "fail", "(8, 9, 3)"),
        ("wrong_space", "fail", "Dict"),
        ("wide_actions", "fail", "Box(-1, 1, (n,))"),
        ("infinite_reward", "fail", "reward is inf"),
        ("unspeakable_info", "fail", "JSON-able"),
        ("unseeded", "fail", "does not start the same episode again"),
        ("process_dependent", "fail", "in a fresh process"),
        ("aliased", "fail", "changed after it was handed out"),
        ("accepts_anything", "fail", "was accepted, but must be a ValueError"),
        ("terminates_at_time_limit", "fail", "both terminated and truncated"),
    ],
)
def test_the_check_finds_what_is_wrong(task, status, said, tmp_path):
    result = check("misbehaving", task, tmp_path, steps=30, adapters=ADAPTERS)
    assert (result.status, said in result.reason) == (status, True), result.reason


def test_the_command_reports_to_screen_file_and_exit_code(tmp_path, capsys):
    report = tmp_path / "new/check.json"
    names = ["misbehaving/sound", "misbehaving/needs_simulator"]
    arguments = ["--adapters", ADAPTERS, "--frames", str(tmp_path / "frames"), "--json", str(report)]
    assert main([*names, *arguments]) == 0
    shown = capsys.readouterr().out
    assert "pass" in shown
    assert "cannot_run" in shown
    first, second = json.loads(report.read_text())
    assert (first["task"], first["status"], second["status"]) == ("sound", "pass", "cannot_run")
    assert cv2.imread(first["frame"]).shape == (8, 8, 3)
    assert main([*names, "misbehaving/dies_when_made", *arguments]) == 1
    assert len(json.loads(report.read_text())) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a BENCHMARK"),
        (["--all", "atari100k"], "name a BENCHMARK"),
        (["atari"], "Did you mean 'atari100k'"),
        (["atari100k/pogn"], "Did you mean 'pong'"),
        (["distractor", "--frames", "/proc/nowhere"], "cannot write /proc/nowhere"),
    ],
)
def test_a_mistake_exits_with_2_and_a_message(arguments, said, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
