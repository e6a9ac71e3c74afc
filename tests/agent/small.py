"""Small agents and random batches."""

import gymnasium
import numpy as np
import torch

from agent.agent import Agent
from agent.config import resolve
from agent.noise import Noise

BOX = gymnasium.spaces.Box(-1, 1, (2,))
DISCRETE = gymnasium.spaces.Discrete(5)
MULTI = gymnasium.spaces.MultiDiscrete([3, 4, 2])
IMAGE = gymnasium.spaces.Box(0, 255, (32, 32, 3), np.uint8)
SHORT = ("batch.length=3", "replay.min_length=3", "replay.max_length=3")
CPU = torch.device("cpu")

torch.set_num_threads(1)


def make(method="harmony_dreamerv2", *overrides, action=BOX, seed=0, device=CPU, **vectors):
    """A small agent; `vectors` are the sizes of further keys of the observation."""
    config = resolve("distractor", "reach", method, "smoke", (*SHORT, *overrides))
    boxes = {key: gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32) for key, size in vectors.items()}
    torch.manual_seed(seed)
    return Agent(config, gymnasium.spaces.Dict({"image": IMAGE, **boxes}), action).prepare(device)


def random_batch(agent, seed=0):
    """A batch as replay gives it, of random rows; every second sequence starts with is_first, every third ends."""
    rng = np.random.default_rng(seed)
    size, length = agent.config.batch.size, agent.config.batch.length
    actions = [[agent.kind.random(rng) for _ in range(length)] for _ in range(size)]
    batch = {
        "image": rng.integers(0, 256, (size, length, 3, 32, 32), np.uint8),
        "action": np.array(actions, np.float32),
        "reward": rng.normal(size=(size, length)).astype(np.float32),
        "is_first": np.zeros((size, length), np.float32),
        "is_terminal": np.zeros((size, length), np.float32),
    }
    batch["is_first"][::2, 0] = 1
    batch["is_terminal"][::3, -1] = 1
    for key, shape in agent.shapes.items():
        if key != "image":
            batch[key] = rng.normal(size=(size, length, *shape)).astype(np.float32)
    return {key: torch.as_tensor(value).to(agent.device) for key, value in batch.items()}


def update(agent, batch, carry=None, number=0):
    """One update with noise of its number; a carry of random states unless given."""
    noise = Noise(0, agent.device).draw("update", number, agent.update_noise())
    return agent.update(batch, random_carry(agent) if carry is None else carry, noise)


def random_carry(agent, seed=1):
    generator = torch.Generator().manual_seed(seed)
    zeros = agent.initial_carry(agent.config.batch.size)
    return type(zeros)(*(torch.randn(x.shape, generator=generator).to(x.device) for x in zeros))


def parameters(agent):
    """A copy of all parameters and buffers."""
    return {name: value.clone() for name, value in agent.state_dict().items()}


def changed(before, after):
    """The names of what differs."""
    return {name for name in before if not torch.equal(before[name], after[name])}
