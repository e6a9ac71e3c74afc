"""Every task keeps the contract, and the check tells which do not."""

import json

import cv2
import numpy as np
import pytest

import envs
from envs.check import check, main

ADAPTERS = "tests.envs.adapters"
# Slow: tests/envs/test_simulated.py and test_crafter.py have them.
ELSEWHERE = {"metaworld", "dmc_remastered", "dmc_background", "crafter"}
TASKS = [(b, t) for b in envs.benchmarks() if b not in ELSEWHERE for t in envs.tasks(b)]


@pytest.mark.parametrize(("benchmark", "task"), TASKS)
def test_every_task_keeps_the_contract(benchmark, task):
    result = check(benchmark, task, steps=20)
    if result.status == "cannot_run":
        pytest.skip(result.reason)
    assert (result.status, result.reason) == ("pass", "")
    assert result.frames_per_second > 0
    assert result.reset_seconds > 0
    assert 10 < result.peak_memory_mb < 1000
    assert len(result.pictures) == 8
    assert result.pictures[-1].std() > 5, "there is something to see"


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [
        ("sound", "pass", ""),
        ("needs_simulator", "cannot_run", "a_simulator_that_nobody_has"),
        (
            "raises_in_step",
            "fail",
            'raise RuntimeError("the arm left the table")\nRuntimeError: the arm left the table',
        ),
        ("bare_image", "fail", "the observation is a ndarray, but must be a dict"),
        ("four_values", "fail", "step must return (observation, reward, terminated, truncated, info), not 4 values"),
        ("numpy_success", "fail", "'success' is a NumPy bool"),
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
def test_the_check_finds_what_is_wrong(task, status, said):
    result = check("misbehaving", task, steps=30, adapters=ADAPTERS)
    assert (result.status, said in result.reason) == (status, True), result.reason
    assert "restarts" not in result.reason


def test_the_adapters_line_is_told_of_a_fault_deep_in_its_simulator(capsys, tmp_path):
    main(["misbehaving/fails_deep_down", "--adapters", ADAPTERS, "--frames", str(tmp_path)])
    said = capsys.readouterr().out
    assert "JSONDecodeError: Expecting property name" in said
    assert "tests/envs/adapters/misbehaving.py" in said
    assert 'json.loads("{" * 3)' in said


def test_an_environment_that_never_ends_passes_with_a_note():
    result = check("misbehaving", "never_ends", steps=30, adapters=ADAPTERS)
    assert (result.status, result.note) == ("pass", "no episode ended within 30 steps")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("score: success", "`score: success`, but info has no `success`"),
        ("env: {colour: red}", "unknown option of misbehaving 'colour'"),
        ("tasks: {sound: {env: {colour: red}}}", "unknown option of misbehaving 'colour'"),
        ("tasks: [sound]", "tasks is ['sound'], but must be keys and values"),
        ("env: {brightness: blinding}\ntasks: {sound: {env: {}}}", "brightness is 'blinding'"),
        ("env: {brightness: 1e-1}\ntasks: {sound: {env: {brightness: 1}}}", ""),
        ("env: {brightness: 1e-1}\ntasks: {raises_in_step: {env: {brightness: blinding}}}", ""),
    ],
)
def test_the_environment_is_the_one_that_the_settings_describe(settings, said, lenient):
    (lenient / "misbehaving.yaml").write_text(settings)
    result = check("misbehaving", "sound", steps=30, adapters=ADAPTERS, settings=lenient)
    assert (result.status, said in result.reason) == ("fail" if said else "pass", True), result.reason
    if not said:
        assert (
            check("misbehaving", "sound", options={"brightness": 2}, adapters=ADAPTERS, settings=lenient).status
            == "fail"
        )


@pytest.fixture
def lenient(tmp_path):
    """A folder with settings that declare the misbehaving benchmark not deterministic."""
    (tmp_path / "misbehaving.yaml").write_text("deterministic: false\n")
    return tmp_path


