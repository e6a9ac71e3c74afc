"""Replays the recordings of the authors' code; `python -m tests.agent.golden` prints the table of errors."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from agent.actions import action_kind
from agent.behavior import Behavior, lambda_return
from agent.config import resolve
from agent.distributions import MSE, Bernoulli, OneHot, TruncatedNormal
from agent.harmonizer import Objective
from agent.nets import NormGRUCell
from agent.optimizer import Optimizer
from agent.rssm import State, kl_losses
from agent.settings import BalancedKL, Harmonizer, Layers
from agent.settings import Optimizer as OptimizerSettings
from agent.world_model import transform_reward
from tests.agent.comparison import Comparison, Errors, compare_gradients, keep_first
from tests.agent.golden_jax import compare_percentiles, compare_two_hot, replay_jax_pieces, replay_jax_updates
from tests.agent.reference import GOLDEN, agent_of, base_method, load_recording, reference_name

LOSSES = {
    "loss/model": "model_loss",
    "loss/kl": "kl_loss",
    "loss/image": "image_loss",
    "loss/reward": "reward_loss",
    "loss/discount": "discount_loss",
    "loss/actor": "actor_loss",
    "loss/critic": "critic_loss",
    "model/kl": "model_kl",
    "model/prior_entropy": "prior_ent",
    "model/posterior_entropy": "post_ent",
    "behavior/entropy": "actor_ent",
    "model/grad_norm": "model_grad_norm",
    "actor/grad_norm": "actor_grad_norm",
    "critic/grad_norm": "critic_grad_norm",
}


def replay(path: Path) -> Errors:
    """The errors of one recording."""
    torch.set_num_threads(1)
    for prefix, function in REPLAYS.items():
        if path.name.startswith(prefix):
            return function(load_recording(path))
    raise ValueError(f"no replay for {path.name}; known: {', '.join(REPLAYS)}")


def recordings() -> list[Path]:
    """The recordings that are replayed, by the pattern of their names."""
    return [path for prefix in REPLAYS for path in sorted(GOLDEN.glob(f"{prefix}*.npz"))]


def replay_updates(recording: dict[str, Any]) -> Errors:
    """Three updates of the whole agent."""
    compare, raw = Comparison(), dict[str, Tensor]()
    carry = State(*(_tensor(recording, f"carry0/{key}") for key in ("deter", "stoch", "logit")))
    batch = {key.partition("/")[2]: _tensor(recording, key) for key in recording if key.startswith("batch/")}
    _compare_first_pass(recording, batch, carry, compare)
    agent = agent_of(recording)
    for name, parameter in agent.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(keep_first(raw, name))
    for step in (1, 2, 3):
        carry, metrics = agent.update(batch, carry, _noise(recording, step))
        for ours, theirs in LOSSES.items():
            if f"step{step}/out/{theirs}" in recording:
                compare("losses", metrics[ours], recording[f"step{step}/out/{theirs}"])
        if f"param{step}/wm.rssm.img_in.weight" in recording:
            _compare_parameters(agent, recording, step, compare)
    theirs = {name: recording[_gradient_key(reference_name(name, agent))] for name in raw}
    compare_gradients(raw, theirs, compare)
    return compare.errors


def _compare_first_pass(recording: dict[str, Any], batch: Any, carry: State, compare: Comparison) -> None:
    """Per-step terms and the imagined trajectory of the first update, whose imagination follows the model's step."""
    agent, noise = agent_of(recording), _noise(recording, 1)
    agent.world_model.train()
    out = agent.world_model.loss(batch, carry, noise["posterior"])
    data = agent.world_model.preprocess(batch)
    for key, like in agent.world_model.likelihoods(out.posterior.features, data).items():
        compare("per_step", like, recording[f"step1/out/like_{key}"])
    compare("per_step", out.kl, recording["step1/out/kl_value_per_step"])
    compare("per_step", out.embed, recording["step1/out/embed"])
    compare("per_step", out.posterior.features, recording["step1/out/feat"])
    compare("per_step", out.posterior.logit, recording["step1/out/post_logit"])
    compare("per_step", out.prior_logit, recording["step1/out/prior_logit"])
    agent = agent_of(recording)
    posterior, _ = agent._update_world_model(batch, carry, noise["posterior"])
    seq = agent.behavior.imagine(agent.world_model, posterior.flatten_steps(), batch["is_terminal"].flatten(), noise)
    returns = agent.behavior.returns(seq)
    _, entropy = agent.behavior.actor_loss(seq, returns)
    found = {**seq.states._asdict(), "feat": seq.features, "action": seq.action, "reward": seq.reward}
    found |= {"discount": seq.discount, "weight": seq.weight, "value": returns.value, "target": returns.target}
    found["target_critic"] = agent.behavior.critic_target(returns.target, entropy)
    for key, ours in found.items():
        compare("imagined", ours, recording[f"step1/imag/{key}"])


