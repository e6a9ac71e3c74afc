"""The agent learns the easy task, far above chance, and by the means that it should.

Each outcome is out of reach for an agent with one part broken: without the reward's gradient, or with actions shifted
by a step, the return stays low; without a bootstrap in the critic's target, values stay within the imagined horizon;
without the reset at an episode's start, the last episode leaks into the first action.
"""

import csv
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

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


@pytest.mark.learning
@pytest.mark.parametrize("method", METHODS)
def test_an_episode_starts_without_the_last_one(runs: dict[str, Path], method: str) -> None:
    config, _ = load_config(runs[method] / "config.yaml")
    env = make("distractor", "reach", 0, **config.env)
    agent = Agent(config, env.observation_space, env.action_space)  # type: ignore[arg-type]
    agent.load_state_dict(load_file(runs[method] / "policy.safetensors"), strict=False)
    image = torch.as_tensor(env.reset(seed=0)[0]["image"]).permute(2, 0, 1)[None]
    obs = {"image": image, "is_first": torch.ones(1)}
    fresh = agent.initial_policy_carry(1)
    stale = PolicyCarry(State(*(torch.rand_like(x) for x in fresh.state)), torch.rand_like(fresh.action))
    noise = Noise(0, torch.device("cpu")).draw("test", 0, agent.policy_noise(1))
    actions = [agent.policy(obs, carry, noise, "mode")[0] for carry in (fresh, stale)]
    assert torch.equal(*actions)
