"""Replays the recordings of the authors' JAX code; see tests/agent/golden.py."""

from typing import Any

import torch
from torch import Tensor

from agent.agent import Agent
from agent.behavior import ReturnScale, lambda_return
from agent.distributions import MSE, TwoHot, symexp, symlog
from agent.harmonizer import Objective
from agent.rssm import kl_losses
from agent.settings import Harmonizer, Percentiles, SeparateKL
from tests.agent.comparison import Comparison, Errors, compare_gradients, keep_first
from tests.agent.reference_jax import agent_of, batch_of, carry_of, embed_to_chw, translated

LOSSES = {"reward": "reward", "image": "image", "dyn": "dyn", "rep": "rep", "discount": "cont"}
METRICS = {
    "loss/model": "model_loss_mean",
    "loss/actor": "actor_opt_loss",
    "loss/critic": "extr_critic_critic_opt_loss",
    "model/grad_norm": "model_opt_grad_norm",
    "actor/grad_norm": "actor_opt_grad_norm",
    "critic/grad_norm": "extr_critic_critic_opt_grad_norm",
    "model/prior_entropy": "prior_ent_mean",
    "model/posterior_entropy": "post_ent_mean",
    "behavior/entropy": "policy_entropy_mean",
    **{f"loss/{ours}": f"{theirs}_loss_mean" for ours, theirs in LOSSES.items()},
}


def replay_jax_updates(recording: dict[str, Any]) -> Errors:
    """Three updates of the whole agent; gradients were recorded after clipping."""
    agent, compare, raw = agent_of(recording), Comparison(), dict[str, Tensor]()
    carry = carry_of(recording)
    _compare_first_pass(recording, compare)
    for name, parameter in agent.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(keep_first(raw, name))
    for step in (1, 2, 3):
        carry, metrics = agent.update(batch_of(recording, step), carry, _noise(recording, step))
        if step == 1:
            _compare_gradients(agent, recording, raw, metrics, compare)
        for ours, theirs in METRICS.items():
            if f"step{step}/metric/{theirs}" in recording:
                compare("losses", metrics[ours], recording[f"step{step}/metric/{theirs}"])
        if f"param{step}/agent/wm/rssm/initial" in recording:
            theirs = translated(agent, lambda name, step=step: recording[f"param{step}/{name}"])
            for name, ours in agent.state_dict().items():
                compare("parameters", ours, theirs[name])
    return compare.errors


def _compare_first_pass(recording: dict[str, Any], compare: Comparison) -> None:
    agent, noise, batch = agent_of(recording), _noise(recording, 1), batch_of(recording, 1)
    out = agent.world_model.loss(batch, carry_of(recording), noise["posterior"])
    for ours, theirs in LOSSES.items():
        compare("per_step", out.losses[ours], recording[f"step1/out/{theirs}_loss_per_step"])
    compare("per_step", out.embed, embed_to_chw(agent, recording["step1/out/embed"]))
    compare("per_step", out.posterior.deter, recording["step1/out/post_deter"])
    compare("per_step", out.posterior.logit, recording["step1/out/post_logit"])
    compare("per_step", out.prior_logit, recording["step1/out/prior_logit"])
    posterior, _ = agent._update_world_model(batch, carry_of(recording), noise["posterior"])
    seq = agent.behavior.imagine(agent.world_model, posterior.flatten_steps(), batch["is_terminal"].flatten(), noise)
    returns = agent.behavior.returns(seq)
    found = {**seq.states._asdict(), "action": seq.action, "weight": seq.weight, "reward": seq.reward[1:]}
    found |= {"cont": seq.discount / agent.config.world_model.discount, "value": returns.value[:-1]}
    found["target_after_actor_step"] = returns.target
    for key, ours in found.items():
        compare("imagined", ours, recording[f"step1/imag/{key}"])


def _compare_gradients(
    agent: Agent, recording: dict[str, Any], raw: dict[str, Tensor], metrics: dict[str, Tensor], compare: Comparison
) -> None:
    # What has no gradient of its own, the slow critic and the return scale, is not compared.
    theirs = translated(agent, lambda name: recording.get(f"step1/grad_clipped/{name}", recording[f"param0/{name}"]))
    clipped = {}
    for name, gradient in raw.items():
        optimizer = "model" if name.startswith("world_model") else "actor" if "actor" in name else "critic"
        clip = agent.optimizers[optimizer].clip
        clipped[name] = gradient * (clip / metrics[f"{optimizer}/grad_norm"]).clamp_max(1.0)
    compare_gradients(clipped, theirs, compare)


