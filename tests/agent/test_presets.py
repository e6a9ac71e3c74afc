"""The presets are the paper's: value by value, parameter by parameter, and in how layers are initialised.

The tables here were written from the authors' wmlib-torch/configs/dreamerv2.yaml and from how their code uses it, not
from this suite's files.
"""

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
from agent.config import names, resolve, tasks
from agent.settings import RunConfig
from tests.agent.presets import ACCEPT, METHODS, changes
from tests.agent.reference import GOLDEN, WITHOUT_COUNTERPART, reference_name

TASKS = {
    "metaworld": ("lever_pull", "handle_pull_side", "hammer"),
    "dmc_remastered": ("cheetah_run", "hopper_stand", "walker_run"),
    "dmc_background": ("cheetah_run", "hopper_stand", "walker_run"),
    "rlbench": ("push_button", "reach_target"),
}
ABSENT = object()
COLUMNS = {"metaworld": 0, "dmc_remastered": 1, "dmc_background": 1, "rlbench": 2}
# One value for all, or one for each of Meta-world, the two DMC benchmarks, and RLBench. Counts are agent steps.
PAPER: dict[str, Any] = {
    "score": ("success", "return", "success"),
    "frames_per_step": (1, 2, 2),
    # Meta-world stops at stop_steps = 255000, the others at steps.
    "train.steps": (255_000, 502_000, 502_000),
    "train.prefill": (5_000, 1_000, 10_000),
    "train.pretrain": (100, 100, 1),
    "train.every": 5,
    "evaluation.every": (10_000, 10_000, 5_000),
    "evaluation.episodes": (10, 10, 5),
    "evaluation.action": "mode",
    "replay.capacity": (1_000_000, 2_000_000, 2_000_000),
    "replay.min_length": (50, 50, 1),
    "replay.max_length": 50,
    "replay.prioritize_ends": (50, 0, 50),
    "replay.one_stream": True,
    "batch.size": (50, 16, 50),
    "batch.length": 50,
    "threads": 1,
    "world_model.reward_transform": ("identity", "identity", "tanh"),
    "world_model.discount": 0.99,
    "world_model.predict_discount": (False, False, True),
    "world_model.gradient_heads": (
        ["decoder", "reward"],
        ["decoder", "reward"],
        ["decoder", "reward", "discount"],
    ),
    "world_model.rssm.deter": 1024,
    "world_model.rssm.hidden": 1024,
    "world_model.rssm.stoch": 32,
    "world_model.rssm.classes": 32,
    "world_model.encoder.kind": ("plain", "plain", "resnet"),
    "world_model.encoder.depth": 48,
    "world_model.encoder.kernels": ([4, 4, 4, 4], [4, 4, 4, 4], ABSENT),
    "world_model.encoder.stages": (ABSENT, ABSENT, 3),
    "world_model.encoder.layers": (ABSENT, ABSENT, 2),
    "world_model.encoder.vector_layers": 4,
    "world_model.encoder.vector_units": 400,
    "world_model.decoder.kind": ("plain", "plain", "resnet"),
    "world_model.decoder.depth": 48,
    "world_model.decoder.kernels": ([5, 5, 6, 6], [5, 5, 6, 6], ABSENT),
    "world_model.decoder.stages": (ABSENT, ABSENT, 3),
    "world_model.decoder.layers": (ABSENT, ABSENT, 2),
    "world_model.decoder.vector_layers": 4,
    "world_model.decoder.vector_units": 400,
    "world_model.reward_head.layers": 4,
    "world_model.reward_head.units": 400,
    "world_model.discount_head.layers": 4,
    "world_model.discount_head.units": 400,
    "world_model.kl.free": (0.0, 1.0, 1.0),
    "world_model.kl.balance": 0.8,
    "world_model.loss_scales": ({}, {}, ABSENT),
    "world_model.loss_scales.kl": (ABSENT, ABSENT, 0.1),
    "world_model.harmonizer.form": "none",
    "world_model.harmonizer.losses": [],
    "world_model.harmonizer.ignore_scales": True,
    "world_model.harmonizer.drop_others": True,
    "world_model.optimizer.lr": (3e-4, 3e-4, 1e-4),
    "world_model.optimizer.eps": 1e-5,
    "world_model.optimizer.clip": 100.0,
    "world_model.optimizer.weight_decay": 1e-6,
    "behavior.horizon": 15,
    "behavior.return_lambda": 0.95,
    "behavior.gradient": "auto",
    "behavior.entropy": (1e-4, 1e-4, 2e-3),
    "behavior.soft_value_target": True,
    "behavior.actor.layers": 4,
    "behavior.actor.units": 400,
    "behavior.critic.layers": 4,
    "behavior.critic.units": 400,
    "behavior.slow_critic.every": 100,
    "behavior.slow_critic.fraction": 1.0,
    "behavior.actor_optimizer.lr": 8e-5,
    "behavior.actor_optimizer.eps": 1e-5,
    "behavior.actor_optimizer.clip": 100.0,
    "behavior.actor_optimizer.weight_decay": 1e-6,
    "behavior.critic_optimizer.lr": (8e-5, 8e-5, 2e-4),
    "behavior.critic_optimizer.eps": 1e-5,
    "behavior.critic_optimizer.clip": 100.0,
    "behavior.critic_optimizer.weight_decay": 1e-6,
}
# This suite's own choices: the authors train in float16 by default and say that it may produce non-finite values.
OURS = {"variant": "paper", "precision": "float32", "train.log_every": 1_000, "train.checkpoint_every": 10_000}
HARMONY = {"world_model.harmonizer.form": "rectified", "world_model.harmonizer.losses": ["reward", "image", "kl"]}
VARY_WITHOUT_CAMERA: dict[str, Any] = {"env.vary": ["bg", "floor", "body", "target", "reflectance", "light"]}


