"""Actions as the agent sees them, (..., A) float vectors, discrete ones one-hot, and as the environment does."""

from collections.abc import Callable
from typing import NamedTuple

import gymnasium
import numpy as np
from torch import Tensor

from agent.distributions import ActionDistribution, MultiOneHot, Normal, TruncatedNormal
from agent.settings import Policy
from envs.errors import UserError


class ActionKind(NamedTuple):
    """What one kind of action space needs.

    size: A; outputs: the actor's output layers and their sizes; noise: how many random numbers one sample takes,
    uniform or, if `normal`, standard normal; distribution: from those outputs; to_env: one (A,) vector to the
    environment's action; random: a uniformly drawn (A,) vector; continuous: whether a gradient flows through a sample.
    """

    size: int
    outputs: dict[str, int]
    noise: int
    normal: bool
    distribution: Callable[[dict[str, Tensor]], ActionDistribution]
    to_env: Callable[[np.ndarray], np.ndarray | int]
    random: Callable[[np.random.Generator], np.ndarray]
    continuous: bool


def action_kind(space: gymnasium.Space, policy: Policy) -> ActionKind:
    """The kind of a Box(-1, 1, (n,)), Discrete or MultiDiscrete space; UserError for any other."""
    for space_type, make in KINDS.items():
        if isinstance(space, space_type):
            return make(space, policy)
    raise UserError(
        f"action space {space} is none of Box, Discrete and MultiDiscrete, one of which an adapter must offer"
    )


def _box(space: gymnasium.spaces.Box, policy: Policy) -> ActionKind:
    size = int(np.prod(space.shape))
    return ActionKind(
        size=size,
        outputs={"out": size, "std": size},
        noise=size,
        normal=policy.continuous == "normal",
        distribution=CONTINUOUS[policy.continuous],
        to_env=lambda action: action.clip(-1, 1).astype(np.float32),  # a normal's tails, which replay keeps
        random=lambda rng: rng.uniform(-1, 1, size).astype(np.float32),
        continuous=True,
    )


def _discrete(space: gymnasium.spaces.Discrete, policy: Policy) -> ActionKind:
    return _categorical([int(space.n)], policy.unimix, lambda action: int(action.argmax()))


def _multi_discrete(space: gymnasium.spaces.MultiDiscrete, policy: Policy) -> ActionKind:
    sizes = [int(n) for n in space.nvec]
    splits = np.cumsum(sizes)[:-1]
    uniform = policy.unimix_multi
    return _categorical(sizes, uniform, lambda action: np.array([part.argmax() for part in np.split(action, splits)]))


def _categorical(sizes: list[int], uniform: float, to_env: Callable[[np.ndarray], np.ndarray | int]) -> ActionKind:
    return ActionKind(
        size=sum(sizes),
        outputs={"out": sum(sizes)},
        noise=len(sizes),
        normal=False,
        distribution=lambda out: MultiOneHot(out["out"], sizes, uniform),
        to_env=to_env,
        random=lambda rng: np.concatenate([np.eye(n, dtype=np.float32)[rng.integers(n)] for n in sizes]),
        continuous=False,
    )


CONTINUOUS: dict[str, Callable[[dict[str, Tensor]], ActionDistribution]] = {
    "truncated_normal": lambda out: TruncatedNormal(out["out"].tanh(), 2 * (out["std"] / 2).sigmoid() + 0.1),
    "normal": lambda out: Normal(out["out"].tanh(), 0.9 * (out["std"] + 2).sigmoid() + 0.1),
}
KINDS: dict[type, Callable[..., ActionKind]] = {
    gymnasium.spaces.Box: _box,
    gymnasium.spaces.Discrete: _discrete,
    gymnasium.spaces.MultiDiscrete: _multi_discrete,
}
