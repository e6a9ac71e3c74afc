"""Spaces as plain data, and the check of actions, for any object that looks like a gym or gymnasium space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ContractViolation

if TYPE_CHECKING:
    import gymnasium

TOLERANCE = 1e-6  # how far outside its bounds an action may lie through rounding, in the action's unit


def describe(space: Any) -> dict[str, Any]:
    """A JSON-able description of a Dict, Box, Discrete or MultiDiscrete space; ContractViolation for any other."""
    if hasattr(space, "spaces"):
        return {"kind": "Dict", "spaces": {key: describe(sub) for key, sub in space.spaces.items()}}
    if hasattr(space, "nvec"):
        return {"kind": "MultiDiscrete", "nvec": np.asarray(space.nvec).tolist()}
    if hasattr(space, "n"):
        return {"kind": "Discrete", "n": int(space.n)}
    if hasattr(space, "low"):
        low, high = _bound(space.low), _bound(space.high)
        return {"kind": "Box", "low": low, "high": high, "shape": list(space.shape), "dtype": str(space.dtype)}
    raise ContractViolation(f"the space {space!r} is none of Dict, Box, Discrete, MultiDiscrete")


def _bound(values: np.ndarray) -> Any:
    """One number if all of a bound is equal (images), else nested lists."""
    return values.flat[0].item() if (values == values.flat[0]).all() else values.tolist()


def build(description: dict[str, Any]) -> gymnasium.Space:
    """The gymnasium space of a description."""
    from gymnasium import spaces

    kind = description["kind"]
    if kind == "Dict":
        return spaces.Dict({key: build(sub) for key, sub in description["spaces"].items()})
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(description["nvec"])
    if kind == "Discrete":
        return spaces.Discrete(description["n"])
    dtype, shape = np.dtype(description["dtype"]), tuple(description["shape"])
    low, high = (np.broadcast_to(np.asarray(description[key], dtype), shape) for key in ("low", "high"))
    return spaces.Box(low, high, shape, dtype.type)


def check_action(space: Any, action: Any) -> np.ndarray:
    """The action as an array of the space's shape, within its bounds; ValueError says what is wrong with it."""
    if hasattr(space, "low"):
        return _check_box(space, np.asarray(action))
    counts = np.asarray(space.nvec if hasattr(space, "nvec") else space.n)
    array = np.asarray(action)
    if array.shape != counts.shape or array.dtype.kind not in "iu" or (array < 0).any() or (array >= counts).any():
        raise ValueError(f"action is {action!r}, but must be whole numbers of shape {counts.shape} in [0, {counts})")
    return array


def _check_box(space: Any, array: np.ndarray) -> np.ndarray:
    if array.shape != space.shape or array.dtype.kind not in "iuf":
        raise ValueError(f"action has shape {array.shape} and type {array.dtype}, but must be numbers {space.shape}")
    if (array >= space.low).all() and (array <= space.high).all():  # almost always, and the cheapest to find out
        return array.astype(space.dtype)
    inside = np.minimum(np.maximum(array, space.low), space.high)
    if not (np.abs(array - inside) <= TOLERANCE).all():  # written so that a NaN fails too: it compares as false
        raise ValueError(f"action is {array.tolist()}, but must be finite and from {space.low} to {space.high}")
    return inside.astype(space.dtype, copy=False)
