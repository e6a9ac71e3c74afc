"""Dreamer's world model: encoder, RSSM, decoder and heads, trained on one weighted sum of losses.

Shapes: B batch, T time, A action size. A batch has image (B, T, C, H, W) uint8, vectors (B, T, N), action (B, T, A),
reward, is_first and is_terminal (B, T) float32. Reference: wmlib-torch/wmlib/agents/{base,dreamerv2}.py;
dreamerv3-jax/dreamerv3/agent.py, `WorldModel`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agent.distributions import MSE, Bernoulli, SymlogMSE, TwoHot
from agent.harmonizer import Objective
from agent.images import Decoder, Encoder, Shapes
from agent.nets import MLP
from agent.rssm import RSSM, State, kl_losses
from agent.settings import Head as HeadSettings
from agent.settings import Layers
from agent.settings import WorldModel as WorldModelSettings

Batch = Mapping[str, Tensor]
Prediction = MSE | SymlogMSE | TwoHot | Bernoulli


class Outputs(NamedTuple):
    """What one pass over a batch gives: the objective, its losses (name to scalar or (B, T)), states, metrics."""

    objective: Tensor
    losses: dict[str, Tensor]
    posterior: State
    prior_logit: Tensor
    embed: Tensor
    kl: Tensor


class WorldModel(nn.Module):
    def __init__(self, settings: WorldModelSettings, layers: Layers, shapes: Shapes, action_size: int):
        """`shapes`: of the observation's keys, images (C, H, W), vectors (N,)."""
        super().__init__()
        self.settings = settings
        self.encoder = Encoder(shapes, settings, layers)
        self.rssm = RSSM(settings.rssm, layers, self.encoder.size, action_size)
        features = self.rssm.feature_size
        self.heads = nn.ModuleDict(
            {
                "decoder": Decoder(features, shapes, settings, layers),
                "reward": scalar_head(features, settings.reward_head, layers),
            }
        )
        if settings.predict_discount:
            self.heads["discount"] = scalar_head(features, settings.discount_head, layers)
        kl = ["kl"] if settings.kl.kind == "balanced" else ["dyn", "rep"]
        discount = ["discount"] if settings.predict_discount else []
        # The order of the torch code's sum: float32 results depend on it in their last bits.
        keys = ["reward", *discount, *kl, "image", *(key for key in shapes if key != "image")]
        self.objective = Objective(keys, settings.harmonizer, settings.loss_scales)

    def preprocess(self, batch: Batch) -> dict[str, Tensor]:
        """Everything to float32, images to [-0.5, 0.5], transformed rewards, and the discount head's target.

        That is gamma * (1 - is_terminal), or 1 - is_terminal with `hard_continues`.
        """
        out = {key: value.float() for key, value in batch.items()}
        out["image"] = out["image"] / 255 - 0.5
        if "reward" in batch:
            out["reward"] = transform_reward(out["reward"], self.settings.reward_transform)
        if "is_terminal" in batch:
            gamma = 1.0 if self.settings.hard_continues else self.settings.discount
            out["discount"] = gamma * (1 - out["is_terminal"])
        return out

    def loss(self, batch: Batch, carry: State, u: Tensor) -> Outputs:
        """One pass over a batch; `carry` the states before it (B, ...), `u` (B, T, S) the posterior's noise."""
        data = self.preprocess(batch)
        embed = self.encoder(data)
        posterior, prior_logit = self.rssm.observe(embed, data["action"], data["is_first"], carry, u)
        losses, kl = kl_losses(posterior.logit, prior_logit, self.settings.kl)
        losses |= {key: -like for key, like in self.likelihoods(posterior.features, data).items()}
        losses = {key: losses[key] for key in self.objective.keys}
        return Outputs(self.objective(losses), losses, posterior, prior_logit, embed, kl)

    def likelihoods(self, features: Tensor, data: Batch) -> dict[str, Tensor]:
        """The log-likelihood of every head's target at each step, (B, T)."""
        found = {}
        for name in self.heads:
            for key, head in self.predict(name, features).items():
                found[key] = head.log_prob(data[key])
        return found

    def predict(self, name: str, features: Tensor) -> Mapping[str, Prediction]:
        """The distributions of head `name` at features (..., F), cut off from them unless it is a gradient head."""
        features = features if name in self.settings.gradient_heads else features.detach()
        if name == "decoder":
            return self.heads["decoder"](features)
        return {name: self._scalar(name, features)}

    def reward(self, features: Tensor) -> Tensor:
        """The reward expected at features (..., F): (...)."""
        return self._scalar("reward", features).mean

    def discount(self, features: Tensor) -> Tensor:
        """The discount at features (..., F): (...). A soft head's probability is it: its target has gamma in it."""
        gamma = self.settings.discount
        if "discount" not in self.heads:
            return torch.full(features.shape[:-1], gamma, device=features.device)
        chance = self._scalar("discount", features).mean
        return gamma * (chance > 0.5).to(chance.dtype) if self.settings.hard_continues else chance

    def _scalar(self, name: str, features: Tensor) -> Prediction:
        output = self.settings.reward_head.output if name == "reward" else self.settings.discount_head.output
        return predict_scalar(self.heads[name], output, features)

    def metrics(self, out: Outputs) -> dict[str, Tensor]:
        """Detached scalars on the device."""
        found = {f"loss/{key}": loss.detach().mean() for key, loss in out.losses.items()}
        found["loss/model"] = out.objective.detach()
        found["model/kl"] = out.kl.mean()
        found["model/prior_entropy"] = RSSM.distribution(out.prior_logit.detach()).entropy().sum(-1).mean()
        found["model/posterior_entropy"] = RSSM.distribution(out.posterior.logit.detach()).entropy().sum(-1).mean()
        return found | self.objective.metrics()


TRANSFORMS = {"identity": lambda x: x, "sign": torch.sign, "tanh": torch.tanh}


def transform_reward(reward: Tensor, transform: str | float) -> Tensor:
    """Identity, sign or tanh by name, or division by a number."""
    return TRANSFORMS[transform](reward) if isinstance(transform, str) else reward / transform


def scalar_head(features: int, settings: HeadSettings, layers: Layers) -> MLP:
    """A network for one scalar; a two-hot one begins at a uniform prediction, that is at 0."""
    two_hot = settings.output == "two_hot"
    return MLP(features, settings, layers, {"out": TwoHot.BINS if two_hot else 1}, zero_outputs=two_hot)


def predict_scalar(head: nn.Module, output: str, features: Tensor) -> Prediction:
    """The distribution of a `scalar_head` at features (..., F); its batch shape is (...).

    It is in float32 whatever the precision of the network: returns are sums of many of its values.
    """
    out = head(features)["out"].float()
    return TwoHot(out) if output == "two_hot" else SCALARS[output](out.squeeze(-1))


SCALARS: dict[str, type[MSE] | type[Bernoulli]] = {"mse": MSE, "binary": Bernoulli}
