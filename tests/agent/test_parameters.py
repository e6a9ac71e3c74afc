"""At full size the networks have the authors' parameters, by name and number, initialised as theirs are."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from agent.agent import Agent
from agent.config import resolve
from agent.settings import RunConfig
from tests.agent.reference import GOLDEN, WITHOUT_COUNTERPART, reference_name

# The recorded small DreamerV3 has no discount head.
NO_DISCOUNT = ("world_model.predict_discount=false", "world_model.gradient_heads=[decoder, reward]")
# The authors' name of a recorded model: benchmark, task, method, variant, settings unlike the preset's.
MODELS: dict[str, tuple[str, str, str, str, tuple[str, ...]]] = {
    "metaworld": ("metaworld", "lever_pull", "harmony_dreamerv2", "paper", ()),
    "dmc_remastered": ("dmc_remastered", "cheetah_run", "harmony_dreamerv2", "paper", ()),
    "rlbench_plainresnet": ("rlbench", "reach_target", "harmony_dreamerv2", "paper", ()),
    "minecraft_dreamerv3_large": ("minecraft", "hunt_cow", "harmony_dreamerv3_torch", "paper", ()),
    "dreamerv3_small_d18": ("atari100k", "pong", "harmony_dreamerv3_torch", "size_s", NO_DISCOUNT),
}
CONTINUOUS = gymnasium.spaces.Box(-1, 1, (4,))
DISCRETE = gymnasium.spaces.Discrete(18)
ACTIONS: dict[str, gymnasium.Space] = {
    "metaworld": CONTINUOUS,
    "dmc_remastered": gymnasium.spaces.Box(-1, 1, (6,)),
    "rlbench": gymnasium.spaces.Box(-1, 1, (8,)),
    "minecraft": gymnasium.spaces.MultiDiscrete([3, 3, 4, 5, 3]),
    "atari100k": DISCRETE,
}
Shapes = dict[str, tuple[int, ...]]


def recorded_shapes(name: str) -> Shapes:
    recorded = json.loads((GOLDEN / "param_shapes_wmlib.json").read_text())[name]
    return {key: tuple(shape) for key, shape in recorded.items() if key not in WITHOUT_COUNTERPART}


def agent_for(config: RunConfig, action: gymnasium.Space, vector_size: int = 0, side: int = 64) -> Agent:
    spaces: dict[str, gymnasium.Space] = {"image": gymnasium.spaces.Box(0, 255, (side, side, 3), np.uint8)}
    if vector_size:
        spaces["vector"] = gymnasium.spaces.Box(-1, 1, (vector_size,))
    return Agent(config, gymnasium.spaces.Dict(spaces), action)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize("theirs", MODELS)
def test_parameters_are_those_of_the_authors(theirs: str) -> None:
    benchmark, *names = MODELS[theirs]
    with torch.device("meta"):
        config = resolve(benchmark, *names)
        agent = agent_for(config, ACTIONS[benchmark], side=128 if benchmark == "minecraft" else 64)
    recorded = recorded_shapes(theirs)
    assert {reference_name(name, agent): tuple(p.shape) for name, p in agent.named_parameters()} == recorded
    buffers = {reference_name(name, agent): tuple(agent.state_dict()[name].shape) for name in saved_buffers(agent)}
    assert buffers == recorded_shapes(f"{theirs}/buffers")
    trainable = sum(math.prod(shape) for key, shape in recorded.items() if "_target_critic" not in key)
    assert count(agent) == trainable


def saved_buffers(agent: Agent) -> set[str]:
    return set(agent.state_dict()) - {name for name, _ in agent.named_parameters()}


@pytest.mark.parametrize(("method", "harmonizers"), [("dreamerv3", 0), ("harmony_dreamerv3", 3)])
def test_dreamerv3_has_as_many_parameters_as_the_authors_jax_code(method: str, harmonizers: int) -> None:
    """As counted there for a game of 18 actions."""
    with torch.device("meta"):
        agent = agent_for(resolve("atari100k", "alien", method, "paper"), DISCRETE)
    assert count(agent.world_model) == 15_693_955 + harmonizers
    assert count(agent.behavior.actor_net) == 1_059_858
    assert count(agent.behavior.critic) == 1_181_439


def layers(agent: Agent) -> Iterator[tuple[str, Any]]:
    for name, module in agent.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            yield name, module


# Made outside `Module.get` in the authors' torch code, these keep what torch gives them.
TORCH_DEFAULT = r"rssm\.cell\.linear|\.res_block\.|\.identity\."
# The rules by base method, the first that matches a layer's name; the last one is for all others.
ZERO_OUTPUTS = (r"(heads\.reward|critic)\.out\.", "zeros")
RULES: dict[str, list[tuple[str, str]]] = {
    "dreamerv2": [(TORCH_DEFAULT, "torch"), ("", "glorot")],
    "dreamerv3_torch": [ZERO_OUTPUTS, (TORCH_DEFAULT, "torch"), ("", "glorot")],
    # Layers that a norm follows are of truncated normals; those without (outputs, statistics, into and out of the
    # decoder's convolutions) are of the JAX code's default, uniform.
    "dreamerv3": [
        ZERO_OUTPUTS,
        (r"\.out\.|_dist$|\.convin$|\.convout$", "glorot"),
        ("", "truncated_normal"),
    ],
}


def fans(layer: Any) -> tuple[int, int]:
    area = math.prod(getattr(layer, "kernel_size", (1,)))
    sides = (getattr(layer, f"{s}_features", None) or getattr(layer, f"{s}_channels") for s in ("in", "out"))
    inputs, outputs = (side * area for side in sides)
    return inputs, outputs


def is_uniform(values: torch.Tensor, bound: float) -> bool:
    largest, spread = values.abs().max().item(), values.std().item()
    return 0.95 * bound < largest <= bound * (1 + 1e-6) and abs(spread * math.sqrt(3) / bound - 1) < 0.1


def is_truncated_normal(values: torch.Tensor, deviation: float) -> bool:
    """Of that deviation after it was cut at two deviations of the normal, and so not uniform of the same spread."""
    cut = 2 * deviation / 0.87962566
    shape = (values.abs() < 0.5 * cut).float().mean().item()  # P(|z| < 1 | |z| < 2) = 0.7152; uniform: 0.5
    near = abs(values.std().item() / deviation - 1) < 0.1 and abs(shape - 0.7152) < 0.05
    return near and 0.9 * cut < values.abs().max().item() <= cut * (1 + 1e-6)


def follows(values: torch.Tensor, rule: str, layer: Any) -> bool:
    inputs, outputs = fans(layer)
    if rule == "zeros":
        return not values.any()
    if rule == "truncated_normal":
        return is_truncated_normal(values, math.sqrt(2 / (inputs + outputs)))
    return is_uniform(values, math.sqrt(6 / (inputs + outputs)) if rule == "glorot" else 1 / math.sqrt(inputs))


CASES = [
    ("metaworld", "hammer", "dreamerv2", {"Linear": {"glorot", "torch"}, "Conv2d": {"glorot"}}),
    ("rlbench", "push_button", "dreamerv2", {"Linear": {"glorot", "torch"}, "Conv2d": {"glorot", "torch"}}),
    ("atari100k", "pong", "dreamerv3_torch", {"Linear": {"glorot", "torch", "zeros"}, "Conv2d": {"glorot"}}),
    (
        "atari100k",
        "pong",
        "dreamerv3",
        {
            "Linear": {"glorot", "truncated_normal", "zeros"},
            "Conv2d": {"truncated_normal"},
            "ConvTranspose2d": {"glorot", "truncated_normal"},
        },
    ),
]


@pytest.mark.parametrize(("benchmark", "task", "base", "seen"), CASES)
def test_layers_are_initialised_as_the_authors_are(
    benchmark: str, task: str, base: str, seen: dict[str, set[str]]
) -> None:
    torch.manual_seed(0)
    # A vector beside the image, so that the dense layers which only vectors have are there, too.
    agent = agent_for(resolve(benchmark, task, f"harmony_{base}", "paper"), CONTINUOUS, vector_size=39)
    found: dict[str, set[str]] = {}
    for name, layer in layers(agent):
        rule = next(rule for pattern, rule in RULES[base] if re.search(pattern, name))
        found.setdefault(type(layer).__name__, set()).add(rule)
        assert follows(layer.weight, rule, layer), f"{name} is not initialised by {rule}"
        if layer.bias is not None:
            assert follows(layer.bias, "torch" if rule == "torch" else "zeros", layer), f"bias of {name}"
    assert found == {"ConvTranspose2d": {"glorot"}, **seen}


@pytest.mark.parametrize("base", ["dreamerv2", "dreamerv3", "dreamerv3_torch"])
def test_norms_harmonizers_and_the_first_state_start_neutral(base: str) -> None:
    benchmark, task = ("rlbench", "push_button") if base == "dreamerv2" else ("atari100k", "pong")
    agent = agent_for(resolve(benchmark, task, f"harmony_{base}", "smoke"), CONTINUOUS)
    norms = [m for m in agent.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert len(norms) > 4
    assert all((m.weight == 1).all() and not m.bias.any() for m in norms)
    assert {key: s.item() for key, s in agent.world_model.objective.s.items()} == {"reward": 0, "image": 0, "kl": 0}
    carry = agent.initial_carry(2)
    assert not carry.deter.any()
    # A learned first state has the prior's most likely latents, one-hot; else they are zeros.
    assert (carry.stoch.sum(-1) == (base == "dreamerv3")).all()
