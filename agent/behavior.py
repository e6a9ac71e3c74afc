"""Dreamer's actor and critic, trained on sequences imagined by the world model.

Shapes: H horizon, N imagined sequences (every posterior state of a batch starts one), F features, A action size;
trajectories are time-major, (H + 1, N, ...). Reference: wmlib-torch/wmlib/agents/actor_critic.py and base.py
(`imagine`); dreamerv3-jax/dreamerv3/agent.py (`ImagActorCritic`, `VFunction`). The two alignments of the losses, for
H = 3 (brackets: what the actor's loss uses):

    arrival     z0    z1    z2   z3       action[t] led to z[t]; action[0] is a dummy
    targets     t0   [t1]  [t2]           t_k counts the reward of z_k itself
    policy     [p0]  [p1]                 the action out of z0 is judged by t1, the return of the state it led to
    weights    [w0]  [w1]   w2            product of the discounts so far, w0 = 1

    departure   z0    z1    z2   z3       action[t] is taken at z[t]
    targets    [t0]  [t1]  [t2]           t_k counts rewards from z_{k+1} on
    policy     [p0]  [p1]  [p2]           the action out of z0 is judged by t0
    weights    [w0]  [w1]  [w2]           the same, but w0 = 0 where the episode has ended
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agent.actions import ActionKind
from agent.distributions import ActionDistribution
from agent.nets import MLP
from agent.rssm import State
from agent.settings import Behavior as BehaviorSettings
from agent.settings import Layers, Percentiles
from agent.world_model import Prediction, WorldModel, predict_scalar, scalar_head


class Trajectory(NamedTuple):
    """An imagined sequence: states (H + 1, N, ...), features (H + 1, N, F), action (H + 1, N, A), others (H + 1, N)."""

    states: State
    features: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    weight: Tensor


class Decisions(NamedTuple):
    """What the actor's loss is about: the states decided in (features), the actions, their returns and weights."""

    features: Tensor
    action: Tensor
    returns: Tensor
    weight: Tensor


class Returns(NamedTuple):
    """Lambda returns (H, N), and values of the slow or fast critic, as baseline, of all states (H + 1, N)."""

    target: Tensor
    value: Tensor
    baseline: Tensor


