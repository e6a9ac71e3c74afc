"""The recurrent state-space model with categorical latents (DreamerV2; Hafner et al. 2021, section 2).

Action alignment is DreamerV2's: `action[t]` is the action that led to observation t. Shapes: B batch, T time, S latent
variables, K classes, D deterministic units, A action size. Reference: wmlib-torch/wmlib/nets/dynamics/.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.distributions import OneHot
from agent.nets import NormGRUCell, linear
from agent.settings import KL
from agent.settings import RSSM as RSSMSettings


class State(NamedTuple):
    """A latent state, or a batch or sequence of them: deter (..., D), stoch (..., S, K), logit (..., S, K)."""

    deter: Tensor
    stoch: Tensor
    logit: Tensor

    @property
    def features(self) -> Tensor:
        """What heads and actor see: (..., S * K + D)."""
        return torch.cat([self.stoch.flatten(-2), self.deter], -1)

    def detach(self) -> "State":
        return State(*(x.detach() for x in self))

    def flatten_steps(self) -> "State":
        """(B, T, ...) to (B * T, ...)."""
        return State(*(x.flatten(0, 1) for x in self))

    @staticmethod
    def stack(states: list["State"], dim: int) -> "State":
        return State(*(torch.stack(parts, dim) for parts in zip(*states, strict=True)))


class RSSM(nn.Module):
    def __init__(self, settings: RSSMSettings, embed_size: int, action_size: int):
        super().__init__()
        self.deter, self.stoch, self.classes = settings.deter, settings.stoch, settings.classes
        latent = settings.stoch * settings.classes
        self.feature_size = latent + settings.deter
        self.cell = NormGRUCell(settings.hidden, settings.deter)
        self.img_in = linear(latent + action_size, settings.hidden)
        self.img_out = linear(settings.deter, settings.hidden)
        self.img_dist = linear(settings.hidden, latent)
        self.obs_out = linear(settings.deter + embed_size, settings.hidden)
        self.obs_dist = linear(settings.hidden, latent)

    def initial(self, batch: int, device: torch.device) -> State:
        """Zeros, which is also what an episode's first step starts from."""
        stoch, logit = (torch.zeros(batch, self.stoch, self.classes, device=device) for _ in range(2))
        return State(torch.zeros(batch, self.deter, device=device), stoch, logit)

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, carry: State, u: Tensor) -> tuple[State, Tensor]:
        """Posterior states (B, T, ...) and prior logits (B, T, S, K) along a sequence.

        embed (B, T, E), action (B, T, A), is_first (B, T), carry: the states before the first step (B, ...),
        u (B, T, S): uniform noise of the posterior samples.
        """
        embedded = self._embed(embed)
        states, state = [], carry
        for t in range(embed.shape[1]):
            state = self._posterior(state, action[:, t], embedded[:, t], is_first[:, t], u[:, t])
            states.append(state)
        posterior = State.stack(states, 1)
        return posterior, self.prior_logits(posterior.deter)

    def observe_step(self, state: State, action: Tensor, embed: Tensor, is_first: Tensor, u: Tensor) -> State:
        """One step of `observe`: all without the T dimension."""
        return self._posterior(state, action, self._embed(embed), is_first, u)

    def imagine_step(self, state: State, action: Tensor, u: Tensor) -> State:
        """The next state without an observation: state (N, ...), action (N, A), u (N, S)."""
        deter = self._deterministic(state, action)
        logit = self.prior_logits(deter)
        return State(deter, self.distribution(logit).sample(u), logit)

    def prior_logits(self, deter: Tensor) -> Tensor:
        """(..., D) to (..., S, K)."""
        return self._logits(self.img_dist, F.elu(self.img_out(deter)))

    @staticmethod
    def distribution(logit: Tensor) -> OneHot:
        return OneHot(logit.float())  # in float32 whatever the precision of the networks

    def _embed(self, embed: Tensor) -> Tensor:
        """The embedding's share of `obs_out`, which does not depend on the state: one product for the sequence."""
        return F.linear(embed, self.obs_out.weight[:, self.deter :], self.obs_out.bias)

    def _posterior(self, state: State, action: Tensor, embedded: Tensor, is_first: Tensor, u: Tensor) -> State:
        keep = (1.0 - is_first).unsqueeze(-1)  # (B, 1)
        state = State(state.deter * keep, state.stoch * keep.unsqueeze(-1), state.logit)
        deter = self._deterministic(state, action * keep)
        hidden = F.elu(embedded + F.linear(deter, self.obs_out.weight[:, : self.deter]))
        logit = self._logits(self.obs_dist, hidden)
        return State(deter, self.distribution(logit).sample(u), logit)

    def _deterministic(self, state: State, action: Tensor) -> Tensor:
        x = F.elu(self.img_in(torch.cat([state.stoch.flatten(-2), action], -1)))
        return self.cell(x, state.deter)

    def _logits(self, layer: nn.Module, hidden: Tensor) -> Tensor:
        return layer(hidden).unflatten(-1, (self.stoch, self.classes))


def kl_loss(posterior: Tensor, prior: Tensor, settings: KL) -> tuple[Tensor, Tensor]:
    """The balanced KL loss, a scalar, and KL(posterior || prior) of each step (B, T), from logits (B, T, S, K).

    loss = (1 - balance) * max(mean KL(post || sg(prior)), free) + balance * max(mean KL(sg(post) || prior), free):
    averaged over the batch before it is clipped, so that below `free` nats no step has a gradient.
    """

    def kl(p: Tensor, q: Tensor) -> Tensor:
        return RSSM.distribution(p).kl(RSSM.distribution(q)).sum(-1)

    value = kl(posterior, prior.detach())
    representation = value.mean().clamp_min(settings.free)
    dynamics = kl(posterior.detach(), prior).mean().clamp_min(settings.free)
    return (1 - settings.balance) * representation + settings.balance * dynamics, value.detach()
