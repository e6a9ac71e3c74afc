"""DreamerV2's actor and critic, trained on sequences imagined by the world model.

Shapes: H horizon, N imagined sequences (every posterior state of a batch starts one), F features, A action size;
trajectories are time-major, (H + 1, N, ...). Reference: wmlib-torch/wmlib/agents/actor_critic.py and base.py
(`imagine`). The alignment of the losses, for H = 3 (brackets: what the actor's loss uses):

    states      z0    z1    z2   z3       action[t] led to z[t]; action[0] is a dummy
    targets     t0   [t1]  [t2]           lambda returns of the states
    policy     [p0]  [p1]                 the action out of z0 is judged by t1, the return of the state it led to
    weights    [w0]  [w1]   w2   w3       product of the discounts so far
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agent.actions import ActionKind
from agent.distributions import MSE, ActionDistribution
from agent.nets import MLP
from agent.rssm import State
from agent.settings import Behavior as BehaviorSettings
from agent.world_model import WorldModel


class Trajectory(NamedTuple):
    """An imagined sequence: states (H + 1, N, ...), features (H + 1, N, F), action (H + 1, N, A), the rest (H + 1, N)."""

    states: State
    features: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    weight: Tensor


class Behavior(nn.Module):
    def __init__(self, settings: BehaviorSettings, features: int, kind: ActionKind):
        super().__init__()
        self.settings, self.kind = settings, kind
        self.actor_net = MLP(features, settings.actor, kind.outputs)
        self.critic = MLP(features, settings.critic, {"out": 1})
        self.slow_critic = MLP(features, settings.critic, {"out": 1}).requires_grad_(False)
        by_space = "dynamics" if kind.continuous else "reinforce"
        self.gradient = by_space if settings.gradient == "auto" else settings.gradient

    def actor(self, features: Tensor) -> ActionDistribution:
        """The policy at features (..., F), which get no gradient from it."""
        return self.kind.distribution(self.actor_net(features.detach()))

    def value(self, critic: nn.Module, features: Tensor) -> MSE:
        return MSE(critic(features)["out"].squeeze(-1))

    def imagine(self, model: WorldModel, start: State, is_terminal: Tensor, noise: Mapping[str, Tensor]) -> Trajectory:
        """Roll the policy out in the model from `start` (N, ...); `is_terminal` (N,) tells where nothing follows.

        noise: latent (H, N, S) and action (H, N, noise of the action kind).
        """
        with torch.set_grad_enabled(self.gradient == "dynamics"):
            states, actions = self._rollout(model, start, noise)
            features = states.features
            discount = self._discount(model, features, is_terminal)
            weight = torch.cat([torch.ones_like(discount[:1]), discount[:-1]]).cumprod(0).detach()
            return Trajectory(states, features, actions, model.reward(features), discount, weight)

    def _rollout(self, model: WorldModel, start: State, noise: Mapping[str, Tensor]) -> tuple[State, Tensor]:
        states = [start]
        actions = [torch.zeros(start.deter.shape[0], self.kind.size, device=start.deter.device)]
        for latent, action in zip(noise["latent"], noise["action"], strict=True):
            actions.append(self.actor(states[-1].features).sample(action))
            states.append(model.rssm.imagine_step(states[-1], actions[-1], latent))
        return State.stack(states, 0), torch.stack(actions)

    def _discount(self, model: WorldModel, features: Tensor, is_terminal: Tensor) -> Tensor:
        discount = model.discount(features)
        if not model.settings.predict_discount:
            return discount
        first = model.settings.discount * (1 - is_terminal)  # the replay knows the first step's
        return torch.cat([first[None], discount[1:]])

    def targets(self, seq: Trajectory) -> tuple[Tensor, Tensor]:
        """Lambda returns (H, N), and the slow critic's values they build on (H + 1, N)."""
        with torch.set_grad_enabled(self.gradient == "dynamics"):
            value = self.value(self.slow_critic, seq.features).mode
            target = lambda_return(seq.reward[:-1], value, seq.discount[:-1], self.settings.return_lambda)
        return target, value

    def actor_loss(self, seq: Trajectory, target: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's loss, a scalar, and the entropy of its policy (H - 1, N)."""
        policy = self.actor(seq.features[:-2])
        gain = OBJECTIVES[self.gradient](policy, seq.action[1:-1], target[1:], value[:-2])
        entropy = policy.entropy()
        loss = -(seq.weight[:-2] * (gain + self.settings.entropy * entropy)).mean()
        return loss, entropy.detach()

    def critic_target(self, target: Tensor, entropy: Tensor) -> Tensor:
        """What the critic regresses on, (H, N): the lambda return, or, as in the released code, a soft value."""
        target = target.detach()
        if not (self.settings.soft_value_target and self.gradient == "dynamics"):
            return target
        return torch.cat([target[:1], target[1:] + self.settings.entropy * entropy])

    def critic_loss(self, seq: Trajectory, target: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's loss, a scalar, and its values (H, N)."""
        dist = self.value(self.critic, seq.features[:-1].detach())
        return -(seq.weight[:-1] * dist.log_prob(target)).mean(), dist.mode.detach()

    @torch.no_grad()
    def update_slow_critic(self, updates: int) -> None:
        """Move the slow critic after critic update number `updates`, counted from 0; number 0 copies the critic."""
        if updates % self.settings.slow_critic.every == 0:
            mix = 1.0 if updates == 0 else self.settings.slow_critic.fraction
            torch._foreach_lerp_(list(self.slow_critic.parameters()), list(self.critic.parameters()), mix)


def dynamics_objective(policy: ActionDistribution, action: Tensor, target: Tensor, baseline: Tensor) -> Tensor:
    """Backpropagate the return through the model: no baseline is needed."""
    return target


def reinforce_objective(policy: ActionDistribution, action: Tensor, target: Tensor, baseline: Tensor) -> Tensor:
    """REINFORCE with the slow critic as baseline; advantages are not normalised."""
    return policy.log_prob(action.detach()) * (target - baseline).detach()


OBJECTIVES = {"dynamics": dynamics_objective, "reinforce": reinforce_objective}


def lambda_return(reward: Tensor, value: Tensor, discount: Tensor, lambda_: float) -> Tensor:
    """TD(lambda) returns of states 0..H-1: R_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda R_{t+1}), R_H = v_H.

    reward, discount (H, N) belong to the state itself (DreamerV2's convention), value (H + 1, N); returns (H, N).
    """
    inputs = reward + discount * value[1:] * (1 - lambda_)
    returns = [value[-1]]
    for step, gamma in zip(inputs.flip(0), discount.flip(0), strict=True):
        returns.append(step + gamma * lambda_ * returns[-1])
    return torch.stack(returns[:0:-1])
