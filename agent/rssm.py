"""The recurrent state-space model with categorical latents (Hafner et al. 2021, section 2; Hafner et al. 2023).

`action[t]` is always the action that led to observation t. Shapes: B batch, T time, S latent variables, K classes, D
deterministic units, A action size. Reference: wmlib-torch/wmlib/nets/dynamics/; dreamerv3-jax/dreamerv3/nets.py.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.distributions import OneHot, unimix
from agent.nets import ACTIVATIONS, NormGRUCell, hidden, layer_norm, output
from agent.settings import RSSM as RSSMSettings
from agent.settings import BalancedKL, Layers, SeparateKL


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
    def __init__(self, settings: RSSMSettings, layers: Layers, embed_size: int, action_size: int):
        super().__init__()
        self.settings = settings
        self.deter, self.stoch, self.classes = settings.deter, settings.stoch, settings.classes
        latent, units = settings.stoch * settings.classes, settings.hidden
        self.feature_size = latent + settings.deter
        self.cell = NormGRUCell(units, settings.deter, layers)
        self.img_in, self.img_in_norm = hidden(latent + action_size, units, layers), layer_norm(units, layers)
        self.img_out, self.img_out_norm = hidden(settings.deter, units, layers), layer_norm(units, layers)
        self.img_dist = output(units, latent)
        self.obs_out, self.obs_out_norm = hidden(settings.deter + embed_size, units, layers), layer_norm(units, layers)
        self.obs_dist = output(units, latent)
        self._act = ACTIVATIONS[layers.activation]
        if settings.learned_initial:
            self.first = nn.Parameter(torch.zeros(settings.deter))

    def initial(self, batch: int) -> State:
        """The state before an episode's first step: zeros, or a learned one whose latents are the prior's mode."""
        device = self.img_dist.weight.device
        stoch, logit = (torch.zeros(batch, self.stoch, self.classes, device=device) for _ in range(2))
        if not self.settings.learned_initial:
            return State(torch.zeros(batch, self.deter, device=device), stoch, logit)
        deter = torch.tanh(self.first)
        stoch = self.distribution(self.prior_logits(deter)).mode
        return State(deter.expand(batch, -1), stoch.expand(batch, -1, -1), logit)

    def observe(self, embed: Tensor, action: Tensor, is_first: Tensor, carry: State, u: Tensor) -> tuple[State, Tensor]:
        """Posterior states (B, T, ...) and prior logits (B, T, S, K) along a sequence.

        embed (B, T, E), action (B, T, A), is_first (B, T), carry: the states before the first step (B, ...),
        u (B, T, S): uniform noise of the posterior samples.
        """
        embedded, action, start = self._embed(embed), self._clip(action), self.initial(len(action))
        states, state = [], carry
        for t in range(embed.shape[1]):
            state = self._posterior(state, start, action[:, t], embedded[:, t], is_first[:, t], u[:, t])
            states.append(state)
        posterior = State.stack(states, 1)
        return posterior, self.prior_logits(posterior.deter)

    def observe_step(self, state: State, action: Tensor, embed: Tensor, is_first: Tensor, u: Tensor) -> State:
        """One step of `observe`: all without the T dimension."""
        start = self.initial(len(action))
        return self._posterior(state, start, self._clip(action), self._embed(embed), is_first, u)

    def imagine_step(self, state: State, action: Tensor, u: Tensor) -> State:
        """The next state without an observation: state (N, ...), action (N, A), u (N, S)."""
        deter = self._deterministic(state, self._clip(action))
        logit = self.prior_logits(deter)
        return State(deter, self.distribution(logit).sample(u), logit)

    def prior_logits(self, deter: Tensor) -> Tensor:
        """(..., D) to (..., S, K)."""
        return self._logits(self.img_dist, self._act(self.img_out_norm(self.img_out(deter))))

    @staticmethod
    def distribution(logit: Tensor) -> OneHot:
        return OneHot(logit.float())  # in float32 whatever the precision of the networks

    def _clip(self, action: Tensor) -> Tensor:
        return action / action.abs().clamp_min(1.0).detach() if self.settings.clip_actions else action

    def _embed(self, embed: Tensor) -> Tensor:
        """The embedding's share of `obs_out`, which does not depend on the state: one product for the sequence."""
        return F.linear(embed, self.obs_out.weight[:, self.deter :], self.obs_out.bias)

    def _posterior(
        self, state: State, start: State, action: Tensor, embedded: Tensor, is_first: Tensor, u: Tensor
    ) -> State:
        first = is_first.bool().unsqueeze(-1)  # (B, 1)
        deter = self._deterministic(self._begin_where(first, state, start), action.masked_fill(first, 0.0))
        joint = embedded + F.linear(deter, self.obs_out.weight[:, : self.deter])
        logit = self._logits(self.obs_dist, self._act(self.obs_out_norm(joint)))
        return State(deter, self.distribution(logit).sample(u), logit)

    @staticmethod
    def _begin_where(first: Tensor, state: State, start: State) -> State:
        """The start where `first` (B, 1): chosen, not weighed, so that a state that is not finite ends there, too."""
        deter = torch.where(first, start.deter, state.deter)
        return State(deter, torch.where(first.unsqueeze(-1), start.stoch, state.stoch), state.logit)

    def _deterministic(self, state: State, action: Tensor) -> Tensor:
        x = self.img_in(torch.cat([state.stoch.flatten(-2), action], -1))
        return self.cell(self._act(self.img_in_norm(x)), state.deter)

    def _logits(self, layer: nn.Module, x: Tensor) -> Tensor:
        return unimix(layer(x).unflatten(-1, (self.stoch, self.classes)), self.settings.unimix)


def kl_losses(posterior: Tensor, prior: Tensor, settings: BalancedKL | SeparateKL) -> tuple[dict[str, Tensor], Tensor]:
    """The dynamics losses by name, and KL(posterior || prior) of each step (B, T), from logits (B, T, S, K)."""
    value = _kl(posterior, prior.detach())
    dynamics = _kl(posterior.detach(), prior)
    return KL_LOSSES[settings.kind](value, dynamics, settings), value.detach()


def balanced_kl(representation: Tensor, dynamics: Tensor, settings: BalancedKL) -> dict[str, Tensor]:
    """One scalar: (1 - balance) * max(representation, free) + balance * max(dynamics, free), both of them means.

    Averaged over the batch before it is clipped, so that below `free` nats no step has a gradient (torch code).
    """
    representation, dynamics = (x.mean().clamp_min(settings.free) for x in (representation, dynamics))
    return {"kl": (1 - settings.balance) * representation + settings.balance * dynamics}


def separate_kl(representation: Tensor, dynamics: Tensor, settings: SeparateKL) -> dict[str, Tensor]:
    """Two losses (B, T), each clipped step by step (JAX code)."""
    return {"dyn": dynamics.clamp_min(settings.free), "rep": representation.clamp_min(settings.free)}


KL_LOSSES: dict[str, Callable[..., dict[str, Tensor]]] = {"balanced": balanced_kl, "separate": separate_kl}


def _kl(p: Tensor, q: Tensor) -> Tensor:
    return RSSM.distribution(p).kl(RSSM.distribution(q)).sum(-1)
