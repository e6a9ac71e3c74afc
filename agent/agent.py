"""The agent: what acts (`policy`) and what learns (`update`), from the same small modules for every method."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

import gymnasium
import torch
from torch import Tensor, nn

from agent.actions import action_kind
from agent.behavior import Behavior, Trajectory, frozen
from agent.noise import Draw
from agent.optimizer import Optimizer
from agent.rssm import State
from agent.settings import RunConfig
from agent.world_model import Batch, WorldModel
from envs.errors import UserError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class PolicyCarry(NamedTuple):
    """What the policy remembers between steps: latent states (N, ...) and the last actions (N, A)."""

    state: State
    action: Tensor


class Agent(nn.Module):
    def __init__(self, config: RunConfig, observation_space: gymnasium.spaces.Dict, action_space: gymnasium.Space):
        super().__init__()
        self.config = config
        self.kind = action_kind(action_space, config.behavior.policy)
        self.shapes = observation_shapes(observation_space)
        self.world_model = WorldModel(config.world_model, config.layers, self.shapes, self.kind.size)
        self.behavior = Behavior(config.behavior, config.layers, self.world_model.rssm.feature_size, self.kind)
        self.updates = 0
        self.world_model.eval()

    def prepare(self, device: torch.device) -> "Agent":
        """Move to `device` and make the optimisers, which hold their state there."""
        self.to(device)
        scaled = self.config.precision == "float16"
        model, behavior = self.config.world_model, self.config.behavior
        self.optimizers = {
            "model": Optimizer("model", self.world_model.parameters(), model.optimizer, scaled),
            "actor": Optimizer("actor", self.behavior.actor_net.parameters(), behavior.actor_optimizer, scaled),
            "critic": Optimizer("critic", self.behavior.critic.parameters(), behavior.critic_optimizer, scaled),
        }
        return self

    def policy_state(self) -> dict[str, Tensor]:
        """The part of `state_dict` that acting needs, on the CPU: encoder, RSSM and actor."""
        wanted = ("world_model.encoder.", "world_model.rssm.", "behavior.actor_net.")
        return {name: x.cpu().contiguous() for name, x in self.state_dict().items() if name.startswith(wanted)}

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @torch.no_grad()
    def initial_carry(self, batch: int) -> State:
        return self.world_model.rssm.initial(batch)

    def initial_policy_carry(self, envs: int) -> PolicyCarry:
        action = torch.zeros(envs, self.kind.size, device=self.device)
        return PolicyCarry(self.initial_carry(envs), action)

    def policy_noise(self, envs: int) -> dict[str, Draw]:
        """The noise that one call of `policy` takes."""
        stoch = self.world_model.rssm.stoch
        return {"latent": Draw((envs, stoch)), "action": Draw((envs, self.kind.noise), self.kind.normal)}

    def update_noise(self) -> dict[str, Draw]:
        """The noise that one call of `update` takes."""
        size, length = self.config.batch.size, self.config.batch.length
        stoch, horizon = self.world_model.rssm.stoch, self.config.behavior.horizon
        actions = horizon + self.behavior.alignment.extra_actions
        return {
            "posterior": Draw((size, length, stoch)),
            "latent": Draw((horizon, size * length, stoch)),
            "action": Draw((actions, size * length, self.kind.noise), self.kind.normal),
        }

    @torch.no_grad()
    def policy(
        self, obs: Mapping[str, Tensor], carry: PolicyCarry, noise: Mapping[str, Tensor], mode: str
    ) -> tuple[Tensor, PolicyCarry]:
        """Actions (N, A) for observations: image (N, C, H, W) uint8, vectors (N, V), is_first (N,).

        mode: `sample` or `mode`, of the actor's distribution; the latent state is sampled in both.
        """
        with self._autocast():
            embed = self.world_model.encoder(self.world_model.preprocess(obs))
            state = self.world_model.rssm.observe_step(*carry, embed, obs["is_first"], noise["latent"])
            actor = self.behavior.actor(state.features)
            action = actor.mode if mode == "mode" else actor.sample(noise["action"])
        return action, PolicyCarry(state, action)

    def update(self, batch: Batch, carry: State, noise: Mapping[str, Tensor]) -> tuple[State, dict[str, Tensor]]:
        """One update of world model, actor and critic; returns the states after the batch, and metrics on the device.

        batch: image (B, T, C, H, W) uint8, vectors (B, T, V), action (B, T, A), reward, is_first, is_terminal (B, T).
        """
        posterior, metrics = self._update_world_model(batch, carry, noise["posterior"])
        with frozen(self.world_model):
            metrics |= self._update_behavior(posterior, batch["is_terminal"], noise)
        self.updates += 1
        return State(*(x[:, -1] for x in posterior)), metrics

    def _update_world_model(self, batch: Batch, carry: State, u: Tensor) -> tuple[State, dict[str, Tensor]]:
        self.world_model.train()
        with self._autocast():
            out = self.world_model.loss(batch, carry, u)
        metrics = self.world_model.metrics(out)
        metrics |= self.optimizers["model"].step(out.objective)
        self.world_model.eval()
        return out.posterior.detach(), metrics

    def _update_behavior(self, start: State, is_terminal: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with self._autocast():
            seq = self.behavior.imagine(self.world_model, start.flatten_steps(), is_terminal.flatten(), noise)
            returns = self.behavior.returns(seq)
            actor_loss, entropy = self.behavior.actor_loss(seq, returns)
        metrics = self.optimizers["actor"].step(actor_loss)
        with self._autocast():
            target = self.behavior.critic_target(returns.target, entropy)
            critic_loss, value = self.behavior.critic_loss(seq, target)
        metrics |= self.optimizers["critic"].step(critic_loss)
        self.behavior.update_slow_critic(self.updates)
        return metrics | behavior_metrics(seq, target, entropy, actor_loss, critic_loss, value)

    def _autocast(self) -> AbstractContextManager:
        dtype = PRECISIONS[self.config.precision]
        return torch.autocast(self.device.type, dtype=dtype, enabled=dtype != torch.float32)


def behavior_metrics(
    seq: Trajectory, target: Tensor, entropy: Tensor, actor_loss: Tensor, critic_loss: Tensor, value: Tensor
) -> dict[str, Tensor]:
    """Detached scalars on the device."""
    return {
        "loss/actor": actor_loss.detach(),
        "loss/critic": critic_loss.detach(),
        "behavior/entropy": entropy.mean(),
        "behavior/imagined_reward": seq.reward.detach().mean(),
        "behavior/target": target.mean(),
        "behavior/value": value.mean(),
    }


def observation_shapes(space: gymnasium.spaces.Dict) -> dict[str, tuple[int, ...]]:
    """The keys that the model sees, with their shapes as it sees them: images (C, H, W), vectors (N,)."""
    if "image" not in space.spaces:
        raise UserError(f"observation space has no key 'image', only {', '.join(space.spaces)}")
    shapes: dict[str, tuple[int, ...]] = {}
    for key, box in space.spaces.items():
        if not isinstance(box, gymnasium.spaces.Box) or len(box.shape) != (3 if key == "image" else 1):
            raise UserError(f"observation key {key!r} is {box}, but must be a Box, image (H, W, C) and all else (N,)")
        shapes[key] = (box.shape[2], *box.shape[:2]) if key == "image" else tuple(box.shape)
    return shapes
