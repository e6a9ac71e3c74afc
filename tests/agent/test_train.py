"""The training command: what it leaves, that it can be stopped anywhere, and what it says when it cannot go on.

"Traceback" in a message counts as a failure throughout: what goes wrong here is no fault of the program.
"""

import json
import re
import resource
import shutil
import socket
import threading
import time
from unittest import mock

import pytest
import yaml
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agent import train as train_module
from agent.provenance import libraries
from agent.run_directory import RunDirectory

from .commands import (
    RESULTS,
    arguments,
    command,
    evaluations,
    failed_with_a_message,
    forked,
    outcome,
    provenance,
    train,
)


def snapshot(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_a_run_leaves_its_results_and_nothing_that_is_live(finished):
    assert {path.name for path in finished.iterdir()} == RESULTS | {"train.log", "tensorboard"}
    rows = evaluations(finished)
    header = "agent_step,env_frame,episode,return,length,success,seed\n"
    assert (finished / "evaluations.csv").read_text().startswith(header)
    assert [(row["agent_step"], row["episode"]) for row in rows] == [(s, e) for s in ("60", "120") for e in "01"]
    assert all(row["length"] == "25" and row["env_frame"] == row["agent_step"] for row in rows)
    assert all(row["success"] in ("0", "1") and 0 < float(row["return"]) < 250 for row in rows)
    assert len({row["seed"] for row in rows}) == len(rows), "each episode of a run is another one"


def test_metrics_tell_losses_and_what_the_harmonizer_made_of_them(finished):
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["agent_step"] for line in lines] == [90, 120, 150]
    last = lines[-1]
    for loss in ("reward", "image", "kl"):
        assert last[f"harmony/{loss}/weight"] == pytest.approx(1 / last[f"harmony/{loss}/sigma"], rel=1e-3)
        assert last[f"harmony/{loss}/sigma"] != 1
    assert {"loss/reward", "loss/image", "loss/kl", "loss/model", "loss/actor", "loss/critic"} <= set(last)
    assert (last["train/length"], last["env_frame"]) == (25, 150)
    board = EventAccumulator(str(finished / "tensorboard")).Reload()
    shown = [(event.step, event.value) for event in board.Scalars("loss/image")]
    assert shown == [(line["env_frame"], pytest.approx(line["loss/image"], rel=1e-6)) for line in lines]
    assert len(board.Scalars("evaluation/return")) == 2


def test_updates_come_at_the_first_step_of_training_and_then_every_n(finished):
    """A benchmarking update and one of pretraining after 60 steps, then one at steps 61, 71, ..., 141."""
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines] == [2 + 3, 2 + 6, 2 + 9]
    assert provenance(finished)["updates"] == 11


def test_provenance_says_what_it_takes_to_do_it_again(finished):
    found, config = provenance(finished), yaml.safe_load((finished / "config.yaml").read_text())
    names = {"benchmark": "distractor", "task": "reach", "method": "harmony_dreamerv2", "variant": "smoke", "seed": 0}
    assert names.items() <= found.items()
    assert names.items() <= config.items()
    assert found["config_digest"] == config["digest"]
    assert (found["agent_steps"], found["env_frames"]) == (150, 150)
    assert (found["env_restarts"], found["skipped_updates"], found["inexact_resumes"]) == (0, 0, 0)
    assert 100 < found["peak_memory_mb"] < 4000
    assert (found["device"], found["gpu"], found["gpu_seconds"], found["threads"]) == ("cpu", None, 0, 1)
    assert found["wall_seconds"] > 0
    assert found["started"] <= found["finished"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", found["code_revision"])
    assert {"torch", "numpy", "gymnasium"} <= set(found["libraries"])
    assert "mujoco" not in found["libraries"]
    assert {"mujoco", "metaworld"} <= set(libraries("metaworld"))
    assert found["command"][:3] == ["python", "-m", "agent.train"]


def test_the_policy_is_what_acting_needs_and_no_more(finished):
    parts = {name.split(".")[1] for name in load_file(finished / "policy.safetensors")}
    assert parts == {"encoder", "rssm", "actor_net"}


def test_a_finished_run_returns_at_once_and_stays_as_it_is(finished, capsys):
    before = snapshot(finished)
    assert train_module.main(arguments(finished)) == 0
    assert "finished already" in capsys.readouterr().out
    assert snapshot(finished) == before


def test_the_same_seed_gives_the_same_run_also_where_lost_results_are_made_again(finished, tmp_path):
    """A workflow engine removes the declared outputs of a run that it starts again, but nothing beside them."""
    shutil.copytree(finished, tmp_path / "again")
    for name in RESULTS:
        (tmp_path / "again" / name).unlink()
    done = train(tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path / "again") == outcome(finished)
    assert len(list((tmp_path / "again/tensorboard").iterdir())) == 1


@pytest.mark.parametrize(
    "stops",
    [
        ["SIGTERM:30", "SIGTERM:80"],  # within the prefill; within an episode
        ["SIGKILL:40", "SIGKILL:135"],  # before the first checkpoint; after it
    ],
    ids=lambda stops: "-".join(stops),
)
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(finished, tmp_path, stops):
    for stop in stops:
        done = train(tmp_path, misbehave=stop)
        assert done.returncode == (75 if "TERM" in stop else -9), done.stderr
        assert "Traceback" not in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"continuing at agent step 1[01]\d", done.stderr)
    assert outcome(tmp_path) == outcome(finished)


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_used(finished, tmp_path):
    assert train(tmp_path, misbehave="SIGTERM:140").returncode == 75
    state = tmp_path / "checkpoint/state"
    for _ in range(2):  # a second damage takes the same name
        newest, older = sorted((path for path in state.iterdir() if path.name.isdecimal()), reverse=True)
        tensors = newest / "tensors"
        tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
        done = train(tmp_path, misbehave="SIGTERM:25")
        assert done.returncode == 75, done.stderr
        assert f"{newest.name} is damaged (wrong checksum of tensors)" in done.stderr
        assert newest.with_suffix(".damaged").is_dir()
        assert older.exists()
    assert train(tmp_path).returncode == 0
    assert outcome(tmp_path) == outcome(finished)