def expected(benchmark: str, task: str, method: str) -> dict[str, Any]:
    column = COLUMNS[benchmark]
    values = {key: value[column] if isinstance(value, tuple) else value for key, value in PAPER.items()}
    values |= OURS | {"benchmark": benchmark, "task": task, "method": method}
    values |= HARMONY if method == "harmony_dreamerv2" else {}
    values |= VARY_WITHOUT_CAMERA if (benchmark, task) == ("dmc_remastered", "hopper_stand") else {"env": {}}
    return {key: value for key, value in values.items() if value is not ABSENT}


def flatten(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted keys to values; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return flat


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("benchmark", "task"), [(b, t) for b, ts in TASKS.items() for t in ts])
def test_preset_has_the_papers_values(benchmark: str, task: str, method: str) -> None:
    found = flatten(resolve(benchmark, task, method, "paper").as_dict())
    assert found == expected(benchmark, task, method)


@pytest.mark.parametrize("benchmark", TASKS)
def test_tasks_are_the_papers(benchmark: str) -> None:
    assert tasks(benchmark) == TASKS[benchmark]


def test_atari_has_the_papers_budget_and_evaluation() -> None:
    """The rest of its settings for DreamerV2 are this suite's: the paper has DreamerV3 there."""
    assert len(tasks("atari100k")) == 26
    for task in tasks("atari100k"):
        preset = resolve("atari100k", task, "dreamerv2", "paper")
        assert (preset.train.steps, preset.env_frames_per_step) == (100_000, 4)  # 400k env frames
        assert preset.evaluation.model_dump() == {"every": 5_000, "episodes": 100, "action": "sample"}
        assert preset.env == ({"frame_cap": 5400} if task == "chopper_command" else {})


def test_presets_are_frozen() -> None:
    assert not (found := changes()), "presets differ from tests/agent/presets.json: " + ACCEPT + "\n" + "\n".join(found)


@pytest.mark.parametrize("method", [name for name in names("methods") if "dreamerv2" in name])
def test_only_clean_methods_are_without_the_released_bugs(method: str) -> None:
    flat = flatten(resolve("rlbench", "push_button", method, "paper").as_dict())
    bugs = [
        "behavior.soft_value_target",
        "replay.one_stream",
        "world_model.harmonizer.drop_others",
        "world_model.harmonizer.ignore_scales",
    ]
    assert {flat[bug] for bug in bugs} == {not method.endswith("_clean")}


def test_rlbench_with_plain_networks_has_those_of_the_other_benchmarks() -> None:
    kernels = {"encoder": "[4, 4, 4, 4]", "decoder": "[5, 5, 6, 6]"}
    plain = "kind: plain, depth: 48, vector_layers: 4, vector_units: 400"
    overrides = [f"world_model.{part}={{{plain}, kernels: {value}}}" for part, value in kernels.items()]
    found = resolve("rlbench", "push_button", "dreamerv2", "paper", overrides).world_model
    like = resolve("metaworld", "hammer", "dreamerv2", "paper").world_model
    assert (found.encoder, found.decoder) == (like.encoder, like.decoder)