class Behavior(nn.Module):
    def __init__(self, settings: BehaviorSettings, layers: Layers, features: int, kind: ActionKind):
        super().__init__()
        self.settings, self.kind = settings, kind
        self.actor_net = MLP(features, settings.actor, layers, kind.outputs)
        self.critic = scalar_head(features, settings.critic, layers)
        self.slow_critic = scalar_head(features, settings.critic, layers).requires_grad_(False)
        self.alignment = ALIGNMENTS[settings.alignment]
        self.scale = ReturnScale(settings.normalise_returns) if settings.normalise_returns else None
        by_space = "dynamics" if kind.continuous else "reinforce"
        self.gradient = by_space if settings.gradient == "auto" else settings.gradient

    def actor(self, features: Tensor) -> ActionDistribution:
        """The policy at features (..., F), which get no gradient from it."""
        return self.kind.distribution({name: x.float() for name, x in self.actor_net(features.detach()).items()})

    def value(self, critic: nn.Module, features: Tensor) -> Prediction:
        return predict_scalar(critic, self.settings.critic.output, features)

    def imagine(self, model: WorldModel, start: State, is_terminal: Tensor, noise: Mapping[str, Tensor]) -> Trajectory:
        """Roll the policy out in the model from `start` (N, ...); `is_terminal` (N,) tells where nothing follows.

        noise: latent (H, N, S), and action (H or, departing, H + 1, N, noise of the action kind).
        """
        with torch.set_grad_enabled(self.gradient == "dynamics"):
            states, actions = self.alignment.rollout(self, model, start, noise)
            features = states.features
            discount = self._discount(model, features, is_terminal)
            weight = self.alignment.weight(discount, model.settings.discount).detach()
            return Trajectory(states, features, actions, model.reward(features), discount, weight)

    def _discount(self, model: WorldModel, features: Tensor, is_terminal: Tensor) -> Tensor:
        discount = model.discount(features)
        if not model.settings.predict_discount:
            return discount
        first = model.settings.discount * (1 - is_terminal)  # the replay knows the first step's
        return torch.cat([first[None], discount[1:]])

    def returns(self, seq: Trajectory) -> Returns:
        """Lambda returns of an imagined sequence, and the values they build on and are compared with."""
        settings, counted = self.settings, self.alignment.counted
        critics = {"slow": self.slow_critic, "fast": self.critic}
        with torch.set_grad_enabled(self.gradient == "dynamics"), frozen(self.critic):
            value = self.value(critics[settings.returns_from], seq.features).mean
            same = settings.baseline_from == settings.returns_from
            baseline = value if same else self.value(critics[settings.baseline_from], seq.features).mean
            target = lambda_return(seq.reward[counted], value, seq.discount[counted], settings.return_lambda)
        return Returns(target, value, baseline)

    def actor_loss(self, seq: Trajectory, returns: Returns) -> tuple[Tensor, Tensor]:
        """The actor's loss, a scalar, and the entropy of its policy at each decision."""
        at = self.alignment.decisions(seq, returns.target)
        policy, baseline = self.actor(at.features), returns.baseline[: len(at.features)]
        if self.scale is None:
            gain, advantage = at.returns, at.returns - baseline
        else:
            offset, scale = self.scale(at.returns)
            gain = advantage = (at.returns - offset) / scale - (baseline - offset) / scale
        objective = OBJECTIVES[self.gradient](policy, at.action, gain, advantage)
        entropy = policy.entropy()
        loss = -(at.weight * (objective + self.settings.entropy * entropy)).mean()
        return loss, entropy.detach()

    def critic_target(self, target: Tensor, entropy: Tensor) -> Tensor:
        """What the critic regresses on, (H, N): the lambda return, or, as in the released code, a soft value."""
        target = target.detach()
        if not (self.settings.soft_value_target and self.gradient == "dynamics"):
            return target
        return torch.cat([target[:1], target[1:] + self.settings.entropy * entropy])

    def critic_loss(self, seq: Trajectory, target: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's loss, a scalar, and its values (H, N)."""
        features = seq.features[:-1].detach()
        dist = self.value(self.critic, features)
        loss = -dist.log_prob(target)
        if self.settings.slow_critic.regulariser:
            slow = self.value(self.slow_critic, features).mean.detach()
            loss = loss - self.settings.slow_critic.regulariser * dist.log_prob(slow)
        return (seq.weight[:-1] * loss).mean(), dist.mean.detach()

    @torch.no_grad()
    def update_slow_critic(self, updates: int) -> None:
        """Move the slow critic after critic update number `updates`, counted from 0; number 0 copies the critic."""
        if updates % self.settings.slow_critic.every == 0:
            mix = 1.0 if updates == 0 else self.settings.slow_critic.fraction
            torch._foreach_lerp_(list(self.slow_critic.parameters()), list(self.critic.parameters()), mix)


class ReturnScale(nn.Module):
    """An exponential average of two percentiles of the returns; it starts at zeros and is not corrected for that."""

    values: Tensor  # low, high
    _quantiles: Tensor

    def __init__(self, settings: Percentiles):
        super().__init__()
        self._decay = settings.decay
        self.register_buffer("values", torch.zeros(2))
        self.register_buffer("_quantiles", torch.tensor([settings.low, settings.high]), persistent=False)

    @torch.no_grad()
    def forward(self, returns: Tensor) -> tuple[Tensor, Tensor]:
        """Update with returns of any shape; offset (the low percentile) and scale (their distance, at least 1)."""
        found = torch.quantile(returns.float().flatten(), self._quantiles)
        found = torch.where(found.isfinite(), found, self.values)  # an update that is skipped leaves no trace
        self.values.lerp_(found, 1 - self._decay)
        low, high = self.values.clone()
        return low, (high - low).clamp_min(1.0)


class Alignment(NamedTuple):
    """Which reward, action and weight belongs to which state: see the top of this file.

    counted: the rewards and discounts that the lambda return of states 0..H-1 counts; actions: how many are sampled
    beyond the horizon.
    """

    rollout: Callable[..., tuple[State, Tensor]]
    counted: slice
    decisions: Callable[[Trajectory, Tensor], Decisions]
    weight: Callable[[Tensor, float], Tensor]
    extra_actions: int


def arrive(behavior: Behavior, model: WorldModel, start: State, noise: Mapping[str, Tensor]) -> tuple[State, Tensor]:
    """States and the actions that led to them, the first of which is a dummy."""
    states = [start]
    actions = [torch.zeros(start.deter.shape[0], behavior.kind.size, device=start.deter.device)]
    for latent, action in zip(noise["latent"], noise["action"], strict=True):
        actions.append(behavior.actor(states[-1].features).sample(action))
        states.append(model.rssm.imagine_step(states[-1], actions[-1], latent))
    return State.stack(states, 0), torch.stack(actions)


def depart(behavior: Behavior, model: WorldModel, start: State, noise: Mapping[str, Tensor]) -> tuple[State, Tensor]:
    """States and the actions taken at them, the last of which leads nowhere."""
    states = [start]
    actions = [behavior.actor(start.features).sample(noise["action"][0])]
    for latent, action in zip(noise["latent"], noise["action"][1:], strict=True):
        states.append(model.rssm.imagine_step(states[-1], actions[-1], latent))
        actions.append(behavior.actor(states[-1].features).sample(action))
    return State.stack(states, 0), torch.stack(actions)


ALIGNMENTS = {
    "arrival": Alignment(
        rollout=arrive,
        counted=slice(None, -1),
        decisions=lambda seq, target: Decisions(seq.features[:-2], seq.action[1:-1], target[1:], seq.weight[:-2]),
        weight=lambda discount, gamma: torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0),
        extra_actions=0,
    ),
    "departure": Alignment(
        rollout=depart,
        counted=slice(1, None),
        decisions=lambda seq, target: Decisions(seq.features[:-1], seq.action[:-1], target, seq.weight[:-1]),
        weight=lambda discount, gamma: discount.cumprod(0) / gamma,
        extra_actions=1,
    ),
}


