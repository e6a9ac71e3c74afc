"""Layers shared by all networks, initialised as the authors' code does.

Reference: wmlib-torch/wmlib/nets/modules.py and core/torch_utils.py (`Module.get`); dreamerv3-jax/dreamerv3/nets.py.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.settings import MLP as MLPSettings
from agent.settings import Layers

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"elu": F.elu, "silu": F.silu}
NORM_EPS = 1e-3
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def glorot(layer: Layer) -> Layer:
    """Glorot-uniform weights and zero bias."""
    nn.init.xavier_uniform_(layer.weight)
    return _zero_bias(layer)


def truncated_normal(layer: Layer) -> Layer:
    """A normal cut at two deviations, of variance 2 / (fan in + fan out) after the cut, and zero bias."""
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(layer.weight)
    std = (2 / (fan_in + fan_out)) ** 0.5 / 0.87962566103423978
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    return _zero_bias(layer)


def zeros(layer: Layer) -> Layer:
    nn.init.zeros_(layer.weight)
    return _zero_bias(layer)


def _zero_bias(layer: Layer) -> Layer:
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


INITS: dict[str, Callable[[Any], Any]] = {"glorot": glorot, "truncated_normal": truncated_normal}


def output(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer without norm or activation after it: always with bias, always Glorot."""
    return glorot(nn.Linear(inputs, outputs))


def hidden(inputs: int, outputs: int, layers: Layers) -> nn.Linear:
    """A linear layer that `layer_norm` and an activation follow."""
    return INITS[layers.init](nn.Linear(inputs, outputs, bias=layers.bias))


def layer_norm(size: int, layers: Layers) -> nn.Module:
    return nn.LayerNorm(size, eps=NORM_EPS) if layers.norm == "layer" else nn.Identity()


class Dense(nn.Module):
    """Hidden layers: (..., inputs) to (..., units)."""

    def __init__(self, inputs: int, settings: MLPSettings, layers: Layers):
        super().__init__()
        sizes = [inputs] + [settings.units] * settings.layers
        self.size = sizes[-1]
        self.dense = nn.ModuleList(hidden(a, b, layers) for a, b in pairwise(sizes))
        self.norm = nn.ModuleList(layer_norm(size, layers) for size in sizes[1:])
        self._act = ACTIVATIONS[layers.activation]

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.dense, self.norm, strict=True):
            x = self._act(norm(layer(x)))
        return x


class MLP(Dense):
    """Hidden layers, then one linear output layer per name: (..., inputs) to a dict of (..., size)."""

    def __init__(
        self, inputs: int, settings: MLPSettings, layers: Layers, outputs: dict[str, int], zero_outputs: bool = False
    ):
        super().__init__(inputs, settings, layers)
        make = zeros if zero_outputs else glorot
        self.out = nn.ModuleDict({name: make(nn.Linear(self.size, size)) for name, size in outputs.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        x = super().forward(x)
        return {name: layer(x) for name, layer in self.out.items()}


class NormGRUCell(nn.Module):
    """GRU with layer normalisation of the joint gates, a reset before the tanh, and an update bias of -1.

    With Glorot layers its own keeps torch's default initialisation, as in the reference (nets/dynamics/rssm.py).
    """

    def __init__(self, inputs: int, size: int, layers: Layers):
        super().__init__()
        self.linear = nn.Linear(inputs + size, 3 * size, bias=layers.bias)
        if layers.init == "truncated_normal":
            self.linear = truncated_normal(self.linear)
        self.norm = nn.LayerNorm(3 * size, eps=NORM_EPS)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """x: (B, inputs), state: (B, size); returns the new state (B, size)."""
        gates = self.norm(self.linear(torch.cat([x, state], -1)))  # (B, 3 * size)
        reset, candidate, update = gates.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * state
