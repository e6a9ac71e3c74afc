"""DreamerV2's world model: encoder, RSSM, decoder and heads, trained on one weighted sum of losses.

Shapes: B batch, T time, A action size. A batch has image (B, T, C, H, W) uint8, vectors (B, T, N), action (B, T, A),
reward, is_first and is_terminal (B, T) float32. Reference: wmlib-torch/wmlib/agents/{base,dreamerv2}.py.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agent.distributions import MSE, Bernoulli
from agent.harmonizer import Objective
from agent.images import Decoder, Encoder, Shapes
from agent.nets import MLP
from agent.rssm import RSSM, State, kl_loss
from agent.settings import WorldModel as WorldModelSettings

Batch = Mapping[str, Tensor]


class Outputs(NamedTuple):
    """What one pass over a batch gives: the objective, its losses (name to scalar or (B, T)), states, metrics."""

    objective: Tensor
    losses: dict[str, Tensor]
    posterior: State
    prior_logit: Tensor
    embed: Tensor
    kl: Tensor


class WorldModel(nn.Module):
    def __init__(self, settings: WorldModelSettings, shapes: Shapes, action_size: int):
        """`shapes`: of the observation's keys, images (C, H, W), vectors (N,)."""
        super().__init__()
        self.settings = settings
        self.encoder = Encoder(shapes, settings.encoder)
        self.rssm = RSSM(settings.rssm, self.encoder.size, action_size)
        features = self.rssm.feature_size
        self.heads = nn.ModuleDict(
            {
                "decoder": Decoder(features, shapes, settings.decoder),
                "reward": MLP(features, settings.reward_head, {"out": 1}),
            }
        )
        if settings.predict_discount:
            self.heads["discount"] = MLP(features, settings.discount_head, {"out": 1})
        # The order of the reference's sum: float32 results depend on it in their last bits.
        first = ["reward", "discount", "kl", "image"] if settings.predict_discount else ["reward", "kl", "image"]
        self.objective = Objective(
            first + [k for k in shapes if k != "image"], settings.harmonizer, settings.loss_scales
        )

    def preprocess(self, batch: Batch) -> dict[str, Tensor]:
        """Images to [-0.5, 0.5], transformed rewards, and discount = gamma * (1 - is_terminal)."""
        out = dict(batch)
        out["image"] = batch["image"].float() / 255 - 0.5
        if "reward" in batch:
            out["reward"] = transform_reward(batch["reward"], self.settings.reward_transform)
        if "is_terminal" in batch:
            out["discount"] = self.settings.discount * (1 - batch["is_terminal"].float())
        return out

    def loss(self, batch: Batch, carry: State, u: Tensor) -> Outputs:
        """One pass over a batch; `carry` the states before it (B, ...), `u` (B, T, S) the posterior's noise."""
        data = self.preprocess(batch)
        embed = self.encoder(data)
        posterior, prior_logit = self.rssm.observe(embed, data["action"], data["is_first"], carry, u)
        kl, kl_per_step = kl_loss(posterior.logit, prior_logit, self.settings.kl)
        losses = {"kl": kl} | {key: -like for key, like in self.likelihoods(posterior.features, data).items()}
        losses = {key: losses[key] for key in self.objective.keys}
        return Outputs(self.objective(losses), losses, posterior, prior_logit, embed, kl_per_step)

    def likelihoods(self, features: Tensor, data: Batch) -> dict[str, Tensor]:
        """The log-likelihood of every head's target at each step, (B, T)."""
        found = {}
        for name in self.heads:
            for key, head in self.predict(name, features).items():
                found[key] = head.log_prob(data[key])
        return found

    def predict(self, name: str, features: Tensor) -> dict[str, MSE | Bernoulli]:
        """The distributions of head `name` at features (..., F); those without a gradient head are cut off from them."""
        features = features if name in self.settings.gradient_heads else features.detach()
        if name == "decoder":
            return self.heads["decoder"](features)
        return {name: HEADS[name](self.heads[name](features)["out"].squeeze(-1))}

    def reward(self, features: Tensor) -> Tensor:
        """The reward expected at features (..., F): (...)."""
        return MSE(self.heads["reward"](features)["out"].squeeze(-1)).mode

    def discount(self, features: Tensor) -> Tensor:
        """The discount at features (..., F): (...). The head's probability is it: its target has gamma in it."""
        if "discount" not in self.heads:
            return torch.full(features.shape[:-1], self.settings.discount, device=features.device)
        return Bernoulli(self.heads["discount"](features)["out"].squeeze(-1)).mean

    def metrics(self, out: Outputs) -> dict[str, Tensor]:
        """Detached scalars on the device."""
        found = {f"loss/{key}": loss.detach().mean() for key, loss in out.losses.items()}
        found["loss/model"] = out.objective.detach()
        found["model/kl"] = out.kl.mean()
        found["model/prior_entropy"] = RSSM.distribution(out.prior_logit.detach()).entropy().sum(-1).mean()
        found["model/posterior_entropy"] = RSSM.distribution(out.posterior.logit.detach()).entropy().sum(-1).mean()
        return found | self.objective.metrics()


HEADS = {"reward": MSE, "discount": Bernoulli}
TRANSFORMS = {"identity": lambda x: x, "sign": torch.sign, "tanh": torch.tanh}


def transform_reward(reward: Tensor, transform: str | float) -> Tensor:
    """Identity, sign or tanh by name, or division by a number."""
    return TRANSFORMS[transform](reward) if isinstance(transform, str) else reward / transform