def _compare_parameters(agent: Any, recording: dict[str, Any], step: int, compare: Comparison) -> None:
    for name, ours in agent.state_dict().items():
        key = reference_name(name, agent)
        theirs = recording.get(f"param{step}/{key}", recording.get(f"buffer{step}/{key}"))
        compare("parameters", ours, theirs)


def _gradient_key(key: str) -> str:
    group = "model" if key.startswith("wm.") else "actor" if ".actor." in key else "critic"
    return f"step1/grad_{group}/{key}"


def _noise(recording: dict[str, Any], step: int) -> dict[str, Tensor]:
    action = _tensor(recording, f"step{step}/noise/u_action")
    return {
        "posterior": _tensor(recording, f"step{step}/noise/u_post"),
        "latent": _tensor(recording, f"step{step}/noise/u_imag"),
        "action": action if action.ndim == 3 else action.unsqueeze(-1),
    }


def _tensor(recording: dict[str, Any], key: str) -> Tensor:
    return torch.as_tensor(recording[key])


def replay_harmonizer_loss(recording: dict[str, Any]) -> Errors:
    """Totals and gradients of 256 random (losses, s), both forms, in float32 and float64."""
    compare = Comparison()
    for short, form in {"rect": "rectified", "unrect": "unrectified"}.items():
        for suffix, dtype in {"": torch.float32, "_f64": torch.float64}.items():
            total, grad_s, grad_loss = _harmonise(recording["L"], recording["s"], form, dtype)
            compare("losses", total, recording[f"{short}_total{suffix}"])
            compare("gradients", grad_s, recording[f"{short}_grad_s{suffix}"])
            compare("gradients", grad_loss, recording[f"{short}_grad_L{suffix}"])
    return compare.errors