def test_a_simulator_that_does_not_repeat_itself_is_counted(tmp_path):
    assert train(tmp_path, misbehave="forgets:100").returncode == 75
    done = train(tmp_path, misbehave="forgets:1000")
    assert done.returncode == 0, done.stderr
    assert "no longer exact" in done.stderr
    assert provenance(tmp_path)["inexact_resumes"] == 1


def test_a_run_whose_replay_was_damaged_goes_on_without_it_and_says_so(tmp_path):
    assert train(tmp_path, misbehave="SIGTERM:100").returncode == 75
    (chunk,) = (tmp_path / "checkpoint/replay").iterdir()
    damaged = bytearray(chunk.read_bytes())
    damaged[-1] ^= 1
    chunk.write_bytes(damaged)
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"replay chunk {chunk} is damaged: wrong checksum of row" in done.stderr
    found = provenance(tmp_path)
    assert (found["damaged_replay_chunks"], found["inexact_resumes"], found["agent_steps"]) == (1, 1, 150)
    assert len(evaluations(tmp_path)) == 4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--method", "dreamerv2"], "method is 'harmony_dreamerv2' there, 'dreamerv2' was asked for"),
        (["--seed", "1"], "seed is 0 there, 1 was asked for"),
        (["--set", "batch.size=3"], r"batch\.size is 2 there, 3 was asked for"),
        (["--set", "env.contrast=0.5"], r"env\.contrast is None there, 0\.5 was asked for"),
    ],
)
def test_the_directory_of_another_configuration_is_refused(finished, capsys, more, said):
    before = snapshot(finished)
    assert train_module.main(arguments(finished, *more)) == 2
    assert re.search(f"error: run directory .* belongs to another configuration: .*{said}", capsys.readouterr().err)
    assert snapshot(finished) == before


@pytest.mark.parametrize("setting", ["train.checkpoint_every=7", "limits.env_restarts=0"])
def test_settings_that_no_result_depends_on_may_change(finished, setting):
    assert train_module.main(arguments(finished, "--set", setting)) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--seed", "-1"], "--seed -1: a seed is a whole number of at least 0"),
        (["--benchmark", "distracter"], "unknown benchmark 'distracter'. Did you mean 'distractor'?"),
        (["--set", "train.steps=many"], "key train.steps: "),
        (["--device", "cuda"], "--device cuda: torch finds no CUDA device here"),
    ],
)
def test_a_mistake_in_the_arguments_leaves_nothing(tmp_path, capsys, more, said):
    if more[0] == "--device" and train_module.torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert train_module.main(arguments(tmp_path / "run", *more)) == 2
    assert f"error: {said}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_mistake_that_the_environment_finds_can_be_put_right(tmp_path):
    done = train(tmp_path, "--set", "env.size=48")
    assert failed_with_a_message(done, 2), done.stderr
    assert "option size is 48, but must be one of 32, 64" in done.stderr
    retried = train(tmp_path, "--set", "env.size=48", "--attempt", "2")
    assert failed_with_a_message(retried, 2)
    assert "size is 48" in retried.stderr
    assert train(tmp_path, "--set", "env.size=32", "--set", "train.steps=61").returncode == 0


