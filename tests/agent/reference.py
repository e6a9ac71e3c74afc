"""The authors' names and settings in this suite's terms, so that their recordings can be replayed."""

import json
import os
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

from agent.agent import Agent
from agent.config import resolve
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
    (r"\.out\.(out|std)\.", r".out.\1."),
    (r"^behavior\.actor_net\.", "_task_behavior.actor."),
    (r"^behavior\.critic\.", "_task_behavior.critic."),
    (r"^behavior\.slow_critic\.", "_task_behavior._target_critic."),
]
# Of the reference only: a normaliser whose momentum of 1 turns it off (quirk of its reward_norm setting).
WITHOUT_COUNTERPART = {"_task_behavior.rewnorm.mag"}


def reference_name(name: str) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def load_recording(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def config_of(recording: dict[str, Any]) -> RunConfig:
    """The run settings that the recorded configuration of the authors' code means."""
    flat = json.loads(str(recording["meta/config_json"]))
    get = flat.__getitem__

    def optimizer(name: str) -> dict[str, float]:
        keys = {"lr": "lr", "eps": "eps", "clip": "clip", "weight_decay": "wd"}
        return {ours: float(get(f"{name}_opt.{theirs}")) for ours, theirs in keys.items()}

    def image_net(part: str) -> dict[str, Any]:
        vector = {"vector_layers": len(get(f"{part}.mlp_layers")), "vector_units": get(f"{part}.mlp_layers")[0]}
        if get(f"{part}_type") == "resnet":
            return vector | {
                "kind": "resnet",
                "depth": get(f"{part}.cnn_depth"),
                "stages": get(f"{part}.res_depth"),
                "layers": get(f"{part}.res_layers"),
            }
        return vector | {"kind": "plain", "depth": get(f"{part}.cnn_depth"), "kernels": get(f"{part}.cnn_kernels")}

    def mlp(name: str) -> dict[str, int]:
        return {"layers": get(f"{name}.layers"), "units": get(f"{name}.units")}

    harmony = flat["harmony"]
    base = resolve("metaworld", "lever_pull", "dreamerv2", "paper").model_dump()
    base["batch"] = {"size": get("dataset.batch"), "length": get("dataset.length")}
    base["world_model"] = {
        "reward_transform": get("clip_rewards"),
        "discount": get("discount"),
        "predict_discount": get("pred_discount"),
        "gradient_heads": get("grad_heads"),
        "rssm": {
            "deter": get("rssm.deter"),
            "hidden": get("rssm.hidden"),
            "stoch": get("rssm.stoch"),
            "classes": get("rssm.discrete"),
        },
        "encoder": image_net("encoder"),
        "decoder": image_net("decoder"),
        "reward_head": mlp("reward_head"),
        "discount_head": mlp("discount_head"),
        "kl": {"free": float(get("kl.free")), "balance": get("kl.balance")},
        "loss_scales": {key: float(get(f"loss_scales.{key}")) for key in ("kl", "reward", "image")},
        "harmonizer": {
            "form": "rectified" if harmony else "none",
            "losses": ["reward", "image", "kl"] if harmony else [],
            "ignore_scales": True,
            "drop_others": True,
        },
        "optimizer": optimizer("model"),
    }
    base["behavior"] = {
        "horizon": get("imag_horizon"),
        "return_lambda": get("discount_lambda"),
        "gradient": get("actor_grad"),
        "entropy": float(get("actor_ent")),
        "soft_value_target": True,
        "actor": mlp("actor"),
        "critic": mlp("critic"),
        "slow_critic": {"every": get("slow_target_update"), "fraction": float(get("slow_target_fraction"))},
        "actor_optimizer": optimizer("actor"),
        "critic_optimizer": optimizer("critic"),
    }
    return RunConfig.model_validate(base)


def spaces_of(recording: dict[str, Any]) -> tuple[gymnasium.spaces.Dict, gymnasium.Space]:
    channels, height, width = recording["batch/image"].shape[2:]
    image = gymnasium.spaces.Box(0, 255, (height, width, channels), np.uint8)
    kind, size = str(recording["meta/act"])[0], recording["batch/action"].shape[-1]
    action = gymnasium.spaces.Discrete(size) if kind == "d" else gymnasium.spaces.Box(-1, 1, (size,))
    return gymnasium.spaces.Dict({"image": image}), action


def agent_of(recording: dict[str, Any], dtype: torch.dtype = torch.float32) -> Agent:
    """An agent with the recording's parameters and buffers before the first update."""
    agent = Agent(config_of(recording), *spaces_of(recording)).to(dtype)
    theirs = {
        key.partition("/")[2]: torch.as_tensor(value)
        for key, value in recording.items()
        if key.startswith(("param0/", "buffer0/"))
    }
    ours = {name: theirs.pop(reference_name(name)) for name in agent.state_dict()}
    assert set(theirs) <= WITHOUT_COUNTERPART, f"not in this agent: {sorted(theirs)}"
    agent.load_state_dict(ours)
    return agent.prepare(torch.device("cpu"))