# The authors' name of a preset whose model was recorded at full size, and this suite's.
MODELS = [
    ("metaworld", "metaworld", "lever_pull"),
    ("dmc_remastered", "dmc_remastered", "cheetah_run"),
    ("rlbench_plainresnet", "rlbench", "reach_target"),
]
Shapes = dict[str, tuple[int, ...]]


def recorded_shapes(name: str) -> Shapes:
    recorded = json.loads((GOLDEN / "param_shapes_wmlib.json").read_text())[name]
    return {key: tuple(shape) for key, shape in recorded.items() if key not in WITHOUT_COUNTERPART}


def agent_for(config: RunConfig, action_size: int, vector_size: int = 0) -> Agent:
    spaces: dict[str, gymnasium.Space] = {"image": gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)}
    if vector_size:
        spaces["vector"] = gymnasium.spaces.Box(-1, 1, (vector_size,))
    return Agent(config, gymnasium.spaces.Dict(spaces), gymnasium.spaces.Box(-1, 1, (action_size,)))


@pytest.mark.parametrize(("theirs", "benchmark", "task"), MODELS)
def test_parameters_are_those_of_the_authors(theirs: str, benchmark: str, task: str) -> None:
    recorded = recorded_shapes(theirs)
    actions = recorded["_task_behavior.actor.out.std.bias"][0]
    with torch.device("meta"):
        agent = agent_for(resolve(benchmark, task, "harmony_dreamerv2", "paper"), actions)
    assert {reference_name(name): tuple(p.shape) for name, p in agent.named_parameters()} == recorded
    buffers = {reference_name(name): tuple(b.shape) for name, b in agent.named_buffers()}
    assert buffers == recorded_shapes(f"{theirs}/buffers")
    trainable = sum(math.prod(shape) for key, shape in recorded.items() if "_target_critic" not in key)
    assert sum(p.numel() for p in agent.parameters() if p.requires_grad) == trainable


# Made outside `Module.get` in the authors' code, these keep what torch gives them.
TORCH_DEFAULT = re.compile(r"rssm\.cell\.linear|\.res_block\.|\.identity\.")


def layers(agent: Agent) -> Iterator[tuple[str, Any]]:
    for name, module in agent.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            yield name, module


def bounds(layer: Any) -> dict[str, float]:
    """The bound of the uniform distribution of a layer's weights, by rule."""
    area = math.prod(getattr(layer, "kernel_size", (1,)))
    inputs, outputs = (
        getattr(layer, f"{side}_features", None) or getattr(layer, f"{side}_channels") for side in ("in", "out")
    )
    return {"glorot": math.sqrt(6 / ((inputs + outputs) * area)), "torch": 1 / math.sqrt(inputs * area)}


def is_uniform(values: torch.Tensor, bound: float) -> bool:
    largest, spread = values.abs().max().item(), values.std().item()
    return 0.95 * bound < largest <= bound * (1 + 1e-6) and abs(spread * math.sqrt(3) / bound - 1) < 0.1


@pytest.mark.parametrize(("benchmark", "task"), [("metaworld", "hammer"), ("rlbench", "push_button")])
def test_layers_are_initialised_as_the_authors_are(benchmark: str, task: str) -> None:
    torch.manual_seed(0)
    # A vector beside the image, so that the dense layers which only vectors have are there, too.
    agent = agent_for(resolve(benchmark, task, "harmony_dreamerv2", "paper"), 4, vector_size=39)
    seen = set()
    for name, layer in layers(agent):
        rule = "torch" if TORCH_DEFAULT.search(name) else "glorot"
        seen.add((type(layer).__name__, rule))
        assert is_uniform(layer.weight, bounds(layer)[rule]), f"{name} is not initialised by {rule}"
        if layer.bias is not None:
            zero = not layer.bias.any()
            assert zero if rule == "glorot" else is_uniform(layer.bias, bounds(layer)[rule]), f"bias of {name}"
    plain, residual = {("Conv2d", "glorot"), ("ConvTranspose2d", "glorot")}, {("Conv2d", "torch")}
    assert seen == {("Linear", "glorot"), ("Linear", "torch")} | plain | (residual if benchmark == "rlbench" else set())


def test_norms_and_harmonizers_start_neutral() -> None:
    agent = agent_for(resolve("rlbench", "push_button", "harmony_dreamerv2", "smoke"), 4)
    norms = [m for m in agent.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert {type(m) for m in norms} == {nn.BatchNorm2d, nn.LayerNorm}
    assert all((m.weight == 1).all() and not m.bias.any() for m in norms)
    assert {key: s.item() for key, s in agent.world_model.objective.s.items()} == {"reward": 0, "image": 0, "kl": 0}
