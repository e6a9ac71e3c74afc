"""The agent learns the easy task, far above chance, and by the means that it should.

Each outcome is out of reach for an agent with one part broken: without the reward's gradient, the return stays low;
with actions shifted by a step, the model does not know what an action does; without a bootstrap in the critic's target,
values stay within the imagined horizon; without the reset at an episode's start, the last one leaks into its states.
"""

import csv
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from agent.agent import Agent, PolicyCarry
from agent.evaluate import load_config
from agent.noise import Noise
from agent.rssm import State
from envs import make

METHODS = ("dreamerv2", "harmony_dreamerv2", "harmony_dreamerv3")
STEPS = 3000  # agent steps
RANDOM = 30.0  # a bound on the return before learning; the random policy has about 19 in the mean
GOOD = 65.0  # the best policies reach about 220
MAX_REWARD = 10.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A trained run of each method, trained side by side, one thread each."""
    directories = {method: tmp_path_factory.mktemp(method) for method in METHODS}
    command = [
        sys.executable,
        "-m",
        "agent.train",
        "--benchmark",
        "distractor",
        "--task",
        "reach",
        "--variant",
        "paper",
    ]
    command += ["--seed", "0", "--device", "cpu", "--set", f"train.steps={STEPS}"]
    processes = [
        subprocess.Popen([*command, "--method", method, "--run-dir", str(path)], stderr=subprocess.DEVNULL)
        for method, path in directories.items()
    ]
    assert [process.wait() for process in processes] == [0] * len(METHODS)
    return directories


@pytest.mark.learning
@pytest.mark.timeout(900)
@pytest.mark.parametrize("method", METHODS)
def test_return_rises_far_above_chance(runs: dict[str, Path], method: str) -> None:
    returns = defaultdict(list)
    with (runs[method] / "evaluations.csv").open() as file:
        for row in csv.DictReader(file):
            returns[int(row["agent_step"])].append(float(row["return"]))
    means = [sum(values) / len(values) for _, values in sorted(returns.items())]
    assert means[0] < RANDOM
    assert sum(means[-2:]) / 2 > GOOD, f"mean returns over training: {means}"


@pytest.mark.learning
@pytest.mark.parametrize("method", METHODS)
def test_values_reach_beyond_the_imagined_horizon(runs: dict[str, Path], method: str) -> None:
    config, _ = load_config(runs[method] / "config.yaml")
    last = json.loads((runs[method] / "metrics.jsonl").read_text().splitlines()[-1])
    within = MAX_REWARD * config.behavior.horizon
    assert last["behavior/value"] > within, f"no more than {within} can come from the imagined steps alone"


class Played:
    """The final policy of a run in an environment of its own, for what its world model makes of it."""

    def __init__(self, directory: Path):
        config, _ = load_config(directory / "config.yaml")
        self.env = make("distractor", "reach", 0, **config.env)
        self.agent = Agent(config, self.env.observation_space, self.env.action_space)  # type: ignore[arg-type]
        self.agent.load_state_dict(load_file(directory / "policy.safetensors"), strict=False)
        self.noise = Noise(0, torch.device("cpu"))

    def observe(self, picture: Any, state: State, action: Tensor, *, first: bool, number: int) -> State:
        image = torch.as_tensor(picture["image"]).permute(2, 0, 1)[None]
        embed = self.agent.world_model.encoder(self.agent.world_model.preprocess({"image": image}))
        is_first = torch.full((1,), float(first))
        return self.agent.world_model.rssm.observe_step(state, action, embed, is_first, self.latent_noise(number))

    def latent_noise(self, number: int) -> Tensor:
        return self.noise.draw("test", number, self.agent.policy_noise(1))["latent"]


@pytest.mark.learning
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_the_model_knows_what_an_action_does(runs: dict[str, Path], method: str) -> None:
    """What comes after a random action surprises a prior that was told the action less than one told the opposite."""
    played, rng, surprise = Played(runs[method]), np.random.default_rng(0), {1: 0.0, -1: 0.0}
    rssm = played.agent.world_model.rssm
    for episode in range(10):
        carry = played.agent.initial_policy_carry(1)
        state = played.observe(played.env.reset(seed=episode)[0], *carry, first=True, number=0)
        for step in range(1, 26):
            action = torch.as_tensor(rng.uniform(-1, 1, (1, 2)), dtype=torch.float32)
            told = {sign: rssm.imagine_step(state, sign * action, played.latent_noise(0)).logit for sign in surprise}
            state = played.observe(played.env.step(action[0].numpy())[0], state, action, first=False, number=step)
            for sign, prior in told.items():
                kl = rssm.distribution(state.logit).kl(rssm.distribution(prior))
                surprise[sign] += float(kl.sum())
    assert surprise[1] < 0.85 * surprise[-1]


@pytest.mark.learning
@pytest.mark.parametrize("method", METHODS)
def test_an_episode_starts_without_the_last_one(runs: dict[str, Path], method: str) -> None:
    played = Played(runs[method])
    image = torch.as_tensor(played.env.reset(seed=0)[0]["image"]).permute(2, 0, 1)[None]
    obs = {"image": image, "is_first": torch.ones(1)}
    fresh = played.agent.initial_policy_carry(1)
    stale = PolicyCarry(State(*(torch.rand_like(x) for x in fresh.state)), torch.rand_like(fresh.action))
    noise = played.noise.draw("test", 0, played.agent.policy_noise(1))
    states = [played.agent.policy(obs, carry, noise, "mode")[1].state for carry in (fresh, stale)]
    assert torch.equal(states[0].deter, states[1].deter)