def _harmonise(losses: Any, s: Any, form: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    keys = ["reward", "image", "kl"]
    totals, grad_s, grad_loss = [], [], []
    for row, s_row in zip(losses, s, strict=True):
        objective = _objective(form).to(dtype)
        for key, value in zip(keys, s_row, strict=True):
            objective.s[key].data.fill_(float(value))
        loss = torch.tensor(row, dtype=dtype, requires_grad=True)
        total = objective(dict(zip(keys, loss, strict=True)))
        total.backward()
        totals.append(total.detach())
        grad_s.append(torch.stack([objective.s[key].grad for key in keys]))
        grad_loss.append(loss.grad)
    return torch.stack(totals), torch.stack(grad_s), torch.stack(grad_loss)


def _objective(form: str) -> Objective:
    keys = ["reward", "image", "kl"]
    settings = Harmonizer(form=form, losses=keys, ignore_scales=True, drop_others=True, share_regulariser=True)
    return Objective(keys, settings, {})


TRAJECTORIES = {
    "wmlib_metaworld": (3e-4, 1e-5, 1e-6, 100.0),
    "wmlib_default": (1e-4, 1e-5, 1e-6, 100.0),
    "wmlib_dv3": (1e-4, 1e-8, 0.0, 1000.0),
    "noclip_nowd": (3e-4, 1e-5, 0.0, 1e30),
    "fast": (1e-2, 1e-5, 1e-6, 100.0),
}


def replay_harmonizer_trajectories(recording: dict[str, Any]) -> Errors:
    """2000 Adam steps of the three s under recorded losses, for each optimiser setting."""
    compare = Comparison()
    for short, form in {"rect": "rectified", "unrect": "unrectified"}.items():
        for setting, (lr, eps, decay, clip) in TRAJECTORIES.items():
            objective = _objective(form)
            settings = OptimizerSettings(lr=lr, eps=eps, clip=clip, weight_decay=decay)
            optimizer = Optimizer("s", objective.parameters(), settings, scaled=False)
            path, norms = [], []
            for losses in torch.as_tensor(recording["losses"]):
                total = objective(dict(zip(objective.keys, losses, strict=True)))
                norms.append(optimizer.step(total)["s/grad_norm"])
                path.append(torch.stack([objective.s[key].detach().clone() for key in objective.keys]))
            compare("parameters", torch.stack(path), recording[f"{short}_{setting}_s"])
            compare("gradients", torch.stack(norms), recording[f"{short}_{setting}_preclip_gradnorm"])
    return compare.errors


def replay_preprocess(recording: dict[str, Any]) -> Errors:
    """Images, transformed rewards and discounts."""
    compare = Comparison()
    reward, terminal = _tensor(recording, "reward"), _tensor(recording, "is_terminal")
    for key in recording:
        if not key.startswith("clip_") or not key.endswith("/reward"):
            continue
        clip, discount = key.removesuffix("/reward").removeprefix("clip_").split("_disc")
        transform = clip if clip in ("identity", "sign", "tanh") else float(clip)
        compare("losses", transform_reward(reward, transform), recording[key])
        compare("losses", float(discount) * (1 - terminal), recording[key.replace("/reward", "/discount")])
        image = _tensor(recording, "image").float() / 255 - 0.5
        compare("losses", image, recording[key.replace("/reward", "/image")])
    return compare.errors


def replay_pieces(recording: dict[str, Any]) -> Errors:
    """Heads, KL, returns, truncated normal, GRU, slow critic, two-hot and percentiles of the torch code."""
    compare = Comparison()
    compare_two_hot(recording, compare)
    compare_percentiles(recording, compare)
    get = lambda key: _tensor(recording, key)  # noqa: E731
    compare("losses", MSE(get("mse_image/pred"), 3).log_prob(get("mse_image/target")), recording["mse_image/log_prob"])
    binary = Bernoulli(get("bernoulli/logits"))
    compare("losses", binary.log_prob(get("bernoulli/soft_target")), recording["bernoulli/log_prob"])
    compare("losses", binary.mean, recording["bernoulli/mean"])
    _compare_kl(recording, compare)
    target = lambda_return(get("lambda/reward")[:-1], get("lambda/value"), get("lambda/discount")[:-1], 0.95)
    compare("losses", target, recording["lambda/target_wmlib_H-1"])
    _compare_truncated_normal(recording, compare)
    compare("losses", _gru(recording)(get("gru/x"), get("gru/h")), recording["gru/out"])
    _compare_slow_critic(recording, compare)
    return compare.errors


def _compare_kl(recording: dict[str, Any], compare: Comparison) -> None:
    """Averaged before it is clipped; balance 0.5 is another formula in the reference, which no DreamerV2 preset has."""
    for key in recording:
        if not key.endswith("_avgfirst_loss") or "bal0.5" in key:
            continue
        logits, balance, free, _, _ = key.removeprefix("kl/").split("_")
        post = _tensor(recording, f"kl/{logits}_post_logit").requires_grad_()
        prior = _tensor(recording, f"kl/{logits}_prior_logit").requires_grad_()
        settings = BalancedKL(kind="balanced", free=float(free[4:]), balance=float(balance[3:]))
        losses, value = kl_losses(post, prior, settings)
        loss = losses["kl"]
        loss.backward()
        compare("losses", loss, recording[key])
        compare("losses", value, recording[f"kl/{logits}_value"])
        compare("gradients", post.grad, recording[key.replace("_loss", "_grad_post")])  # type: ignore[arg-type]
        compare("gradients", prior.grad, recording[key.replace("_loss", "_grad_prior")])  # type: ignore[arg-type]
        compare("losses", OneHot(post).entropy().sum(-1), recording[f"kl/{logits}_post_entropy"])


def _compare_truncated_normal(recording: dict[str, Any], compare: Comparison) -> None:
    mean_raw = _tensor(recording, "truncnorm/mean_raw").requires_grad_()
    std_raw = _tensor(recording, "truncnorm/std_raw").requires_grad_()
    dist = TruncatedNormal(mean_raw.tanh(), 2 * (std_raw / 2).sigmoid() + 0.1)
    sample = dist.sample(_tensor(recording, "truncnorm/u"))
    compare("losses", sample, recording["truncnorm/sample"])
    compare("losses", dist.mode, recording["truncnorm/mode"])
    # Recorded for each component; ours are joint.
    compare("losses", dist.entropy(), recording["truncnorm/entropy"].sum(-1))
    value = _tensor(recording, "truncnorm/value")
    compare("losses", dist.log_prob(value), recording["truncnorm/log_prob"].sum(-1))
    cotangent = _tensor(recording, "truncnorm/cotangent")
    for output, name in ((sample, "sample"), (dist.entropy(), "ent")):
        weight = cotangent if name == "sample" else torch.ones_like(output)
        grads = torch.autograd.grad(output, (mean_raw, std_raw), weight, retain_graph=True)
        compare("gradients", grads[0], recording[f"truncnorm/d{name}_dmeanraw"])
        compare("gradients", grads[1], recording[f"truncnorm/d{name}_dstdraw"])


def _gru(recording: dict[str, Any]) -> NormGRUCell:
    cell = NormGRUCell(5, 7, Layers(**base_method("dreamerv2")["layers"]))
    names = {"linear": "_layer", "norm": "_norm"}
    for part, theirs in names.items():
        weights = {name: _tensor(recording, f"gru/param_{theirs}.{name}") for name in ("weight", "bias")}
        getattr(cell, part).load_state_dict(weights)
    return cell


def _compare_slow_critic(recording: dict[str, Any], compare: Comparison) -> None:
    """The recorded critic is one number; here, every parameter has its value."""
    config = resolve("metaworld", "lever_pull", "dreamerv2", "smoke")
    kind = action_kind(gymnasium.spaces.Discrete(2), config.behavior.policy)
    behavior = Behavior(config.behavior, config.layers, 1, kind)
    for parameter in behavior.slow_critic.parameters():
        parameter.data.fill_(float(recording["slow/dv2_dst0"]))
    for update, source in enumerate(recording["slow/dv2_src"]):
        for parameter in behavior.critic.parameters():
            parameter.data.fill_(float(source))
        behavior.update_slow_critic(update)
        found = torch.stack([parameter.mean() for parameter in behavior.slow_critic.parameters()])
        compare("parameters", found, np.full(len(found), recording["slow/dv2_dst"][update]))


REPLAYS: dict[str, Callable[[dict[str, Any]], Errors]] = {
    "harmonizer_loss_": replay_harmonizer_loss,
    "harmonizer_traj_": replay_harmonizer_trajectories,
    "preprocess_": replay_preprocess,
    "dv2_update_": replay_updates,
    "dv3_update_": replay_updates,
    "dv3_pieces_wmlib_": replay_pieces,
    "dv3jax_update_": replay_jax_updates,
    "dv3_pieces_jax_": replay_jax_pieces,
}


def main() -> None:
    kinds = ("losses", "per_step", "imagined", "gradients", "parameters")
    print("| recording | " + " | ".join(kind.replace("_", "-") for kind in kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    for path in recordings():
        errors = replay(path)
        cells = [f"{errors[kind]:.1e}" if kind in errors else "" for kind in kinds]
        print(f"| `{path.stem}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
