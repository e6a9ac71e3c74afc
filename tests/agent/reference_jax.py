"""The authors' JAX names, layouts and settings in this suite's terms, so that their recordings can be replayed.

Their images are NHWC, their features deter before stoch, their kernels (inputs, outputs) or HWIO, and their transposed
convolutions do not flip the kernel. All of that permutes numbers, so one mapping serves parameters and gradients.
"""

import json
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from agent.agent import Agent
from agent.rssm import State
from agent.settings import RunConfig
from tests.agent.reference import base_method, harmonised

Read = Callable[[str], np.ndarray]  # an array of the recording by the last part of its name


def config_of(recording: dict[str, Any]) -> RunConfig:
    """The run settings that the recorded configuration of the authors' JAX code means."""
    flat = json.loads(str(recording["meta/config_json"]))
    get, base = flat.__getitem__, base_method("dreamerv3")
    base["batch"] = {"size": get("batch_size"), "length": get("batch_length")}
    model, behavior = base["world_model"], base["behavior"]
    heads = {"decoder": "decoder", "reward": "reward", "cont": "discount"}
    model |= {
        "discount": 1 - 1 / get("horizon"),
        "gradient_heads": [heads[name] for name in get("grad_heads")],
        "loss_scales": {
            ours: float(get(f"loss_scales.{theirs}"))
            for ours, theirs in {
                "dyn": "dyn",
                "rep": "rep",
                "image": "image",
                "reward": "reward",
                "discount": "cont",
            }.items()
        },
        "optimizer": _optimizer(flat, "model_opt"),
    }
    model["rssm"] |= {key: get(f"rssm.{key}") for key in ("deter", "stoch", "classes", "unimix")}
    model["rssm"]["hidden"] = get("rssm.units")
    model["kl"]["free"] = get("dyn_loss.free")
    model["harmonizer"] |= harmonised(get("harmony"))
    for part in ("encoder", "decoder"):
        model[part] |= {"depth": get(f"{part}.cnn_depth"), "min_resolution": get(f"{part}.minres")}
    behavior |= {
        "horizon": get("imag_horizon"),
        "return_lambda": get("return_lambda"),
        "entropy": get("actent"),
        "actor_optimizer": _optimizer(flat, "actor_opt"),
        "critic_optimizer": _optimizer(flat, "critic_opt"),
    }
    for where, ours, theirs in (
        (model, "reward_head", "reward_head"),
        (model, "discount_head", "cont_head"),
        (behavior, "actor", "actor"),
        (behavior, "critic", "critic"),
    ):
        where[ours] |= {"layers": get(f"{theirs}.layers"), "units": get(f"{theirs}.units")}
    return RunConfig.model_validate(base)


def _optimizer(flat: dict[str, Any], name: str) -> dict[str, float]:
    keys = {"lr": "lr", "eps": "eps", "clip": "clip", "weight_decay": "wd"}
    return {ours: float(flat[f"{name}.{theirs}"]) for ours, theirs in keys.items()}


def agent_of(recording: dict[str, Any]) -> Agent:
    """An agent with the recording's parameters before the first update."""
    height, width, channels = recording["batch/image"].shape[2:]
    size = recording["batch/action"].shape[-1]
    discrete = recording["step1/noise/action"].ndim == 2
    action = gymnasium.spaces.Discrete(size) if discrete else gymnasium.spaces.Box(-1, 1, (size,))
    image = gymnasium.spaces.Box(0, 255, (height, width, channels), np.uint8)
    agent = Agent(config_of(recording), gymnasium.spaces.Dict({"image": image}), action)
    agent.load_state_dict(translated(agent, lambda name: recording[f"param0/{name}"]))
    return agent.prepare(torch.device("cpu"))


def translated(agent: Agent, read: Read) -> dict[str, Tensor]:
    """Every parameter and buffer of `agent`, from arrays under the authors' names."""
    return {name: torch.as_tensor(_translate(agent, name, read).copy()) for name in agent.state_dict()}


def batch_of(recording: dict[str, Any], step: int) -> dict[str, Tensor]:
    """The batch of update `step`, the same each time; their action is the one taken at a row, ours led to it."""
    before = recording["carry0/action"] if step == 1 else recording["batch/action"][:, -1]
    action = np.concatenate([before[:, None], recording["batch/action"][:, :-1]], 1)
    flags = {key: recording[f"batch/{key}"].astype(np.float32) for key in ("reward", "is_first", "is_terminal")}
    image = recording["batch/image"].transpose(0, 1, 4, 2, 3)
    return {key: torch.as_tensor(value) for key, value in {"image": image, "action": action, **flags}.items()}


def carry_of(recording: dict[str, Any]) -> State:
    return State(*(torch.as_tensor(recording[f"carry0/{key}"]) for key in ("deter", "stoch", "logit")))


MODULES = {
    "world_model.heads.reward": "agent/wm/rew",
    "world_model.heads.discount": "agent/wm/cont",
    "behavior.actor_net": "agent/task_behavior/ac/actor",
    "behavior.critic": "agent/task_behavior/critic/net",
    "behavior.slow_critic": "agent/task_behavior/critic/slow",
}
HARMONIZERS = {"reward": 1, "image": 2, "kl": 3}


