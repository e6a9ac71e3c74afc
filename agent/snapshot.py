"""All that learning has made so far, as named tensors and JSON: parameters, optimisers, and the states carried on."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from agent.agent import Agent, PolicyCarry
from agent.rollout import Actor
from agent.rssm import State

Tensors = dict[str, Tensor]


def take(agent: Agent, carry: State, actor: Actor) -> tuple[Tensors, dict[str, Any]]:
    """Tensors, which later updates may change, and JSON. `carry` is the updates', the actor has its own."""
    policy = {**actor.carry.state._asdict(), "action": actor.carry.action}
    tensors = named(agent=agent.state_dict(), carry=carry._asdict(), policy=policy)
    for name, optimizer in agent.optimizers.items():
        slots = optimizer.adam.state_dict()["state"]
        tensors |= named(**{f"{name}/{index}": slot for index, slot in slots.items()})
    scalers = {name: optimizer.scaler.state_dict() for name, optimizer in agent.optimizers.items()}
    return tensors, {"updates": agent.updates, "scalers": scalers}


def put_back(agent: Agent, actor: Actor, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> State:
    """Make agent and actor what they were; returns the carry of the updates."""
    agent.load_state_dict(_under("agent", tensors))
    agent.updates = state["updates"]
    for name, optimizer in agent.optimizers.items():
        slots: dict[int, Tensors] = {}
        for key, value in _under(name, tensors).items():
            index, slot = key.split("/")
            slots.setdefault(int(index), {})[slot] = value
        optimizer.adam.load_state_dict({**optimizer.adam.state_dict(), "state": slots})
        optimizer.scaler.load_state_dict(state["scalers"][name])
    policy = _under("policy", tensors)
    action = policy.pop("action")
    actor.carry = PolicyCarry(State(**policy), action)
    return State(**_under("carry", tensors))


def named(**groups: Mapping[str, Tensor]) -> Tensors:
    """Tensors of several groups by `group/name`."""
    return {f"{group}/{name}": value for group, tensors in groups.items() for name, value in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {name.removeprefix(f"{prefix}/"): value for name, value in tensors.items() if name.startswith(f"{prefix}/")}
