"""Layers shared by all networks, initialised as the authors' torch code does ("to match TensorFlow").

Reference: wmlib-torch/wmlib/nets/modules.py and core/torch_utils.py (`Module.get`).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.settings import MLP as MLPSettings


def glorot(layer: nn.Module) -> nn.Module:
    """Glorot-uniform weights and zero bias: what the reference gives its Linear, Conv2d and ConvTranspose2d layers."""
    nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


def linear(inputs: int, outputs: int) -> nn.Module:
    return glorot(nn.Linear(inputs, outputs))


class MLP(nn.Module):
    """Dense layers with ELU, then one linear output layer per name: (..., inputs) to a dict of (..., size)."""

    def __init__(self, inputs: int, settings: MLPSettings, outputs: dict[str, int]):
        super().__init__()
        sizes = [inputs] + [settings.units] * settings.layers
        self.dense = nn.ModuleList(linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.out = nn.ModuleDict({name: linear(sizes[-1], size) for name, size in outputs.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        for layer in self.dense:
            x = F.elu(layer(x))
        return {name: layer(x) for name, layer in self.out.items()}


class NormGRUCell(nn.Module):
    """GRU with layer normalisation of the joint gates, a reset before the tanh, and an update bias of -1.

    Its linear layer keeps torch's default initialisation, as in the reference (nets/dynamics/rssm.py, `GRUCell`).
    """

    def __init__(self, inputs: int, size: int):
        super().__init__()
        self.linear = nn.Linear(inputs + size, 3 * size)
        self.norm = nn.LayerNorm(3 * size, eps=1e-3)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """x: (B, inputs), state: (B, size); returns the new state (B, size)."""
        gates = self.norm(self.linear(torch.cat([x, state], -1)))  # (B, 3 * size)
        reset, candidate, update = gates.chunk(3, -1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1)
        return update * candidate + (1 - update) * state