@pytest.mark.parametrize(
    ("task", "note"),
    [
        ("unseeded", "not deterministic, as declared"),
        ("process_dependent", "not deterministic, as declared"),
        ("sound", "declared not deterministic, but repeated itself over 30 steps"),
    ],
)
def test_what_is_declared_not_deterministic_passes_and_is_told(task, note, lenient):
    result = check("misbehaving", task, steps=30, adapters=ADAPTERS, settings=lenient)
    assert (result.status, result.note) == ("pass", note)


def test_a_wrong_declaration_is_told(lenient):
    (lenient / "misbehaving.yaml").write_text("deterministic: sometimes\n")
    result = check("misbehaving", "sound", adapters=ADAPTERS, settings=lenient)
    assert result.status == "fail"
    assert "deterministic is 'sometimes', but must be true or false" in result.reason


def test_the_declared_interpreter_is_used(lenient):
    (lenient / "misbehaving.yaml").write_text("worker: {python: /nowhere/python}\n")
    result = check("misbehaving", "sound", adapters=ADAPTERS, settings=lenient)
    assert "'/nowhere/python' cannot be run" in result.reason


def test_a_slow_environment_is_checked_with_fewer_steps(monkeypatch):
    monkeypatch.setattr("envs.check.CHECK_SECONDS", 0.1)
    fast, slow = (check("misbehaving", task, adapters=ADAPTERS).steps for task in ("sound", "slow"))
    assert fast > slow == 10


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
    assert first["peak_memory_mb"] > 10
    assert "1/2" in shown
    assert main([*names, "misbehaving/dies_when_made", *arguments]) == 1
    assert len(json.loads(report.read_text())) == 3


def test_the_contact_sheet_shows_an_episode_of_each_task(tmp_path):
    arguments = ["--adapters", ADAPTERS, "--frames", str(tmp_path), "--steps", "15"]
    assert main(["misbehaving/sound", "misbehaving/needs_simulator", "misbehaving/accepts_anything", *arguments]) == 1
    sheet = cv2.imread(str(tmp_path / "misbehaving.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["misbehaving.png"]
    rows = sheet[: sheet.shape[0] // 2], sheet[sheet.shape[0] // 2 :]
    for row in rows:
        label, frames = row[:18], row[18:-2]
        assert (label < 100).any(), "its name"
        assert frames.shape == (128, 8 * 130, 3)
        assert frames[:, :128].std() > 20
    first_pixel = [int(rows[0][18 + 8, 130 * index + 8, 0]) for index in range(8)]
    assert first_pixel == sorted(first_pixel), "it counts the steps"
    assert first_pixel[0] < first_pixel[-1]


def test_options_are_given_by_benchmark(tmp_path, capsys):
    arguments = ["distractor/reach", "--steps", "10", "--frames", str(tmp_path)]
    assert main([*arguments, "--set", "distractor.size=64", "--set", "distractor.distraction=1"]) == 0
    picture = cv2.imread(str(tmp_path / "distractor.png"))
    main(arguments)
    assert not np.array_equal(picture, cv2.imread(str(tmp_path / "distractor.png")))
    assert main([*arguments, "--set", "distractor.size=48"]) == 1
    assert "option size is 48, but must be one of 32, 64" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a BENCHMARK"),
        (["--all", "atari100k"], "name a BENCHMARK"),
        (["atari"], "Did you mean 'atari100k'"),
        (["distractor", "--set", "size=64"], "--set takes BENCHMARK.OPTION=VALUE"),
        (["distractor", "--set", "distractor.sizes=64"], "Did you mean 'size'"),
        (["distractor", "--set", "metaworld.rendering=fast"], "--set names metaworld, which is not checked"),
        (["atari100k/pogn"], "Did you mean 'pong'"),
        (["distractor", "--frames", "/proc/nowhere", "--steps", "1"], "cannot write /proc/nowhere"),
        (["distractor", "--json", "/proc/nowhere", "--steps", "1"], "cannot write /proc/nowhere"),
        (["distractor", "--steps", "0"], "--steps is 0"),
    ],
)
def test_a_mistake_exits_with_2_and_a_message(arguments, said, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