def test_evaluations_may_have_options_of_their_own(tmp_path):
    done = train(tmp_path, "--set", "evaluation.env.time_limit=7")
    assert done.returncode == 0, done.stderr
    assert {row["length"] for row in evaluations(tmp_path)} == {"7"}
    done = forked("agent.evaluate", "--run-dir", tmp_path, "--episodes", 2, "--videos", 0)
    assert done.returncode == 0, done.stderr
    assert [row["length"] for row in evaluations(tmp_path, "final_evaluations.csv")] == ["7", "7"]


def test_evaluations_must_look_like_training(tmp_path):
    done = train(tmp_path, "--set", "evaluation.env.size=64")
    assert failed_with_a_message(done, 2), done.stderr
    assert "evaluation.env changes the observation space" in done.stderr


def test_a_run_that_would_never_train_is_not_called_finished(tmp_path):
    done = train(tmp_path, "--set", "env.time_limit=200")
    assert failed_with_a_message(done, 2), done.stderr
    assert "within train.steps = 150 agent steps there was not one episode that ended" in done.stderr
    assert "after at least replay.min_length = 8 agent steps" in done.stderr
    assert not RunDirectory(tmp_path).finished


def test_what_is_missing_is_said_in_the_words_of_the_replay_that_is_set(tmp_path):
    few = ("train.steps=6", "train.prefill=1")  # 7 rows, where a window has 8
    done = train(tmp_path, "--method", "dreamerv3", *(word for setting in few for word in ("--set", setting)))
    assert failed_with_a_message(done, 2), done.stderr
    assert "agent steps there was not a window of batch.length = 8 rows" in done.stderr


def test_a_directory_in_use_is_refused_and_its_run_left_alone(tmp_path, capsys):
    run = RunDirectory(tmp_path)
    run.live.mkdir()
    with run.lock():
        assert train_module.main(arguments(tmp_path)) == 2
    said = capsys.readouterr().err
    assert f"error: another process is training in {tmp_path}: a process on host {socket.gethostname()}, since" in said
    assert run.permanent_failure() is None


def test_a_run_whose_directory_was_taken_over_stops_without_writing(tmp_path):
    other = json.dumps({"token": "another", "host": "node7", "kernel": "", "since": "2026-11-22T10:00:00+00:00"})
    seen = {}

    def take_over():
        while not (tmp_path / "checkpoint/metrics.jsonl").exists():
            time.sleep(0.01)
        (tmp_path / "checkpoint/lock").write_text(other)
        time.sleep(0.5)
        seen.update(snapshot(tmp_path))

    thread = threading.Thread(target=take_over)
    thread.start()
    done = train(tmp_path, "--set", "train.steps=1500", beat=0.05)
    thread.join()
    assert failed_with_a_message(done, 1), done.stderr
    assert "was taken over by a process on host node7, since 2026-11-22T10:00:00+00:00" in done.stderr
    assert snapshot(tmp_path) == seen
    assert (tmp_path / "checkpoint/lock").read_text() == other


def test_a_run_that_another_process_has_just_finished_is_left_as_it_is(finished, tmp_path):
    """It finished between this command's look at the directory and its taking the lock."""
    shutil.copytree(finished, tmp_path / "run")
    before = outcome(tmp_path / "run")
    run = RunDirectory(tmp_path / "run")
    with mock.patch.object(RunDirectory, "finished", new_callable=mock.PropertyMock, side_effect=[False, True, True]):
        assert train_module.main(arguments(run.path)) == 0
    assert outcome(run.path) == before
    assert not run.live.exists()


def test_results_are_not_taken_for_whole_when_the_last_of_them_is_not(tmp_path):
    run = RunDirectory(tmp_path)
    run.live.mkdir()
    (run.live / "config.yaml").write_text("seed: 0\n")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.finish(b"policy", {"benchmark": "a name that is longer than the limit"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert not run.nearly_finished
    assert not run.finished


def test_results_whose_move_was_cut_short_are_moved_by_the_next_command(finished, tmp_path):
    live = tmp_path / "checkpoint"
    shutil.copytree(finished, live)
    for name in ("config.yaml", "train.log"):
        (live / name).rename(tmp_path / name)
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    assert outcome(tmp_path) == outcome(finished)
    assert not live.exists()


def test_help_and_show_need_no_run_directory(tmp_path):
    done = command("agent.train", *arguments(tmp_path / "run", "--set", "batch.size=3", "--show"))
    assert json.loads(done.stdout)["batch"] == {"size": 3, "length": 8}
    assert not (tmp_path / "run").exists()
