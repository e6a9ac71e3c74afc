"""The evaluation command: the same episodes each time, films that play, and only runs that are finished and whole."""

import shutil

import av
import pytest
from safetensors.numpy import load_file, save_file

from .commands import command, evaluations, failed_with_a_message, forked, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, evaluated with two films."""
    directory = tmp_path_factory.mktemp("runs") / "seed_0"
    assert train(directory).returncode == 0
    done = evaluate(directory, 3, 2)
    assert done.returncode == 0, done.stderr
    assert "over 3 episodes" in done.stdout
    return directory


def evaluate(directory, episodes, videos=0):
    options = ("--run-dir", directory, "--episodes", episodes, "--videos", videos, "--device", "cpu")
    return forked("agent.evaluate", *options)


def test_each_episode_is_a_row_of_the_final_policy(run):
    rows = evaluations(run, "final_evaluations.csv")
    assert [(row["agent_step"], row["env_frame"], row["episode"]) for row in rows] == [("150", "150", e) for e in "012"]
    assert all(row["length"] == "25" and row["success"] in "01" for row in rows)
    seeds = [row["seed"] for row in rows + evaluations(run)]
    assert len(set(seeds)) == len(seeds), "no episode that training has evaluated is played again"


def test_films_show_every_picture_of_their_episode(run):
    assert sorted(path.name for path in (run / "videos").iterdir()) == ["episode_0.mp4", "episode_1.mp4"]
    with av.open(str(run / "videos/episode_0.mp4")) as film:
        stream = film.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    assert len(frames) == 26, "the first picture and one for each step"
    assert frames[0].shape == (256, 256, 3)
    assert abs(frames[0].astype(int) - frames[-1]).max() > 50, "something moves"
    assert frames[0].std() > 10


def test_the_same_command_gives_the_same_file_also_after_one_that_was_killed(run, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(run, again)
    (again / "final_evaluations.csv").unlink()
    (again / ".final_evaluations.tmp.csv").write_text("what a killed process\nhad written\n")
    done = command("agent.evaluate", "--run-dir", again, "--episodes", 3, "--videos", 0, "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert (again / "final_evaluations.csv").read_bytes() == (run / "final_evaluations.csv").read_bytes()
    assert not (again / ".final_evaluations.tmp.csv").exists()


def test_more_episodes_begin_with_the_same_ones(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    assert evaluate(tmp_path / "run", 5).returncode == 0
    assert evaluations(tmp_path / "run", "final_evaluations.csv")[:3] == evaluations(run, "final_evaluations.csv")


def test_an_unfinished_run_is_refused(tmp_path):
    assert train(tmp_path, misbehave="SIGTERM:80").returncode == 75
    done = evaluate(tmp_path, 1)
    assert failed_with_a_message(done, 2), done.stderr
    assert f"{tmp_path} is not a finished run: train it first" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(("episodes", "videos"), [(0, 0), (1, -1)])
def test_wrong_counts_are_refused(run, episodes, videos):
    done = evaluate(run, episodes, videos)
    assert failed_with_a_message(done, 2), done.stderr
    assert f"--episodes {episodes} --videos {videos}: at least 1 and at least 0" in done.stderr


def without_a_layer(path):
    tensors = load_file(path)
    del tensors["behavior.actor_net.out.out.weight"]
    save_file(tensors, path)


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "said"), [(without_a_layer, r"actor_net.out.out.weight"), (cut, "policy.safetensors")]
)
def test_a_policy_that_is_not_whole_is_refused(run, tmp_path, damage, said):
    """Played all the same, it would be a random policy's return under the name of a trained one's."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run/final_evaluations.csv").unlink()
    damage(tmp_path / "run/policy.safetensors")
    done = evaluate(tmp_path / "run", 1)
    assert failed_with_a_message(done, 2), done.stderr
    assert said in done.stderr
    assert "train it again" in done.stderr
    assert not (tmp_path / "run/final_evaluations.csv").exists()


def test_the_settings_of_another_version_are_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run/config.yaml"
    path.write_text(path.read_text().replace("precision: float32", "precision: float8"))
    done = evaluate(tmp_path / "run", 1)
    assert failed_with_a_message(done, 2), done.stderr
    assert "key precision" in done.stderr
    assert str(path) in done.stderr
