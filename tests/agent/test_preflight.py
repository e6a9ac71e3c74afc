"""What a run is said to need, against what the networks have and what a run took."""

import re

import gymnasium
import numpy as np
import pytest

from agent import preflight, sizes
from agent import train as train_module
from agent.agent import Agent
from agent.config import resolve
from envs.errors import UserError

from .commands import arguments, provenance

PLACES = [
    ("metaworld", "hammer", "dreamerv2"),
    ("metaworld", "hammer", "dreamerv3"),
    ("rlbench", "push_button", "dreamerv2"),
    ("dmc_remastered", "walker_run", "harmony_dreamerv2"),
    ("atari100k", "pong", "dreamerv3"),
    ("atari100k", "pong", "dreamerv2"),
    ("distractor", "reach", "dreamerv3_torch"),
    ("minecraft", "hunt_cow", "dreamerv3_torch_clean"),
]


@pytest.mark.parametrize("place", PLACES, ids="-".join)
def test_parameters_are_counted_as_the_networks_have_them(place):
    config = resolve(*place, "smoke")
    side = sizes.image_side(config)
    image = gymnasium.spaces.Box(0, 255, (side, side, sizes.CHANNELS), np.uint8)
    action = gymnasium.spaces.Discrete(sizes.ACTIONS)
    agent = Agent(config, gymnasium.spaces.Dict({"image": image}), action)
    harmonizers = len(config.world_model.harmonizer.losses)
    found = sizes.network(config)
    assert found.parameters + harmonizers == sum(p.numel() for p in agent.parameters())
    assert found.trained + harmonizers == sum(p.numel() for p in agent.parameters() if p.requires_grad)


def test_papers_presets_have_the_paper_networks_parameters():
    """Those of docs/performance.md, which were counted with Atari's six actions."""
    for place, count in ((PLACES[0], 29_736_875), (PLACES[4], 17_922_952)):
        assert sizes.network(resolve(*place, "paper")).trained == pytest.approx(count, rel=1e-3)


def test_a_run_took_what_was_estimated(finished):
    needs = preflight.estimate(resolve("distractor", "reach", "harmony_dreamerv2", "smoke"), "cpu")
    own = needs.memory_mb - 2 * preflight.SIMULATOR["distractor"]  # of the training process alone
    assert 0.6 * own < provenance(finished)["peak_memory_mb"] < 1.25 * own


def test_the_estimate_grows_with_what_it_depends_on():
    base = preflight.estimate(resolve(*PLACES[0], "paper"), "cpu")
    longer = preflight.estimate(resolve(*PLACES[0], "paper", ["train.steps=510000"]), "cpu")
    assert longer.replay_mb == pytest.approx(2 * base.replay_mb, abs=1)
    assert base.replay_mb == pytest.approx(255_000 * (64 * 64 * 3 + 128) / 2**20, abs=1)
    larger = preflight.estimate(resolve(*PLACES[0], "paper", ["batch.size=100"]), "cpu")
    assert larger.memory_mb > 1.5 * base.memory_mb
    gpu = preflight.estimate(resolve(*PLACES[0], "paper"), "cuda")
    assert base.gpu_mb == 0 < gpu.gpu_mb
    assert gpu.memory_mb < base.memory_mb, "activations are on the GPU"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["train.steps=1000000000", "replay.capacity=1000000000"], r"needs about [\d,]+ MB of disk"),
        (["batch.size=1000000"], r"needs about [\d,]+ MB of main memory"),
    ],
)
def test_a_run_that_cannot_fit_is_refused_before_it_begins(tmp_path, capsys, more, said):
    options = [word for setting in more for word in ("--set", setting)]
    assert train_module.main(arguments(tmp_path / "run", *options)) == 2
    message = capsys.readouterr().err
    assert re.search(said, message)
    assert "--no-preflight" in message
    assert not (tmp_path / "run").exists()


def test_memory_of_a_gpu_is_looked_at(tmp_path):
    needs = preflight.estimate(resolve(*PLACES[0], "paper"), "cuda")
    with pytest.raises(UserError, match=r"MB of GPU memory, but 100 MB are free"):
        preflight.check(needs, tmp_path, 100)


def test_the_estimate_is_printed_without_a_run_directory(tmp_path, capsys):
    assert train_module.main(arguments(tmp_path / "run", "--estimate")) == 0
    assert "main memory" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