def _translate(agent: Agent, name: str, read: Read) -> np.ndarray:
    for ours, theirs in MODULES.items():
        if name.startswith(f"{ours}."):
            return _mlp(agent, name.removeprefix(f"{ours}."), theirs, read)
    part, _, rest = name.removeprefix("world_model.").partition(".")
    return PARTS[part](agent, rest, read)


def _mlp(agent: Agent, name: str, where: str, read: Read) -> np.ndarray:
    kind, index, leaf = name.split(".")
    if kind == "norm":
        return _norm(f"{where}/h{index}/norm", leaf, read)
    path = f"{where}/h{index}" if kind == "dense" else f"{where}/dist_out/{index}"
    array = _linear(path, leaf, read)
    return _from_features(agent, array) if name == "dense.0.weight" else array


def _rssm(agent: Agent, name: str, read: Read) -> np.ndarray:
    where, deter = "agent/wm/rssm", agent.world_model.rssm.deter
    if name == "first":
        return read(f"{where}/initial")
    module, leaf = name.rsplit(".", 1)
    if module.endswith("norm"):
        return _norm(f"{where}/{NORMS[module]}/norm", leaf, read)
    array = _linear(f"{where}/{LINEARS[module]}", leaf, read)
    if module == "cell.linear":  # theirs: deter, then input
        return np.concatenate([array[:, deter:], array[:, :deter]], 1)
    if module == "obs_out":
        return np.concatenate([array[:, :deter], _to_chw(agent, array[:, deter:], axis=1)], 1)
    return array


NORMS = {"cell.norm": "gru", "img_in_norm": "img_in", "img_out_norm": "img_out", "obs_out_norm": "obs_out"}
LINEARS = {
    "cell.linear": "gru",
    "img_in": "img_in",
    "img_out": "img_out",
    "obs_out": "obs_out",
    "img_dist": "img_stats",
    "obs_dist": "obs_stats",
}


def _encoder(agent: Agent, name: str, read: Read) -> np.ndarray:
    _, kind, index, leaf = name.split(".")
    where = f"agent/wm/enc/cnn/s{index}res"
    if kind == "norm":
        return _norm(f"{where}/norm", leaf, read)
    return read(f"{where}/kernel").transpose(3, 2, 0, 1)  # HWIO to OIHW


def _heads(agent: Agent, name: str, read: Read) -> np.ndarray:
    name = name.removeprefix("decoder.image.")
    if name.startswith("convin"):
        array = _to_chw(agent, _linear("agent/wm/dec/cnn/in", name.rpartition(".")[2], read), axis=0)
        return _from_features(agent, array) if array.ndim == 2 else array
    stages = len(agent.world_model.heads["decoder"].image.conv)
    kind, index, leaf = name.split(".") if name.count(".") == 2 else ("conv", str(stages), name.rpartition(".")[2])
    where = f"agent/wm/dec/cnn/s{index}res"
    if kind == "norm":
        return _norm(f"{where}/norm", leaf, read)
    if leaf == "bias":
        return read(f"{where}/bias")
    return np.flip(read(f"{where}/kernel").transpose(3, 2, 0, 1), (2, 3))  # HWOI to IOHW, flipped


def _behavior(agent: Agent, name: str, read: Read) -> np.ndarray:
    where = "agent/task_behavior/ac/retnorm_extr"
    return np.stack([read(f"{where}/low/value"), read(f"{where}/high/value")])


PARTS: dict[str, Callable[[Agent, str, Read], np.ndarray]] = {
    "objective": lambda agent, name, read: read(f"agent/wm/har_s{HARMONIZERS[name.removeprefix('s.')]}/harmony_s"),
    "rssm": _rssm,
    "encoder": _encoder,
    "heads": _heads,
    "behavior": _behavior,
}


def _linear(path: str, leaf: str, read: Read) -> np.ndarray:
    return read(f"{path}/kernel").T if leaf == "weight" else read(f"{path}/bias")


def _norm(path: str, leaf: str, read: Read) -> np.ndarray:
    return read(f"{path}/{'scale' if leaf == 'weight' else 'bias'}")


def _from_features(agent: Agent, array: np.ndarray) -> np.ndarray:
    """Columns deter, stoch to stoch, deter."""
    deter = agent.world_model.rssm.deter
    return np.concatenate([array[:, deter:], array[:, :deter]], 1)


def _to_chw(agent: Agent, array: np.ndarray, axis: int) -> np.ndarray:
    """An axis of flattened (H, W, C) at the smallest resolution to flattened (C, H, W)."""
    side = agent.config.world_model.encoder.min_resolution  # type: ignore[union-attr]
    split = np.moveaxis(array, axis, -1)
    split = split.reshape(*split.shape[:-1], side, side, -1)
    return np.moveaxis(np.moveaxis(split, -1, -3).reshape(*split.shape[:-3], -1), -1, axis)


def embed_to_chw(agent: Agent, embed: np.ndarray) -> np.ndarray:
    return _to_chw(agent, embed, axis=embed.ndim - 1)