def dynamics_objective(policy: ActionDistribution, action: Tensor, gain: Tensor, advantage: Tensor) -> Tensor:
    """Backpropagate the gain, the return or its normalised advantage, through the model."""
    return gain


def reinforce_objective(policy: ActionDistribution, action: Tensor, gain: Tensor, advantage: Tensor) -> Tensor:
    """REINFORCE: the advantage over the baseline times the log-likelihood of the action."""
    return policy.log_prob(action.detach()) * advantage.detach()


OBJECTIVES = {"dynamics": dynamics_objective, "reinforce": reinforce_objective}


def lambda_return(reward: Tensor, value: Tensor, discount: Tensor, lambda_: float) -> Tensor:
    """TD(lambda) returns of states 0..H-1: R_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda R_{t+1}), R_H = v_H.

    reward, discount (H, N): what is counted with each state, by the alignment; value (H + 1, N); returns (H, N).
    """
    inputs = reward + discount * value[1:] * (1 - lambda_)
    returns = [value[-1]]
    for step, gamma in zip(inputs.flip(0), discount.flip(0), strict=True):
        returns.append(step + gamma * lambda_ * returns[-1])
    return torch.stack(returns[:0:-1])


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradients for the module's parameters: behaviour learning backpropagates through models, not into them."""
    module.requires_grad_(False)
    try:
        yield
    finally:
        module.requires_grad_(True)