def _noise(recording: dict[str, Any], step: int) -> dict[str, Tensor]:
    noise = {key: torch.as_tensor(recording[f"step{step}/noise/{key}"]) for key in ("u_post", "u_imag", "action")}
    action = noise["action"]
    return {
        "posterior": noise["u_post"],
        "latent": noise["u_imag"],
        "action": action if action.ndim == 3 else action.unsqueeze(-1),
    }


def replay_jax_pieces(recording: dict[str, Any]) -> Errors:
    """The parts of DreamerV3, the harmonised loss of the JAX code among them."""
    compare = Comparison()
    get = lambda key: torch.as_tensor(recording[key])  # noqa: E731
    compare_two_hot(recording, compare)
    image = MSE(get("mse_image/pred"), 3, scale=1.0)
    compare("losses", image.log_prob(get("mse_image/target")), recording["mse_image/log_prob"])
    compare_percentiles(recording, compare)
    _compare_kl(recording, compare)
    gamma = 1 - 1 / 333
    discount = get("lambda/cont") * gamma
    target = lambda_return(get("lambda/reward_all_steps")[1:], get("lambda/value"), discount[1:], 0.95)
    compare("losses", target, recording["lambda/target_v3"])
    compare("losses", discount.cumprod(0) / gamma, recording["lambda/weight_v3"])
    _compare_harmony(recording, compare)
    return compare.errors


def compare_two_hot(recording: dict[str, Any], compare: Comparison) -> None:
    logits = torch.as_tensor(recording["twohot/logits"]).requires_grad_()
    dist = TwoHot(logits)
    log_prob = dist.log_prob(torch.as_tensor(recording["twohot/targets"]))
    log_prob.sum().backward()
    compare("losses", symlog(torch.as_tensor(recording["symlog/x"])), recording["symlog/y"])
    compare("losses", symexp(torch.as_tensor(recording["symexp/x"])), recording["symexp/y"])
    compare("losses", log_prob, recording["twohot/log_prob"])
    compare("losses", dist.mean, recording["twohot/mean"])
    compare("gradients", logits.grad, recording["twohot/grad_logits_of_sum"])  # type: ignore[arg-type]


def compare_percentiles(recording: dict[str, Any], compare: Comparison) -> None:
    scale = ReturnScale(Percentiles(decay=0.99, low=0.05, high=0.95))
    found = [scale(torch.as_tensor(returns)) for returns in recording["percnorm/returns_sequence"]]
    compare("losses", torch.stack([low for low, _ in found]), recording["percnorm/offset"])
    compare("losses", torch.stack([width for _, width in found]), recording["percnorm/scale"])


def _compare_kl(recording: dict[str, Any], compare: Comparison) -> None:
    for key in recording:
        if not key.endswith("_per_step") or not key.startswith("kl/"):
            continue
        logits, name, free = key.removeprefix("kl/").removesuffix("_per_step").split("_")
        post = torch.as_tensor(recording[f"kl/{logits}_post_logit"]).requires_grad_()
        prior = torch.as_tensor(recording[f"kl/{logits}_prior_logit"]).requires_grad_()
        losses, _ = kl_losses(post, prior, SeparateKL(kind="separate", free=float(free[4:])))
        losses[name].mean().backward()
        compare("losses", losses[name], recording[key])
        for side, tensor in {"post": post, "prior": prior}.items():
            gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            compare("gradients", gradient, recording[key.replace("per_step", f"mean_grad_{side}")])


def _compare_harmony(recording: dict[str, Any], compare: Comparison) -> None:
    losses = {ours: torch.as_tensor(recording[f"harmony/loss_{theirs}"]) for ours, theirs in LOSSES.items()}
    settings = Harmonizer(
        form="rectified",
        losses=["reward", "image", "kl"],
        ignore_scales=True,
        drop_others=False,
        share_regulariser=True,
    )
    for case in ("zero", "mixed"):
        objective = Objective(list(losses), settings, {"dyn": 0.5, "rep": 0.1})
        for key, value in zip(settings.losses, recording[f"harmony/{case}_s"], strict=True):
            objective.s[key].data.fill_(float(value))
        total = objective(losses)
        total.backward()
        compare("losses", total, recording[f"harmony/{case}_mean"])
        grads = torch.stack([objective.s[key].grad for key in settings.losses])  # type: ignore[misc]
        compare("gradients", grads, recording[f"harmony/{case}_grad_s"])
