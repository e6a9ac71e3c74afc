"""How far this suite's tensors are from recorded ones."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Errors = dict[str, float]  # what was compared: its largest error, relative to the largest element of its tensor


class Comparison:
    """Collects the largest relative error of each kind of quantity."""

    def __init__(self) -> None:
        self.errors: Errors = {}

    def __call__(self, kind: str, ours: Tensor | np.ndarray, theirs: Any) -> None:
        a, b = torch.as_tensor(ours).detach().double(), torch.as_tensor(np.asarray(theirs)).double()
        assert a.shape == b.shape, f"{kind}: shape {tuple(a.shape)}, recorded {tuple(b.shape)}"
        error = float((a - b).abs().max() / b.abs().max().clamp_min(1e-30))
        self.errors[kind] = max(self.errors.get(kind, 0.0), error)


def keep_first(into: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        if name not in into and parameter.grad is not None:
            into[name] = parameter.grad.clone()  # before clipping, which works in place

    return hook


def compare_gradients(ours: Mapping[str, Tensor], theirs: Mapping[str, Any], compare: Comparison) -> None:
    """The gradients of each layer, weight and bias together, and those of the harmonizers' three numbers.

    A bias of one number, or a harmonizer's, has a gradient that is a difference of large sums and can be near zero.
    """
    layers: dict[str, list[str]] = {}
    for name in ours:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    for names in layers.values():
        together = [torch.cat([torch.as_tensor(side[name]).flatten() for name in names]) for side in (ours, theirs)]
        compare("gradients", *together)
