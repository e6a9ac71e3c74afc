"""The authors' names and settings in this suite's terms, so that their recordings can be replayed."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
import yaml

from agent.agent import Agent
from agent.config import CONFIG
from agent.settings import RunConfig

GOLDEN = Path(os.environ.get("GOLDEN_DIR", Path(__file__).parent.parent / "golden"))

# This suite's parameter names to the authors' (wmlib-torch), applied in order.
RENAMES = [
    (r"^world_model\.objective\.s\.reward$", "wm.harmony_s1"),
    (r"^world_model\.objective\.s\.image$", "wm.harmony_s2"),
    (r"^world_model\.objective\.s\.kl$", "wm.harmony_s3"),
    (r"^world_model\.", "wm."),
    (r"^wm\.rssm\.cell\.linear", "wm.rssm._cell._layer"),
    (r"^wm\.rssm\.cell\.norm", "wm.rssm._cell._norm"),
    (r"^wm\.rssm\.(img_out|img_dist)", r"wm.rssm.\1_0"),
    (r"^wm\.(encoder|heads\.decoder)\.image\.", r"wm.\1."),
    (r"\.conv\.(\d+)\.", r".conv\1."),
    (r"\.res\.(\d+)\.(\d+)\.", r".res\1.stack.\2."),
    (r"\.dense\.(\d+)\.", r".dense\1."),
    (r"^wm\.rssm\.(img_in|obs_out)_norm\.", r"wm.rssm.\1_norm._layer."),
    (r"^wm\.rssm\.img_out_0_norm\.", "wm.rssm.img_out_norm_0._layer."),
    (r"^wm\.(encoder|heads\.decoder)\.norm\.(\d+)\.", r"wm.\1.convnorm\2._layer."),
    (r"\.norm\.(\d+)\.", r".norm\1._layer."),
    (r"^behavior\.scale\.", "_task_behavior.rewnorm."),
    (r"\.out\.(out|std)\.", r".out.\1."),
    (r"^behavior\.actor_net\.", "_task_behavior.actor."),
    (r"^behavior\.critic\.", "_task_behavior.critic."),
    (r"^behavior\.slow_critic\.", "_task_behavior._target_critic."),
]
# Of the reference only: a normaliser whose momentum of 1 turns it off (quirk of its reward_norm setting).
WITHOUT_COUNTERPART = {"_task_behavior.rewnorm.mag"}


def reference_name(name: str, agent: Agent) -> str:
    """The authors' name of a parameter or buffer."""
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    if agent.config.world_model.decoder.kind == "same_pad":  # their last layer is one more of the same name
        last_stage = len(agent.world_model.heads["decoder"].image.conv)
        name = name.replace("decoder.convout.", f"decoder.conv{last_stage}.")
    return name


