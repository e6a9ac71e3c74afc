"""A disk or an environment that fails ends a run with a message and an exit code, and it goes on when they work."""

import contextlib
import ctypes
import os
import re
import shutil
import subprocess

import pytest

from agent.run_directory import RunDirectory

from .commands import arguments, command, evaluations, failed_with_a_message, outcome, provenance, train


def without_privileges():
    """Root may write anywhere; take from the process to come what allows it."""
    if os.geteuid() == 0:
        drop_from_bounding_set, may_override = 24, (1, 2)  # PR_CAPBSET_DROP; CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        for capability in may_override:
            if ctypes.CDLL(None).prctl(drop_from_bounding_set, capability, 0, 0, 0):
                raise OSError("cannot drop capabilities")


@pytest.mark.parametrize("existing", [False, True])
def test_a_read_only_results_directory_is_told(tmp_path, existing):
    directory = tmp_path / "run" if existing else tmp_path / "results" / "run"
    directory.parent.mkdir(exist_ok=True)
    if existing:
        directory.mkdir()
    closed = directory if existing else directory.parent
    closed.chmod(0o555)
    try:
        done = command("agent.train", *arguments(directory), preexec_fn=without_privileges)
    except subprocess.SubprocessError:
        pytest.skip("this machine's root cannot do without its privileges")
    finally:
        closed.chmod(0o755)
    assert failed_with_a_message(done, 2), done.stderr
    assert f"cannot write the run directory {directory}: " in done.stderr
    assert "Permission denied" in done.stderr
    assert list(closed.iterdir()) == []


def test_a_finished_run_in_a_read_only_directory_is_finished(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run").chmod(0o555)
    try:
        done = command("agent.train", *arguments(tmp_path / "run"), preexec_fn=without_privileges)
    except subprocess.SubprocessError:
        pytest.skip("this machine's root cannot do without its privileges")
    finally:
        (tmp_path / "run").chmod(0o755)
    assert done.returncode == 0, done.stderr


def test_files_that_cannot_grow_end_a_run_with_a_message_and_it_starts_again(finished, tmp_path):
    done = train(tmp_path, largest_file=100_000)  # enough for an episode, not for a checkpoint
    assert failed_with_a_message(done, 1), done.stderr
    assert "File too large" in done.stderr
    assert f"{tmp_path}" in done.stderr
    assert "run the same command again" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert train(tmp_path).returncode == 0
    assert outcome(tmp_path) == outcome(finished)


@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_run_goes_on_after_the_disk_was_full(finished, tmp_path):
    with small_disk(tmp_path / "disk", "8m") as disk:
        assert train(disk / "run", "--no-preflight", misbehave="SIGKILL:135").returncode == -9
        with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            for _ in range(10_000):
                filler.write(bytes(1024))
        for _ in range(2):
            done = train(disk / "run", "--no-preflight")
            assert failed_with_a_message(done, 1), done.stderr
            assert f"{disk}" in done.stderr
            assert "No space left on device" in done.stderr
            assert [path.name for path in (disk / "run").iterdir()] == ["checkpoint"]
            os.truncate(disk / "filler", (disk / "filler").stat().st_size - 3 * 4096)  # room to fail a little later
        refused = train(disk / "run")
        assert failed_with_a_message(refused, 2)
        assert re.search(r"needs about \d+ MB of disk, but 0 MB are free on the disk of .*run", refused.stderr)
        (disk / "filler").unlink()
        assert train(disk / "run", "--no-preflight").returncode == 0
        assert outcome(disk / "run") == outcome(finished)


@pytest.mark.parametrize("how", ["crashes", "hangs"])
def test_an_environment_that_fails_is_started_again_and_counted(tmp_path, how):
    done = train(tmp_path, "--set", "evaluation.episodes=1", misbehave=f"{how}:110")
    assert done.returncode == 0, done.stderr
    assert "restart 1 of 10" in done.stderr
    found = provenance(tmp_path)
    assert (found["env_restarts"], found["agent_steps"]) == (1, 150)
    assert len(evaluations(tmp_path)) == 2


def test_an_environment_that_fails_too_often_ends_the_run_with_a_message(tmp_path):
    done = train(tmp_path, "--set", "limits.env_restarts=3", misbehave="crashes:2")
    assert failed_with_a_message(done, 1), done.stderr
    assert "ended with exit code 3 during step, and its budget of 3 restarts is used up" in done.stderr
    assert not RunDirectory(tmp_path).finished


def test_the_budget_of_restarts_is_the_runs_and_can_be_raised(tmp_path):
    once = ("--set", "evaluation.episodes=1", "--set", "limits.env_restarts=2")
    done = train(tmp_path, *once, misbehave="crashes:40")  # at steps 40 and 80, and after the checkpoint at 100
    assert failed_with_a_message(done, 1), done.stderr
    retried = train(tmp_path, *once, "--attempt", "2")
    assert failed_with_a_message(retried, 2)
    assert "its budget of 2 restarts is used up" in retried.stderr
    continued = train(tmp_path, *once, misbehave="crashes:30")  # not while it plays the episode under way again
    assert failed_with_a_message(continued, 1)
    assert "continuing at agent step 1" in continued.stderr
    assert "restart 1" not in continued.stderr
    done = train(tmp_path, *once, "--set", "limits.env_restarts=3")
    assert done.returncode == 0, done.stderr
    assert provenance(tmp_path)["env_restarts"] == 2


def test_an_environment_that_breaks_its_contract_ends_the_run_with_a_message(tmp_path):
    done = train(tmp_path, misbehave="wrong_shape:5")
    assert failed_with_a_message(done, 1), done.stderr
    assert "'image' is uint8 (31, 32, 3), but its space says uint8 (32, 32, 3)" in done.stderr
    assert "tests/agent/adapters/distractor.py" in done.stderr


def test_an_interpreter_of_the_worker_that_is_not_there_is_told(tmp_path):
    done = train(tmp_path, "--set", "worker.python=/nowhere/python")
    assert failed_with_a_message(done, 2), done.stderr
    assert "'/nowhere/python' cannot be run" in done.stderr
    assert "set worker.python (config/benchmarks/<benchmark>.yaml, or --set)" in done.stderr