def load_recording(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def config_of(recording: dict[str, Any]) -> RunConfig:
    """The run settings that the recorded configuration of the authors' torch code means.

    The structure of the networks and losses is this suite's base method; sizes and rates are the recording's.
    """
    flat = json.loads(str(recording["meta/config_json"]))
    version3 = flat["encoder_type"] == "samepad"
    base = base_method("dreamerv3_torch" if version3 else "dreamerv2")
    get = flat.__getitem__
    base["batch"] = {"size": get("dataset.batch"), "length": get("dataset.length")}
    model, behavior = base["world_model"], base["behavior"]
    model |= {
        "reward_transform": get("clip_rewards"),
        "discount": get("discount"),
        "predict_discount": get("pred_discount"),
        "gradient_heads": get("grad_heads"),
        "encoder": _image_net(flat, "encoder", model["encoder"]),
        "decoder": _image_net(flat, "decoder", model["decoder"]),
        "loss_scales": {key: float(get(f"loss_scales.{key}")) for key in ("kl", "reward", "image")},
        "optimizer": _optimizer(flat, "model"),
    }
    model["rssm"] |= {key: get(f"rssm.{key}") for key in ("deter", "hidden", "stoch", "unimix")}
    model["rssm"]["classes"] = get("rssm.discrete")
    model["kl"] |= {"free": float(get("kl.free")), "balance": get("kl.balance")}
    model["harmonizer"] |= harmonised(flat["harmony"])
    behavior |= {
        "horizon": get("imag_horizon"),
        "return_lambda": get("discount_lambda"),
        "entropy": float(get("actor_ent")),
        "actor_optimizer": _optimizer(flat, "actor"),
        "critic_optimizer": _optimizer(flat, "critic"),
    }
    behavior["slow_critic"] |= {"every": get("slow_target_update"), "fraction": float(get("slow_target_fraction"))}
    for part, name in ((model, "reward_head"), (model, "discount_head"), (behavior, "actor"), (behavior, "critic")):
        part[name] |= {"layers": get(f"{name}.layers"), "units": get(f"{name}.units")}
    return RunConfig.model_validate(base)


def base_method(name: str) -> dict[str, Any]:
    """The settings of a base method as its file has them, with names, so that they can be changed and validated."""
    settings = yaml.safe_load((CONFIG / "methods" / f"{name}.yaml").read_text())
    del settings["description"]
    names = {"benchmark": "recorded", "task": "recorded", "method": name, "variant": "recorded"}
    return {**names, "score": "return", "frames_per_step": 1, "env": {}, **settings}


def harmonised(on: bool) -> dict[str, Any]:
    return {"form": "rectified", "losses": ["reward", "image", "kl"]} if on else {"form": "none", "losses": []}


def _optimizer(flat: dict[str, Any], name: str) -> dict[str, float]:
    keys = {"lr": "lr", "eps": "eps", "clip": "clip", "weight_decay": "wd"}
    return {ours: float(flat[f"{name}_opt.{theirs}"]) for ours, theirs in keys.items()}


def _image_net(flat: dict[str, Any], part: str, base: dict[str, Any]) -> dict[str, Any]:
    kinds = {"plaincnn": "plain", "resnet": "resnet", "samepad": "same_pad"}
    specific = {
        "plain": {"kernels": "cnn_kernels"},
        "resnet": {"stages": "res_depth", "layers": "res_layers"},
        "same_pad": {"min_resolution": "minres"},
    }
    kind = kinds[flat[f"{part}_type"]]
    kept = base if base["kind"] == kind else {key: base[key] for key in ("vector_layers", "vector_units")}
    sizes = {ours: flat[f"{part}.{theirs}"] for ours, theirs in specific[kind].items()}
    return {**kept, "kind": kind, "depth": flat[f"{part}.cnn_depth"], **sizes}


def spaces_of(recording: dict[str, Any]) -> tuple[gymnasium.spaces.Dict, gymnasium.Space]:
    channels, height, width = recording["batch/image"].shape[2:]
    image = gymnasium.spaces.Box(0, 255, (height, width, channels), np.uint8)
    kind, size = str(recording["meta/act"]), recording["batch/action"].shape[-1]
    spaces: dict[str, Callable[[], gymnasium.Space]] = {
        "d": lambda: gymnasium.spaces.Discrete(size),
        "[": lambda: gymnasium.spaces.MultiDiscrete(json.loads(kind)),
    }
    action = spaces.get(kind[0], lambda: gymnasium.spaces.Box(-1, 1, (size,)))()
    return gymnasium.spaces.Dict({"image": image}), action


def agent_of(recording: dict[str, Any], dtype: torch.dtype = torch.float32) -> Agent:
    """An agent with the recording's parameters and buffers before the first update."""
    agent = Agent(config_of(recording), *spaces_of(recording)).to(dtype)
    theirs = {
        key.partition("/")[2]: torch.as_tensor(value)
        for key, value in recording.items()
        if key.startswith(("param0/", "buffer0/"))
    }
    ours = {name: theirs.pop(reference_name(name, agent)) for name in agent.state_dict()}
    assert set(theirs) <= WITHOUT_COUNTERPART, f"not in this agent: {sorted(theirs)}"
    agent.load_state_dict(ours)
    return agent.prepare(torch.device("cpu"))
