"""Encoders of observations to one embedding, and decoders of the latent state back to them.

Images are (..., C, H, W) float; vectors are (..., N). An encoder concatenates the image's features and the vectors'; a
decoder returns one distribution for each key.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from agent.convolutions import DECODERS, ENCODERS
from agent.distributions import MSE, SymlogMSE, symlog
from agent.nets import MLP, Dense
from agent.settings import MLP as MLPSettings
from agent.settings import Layers, PlainCNN, ResNet, SamePad, WorldModel

ImageNet = PlainCNN | ResNet | SamePad
Shapes = Mapping[str, tuple[int, ...]]


class Encoder(nn.Module):
    """All keys of an observation to one embedding of `self.size`: (..., *shape) each to (..., size)."""

    def __init__(self, shapes: Shapes, settings: WorldModel, layers: Layers):
        super().__init__()
        self.vectors = [key for key, shape in shapes.items() if len(shape) == 1]
        self._squash = symlog if settings.symlog_vectors else lambda x: x
        self.image = ENCODERS[settings.encoder.kind](shapes["image"], settings.encoder, layers)
        self.size = _flat_size(self.image, shapes["image"])
        if self.vectors:
            self.vector = Dense(sum(shapes[key][0] for key in self.vectors), _tower(settings.encoder), layers)
            self.size += self.vector.size

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        image = obs["image"]
        lead = image.shape[:-3]
        flat = image.flatten(0, -4).contiguous(memory_format=torch.channels_last)  # (N, C, H, W)
        # Flattened as (C, H, W) whatever the memory format: the order in which the RSSM's weights expect them.
        features = [self.image(flat).contiguous().flatten(1).unflatten(0, lead)]
        if self.vectors:
            features.append(self.vector(self._squash(torch.cat([obs[key] for key in self.vectors], -1))))
        return torch.cat(features, -1)


class Decoder(nn.Module):
    """Latent features (..., F) to a dict of distributions over the observation's keys."""

    def __init__(self, features: int, shapes: Shapes, settings: WorldModel, layers: Layers):
        super().__init__()
        self._scale = 0.5 if settings.halve_squared_error else 1.0
        self._symlog = settings.symlog_vectors
        self.sizes = {key: shape[0] for key, shape in shapes.items() if len(shape) == 1}
        self.image = DECODERS[settings.decoder.kind](features, shapes["image"], settings.decoder, layers)
        if self.sizes:
            self.vector = MLP(features, _tower(settings.decoder), layers, self.sizes)
        made = self.image(torch.zeros(1, features)).shape[1:]
        assert made == shapes["image"], f"the decoder makes images of {tuple(made)}, not {shapes['image']}"

    def forward(self, features: Tensor) -> dict[str, MSE | SymlogMSE]:
        image = self.image(features.flatten(0, -2)).unflatten(0, features.shape[:-1])
        out: dict[str, MSE | SymlogMSE] = {"image": MSE(image, event_dims=3, scale=self._scale)}
        if self.sizes:
            out |= {key: self._vector_distribution(mean) for key, mean in self.vector(features).items()}
        return out

    def _vector_distribution(self, mean: Tensor) -> MSE | SymlogMSE:
        return SymlogMSE(mean) if self._symlog else MSE(mean, event_dims=1, scale=self._scale)


def _tower(settings: ImageNet) -> MLPSettings:
    return MLPSettings(layers=settings.vector_layers, units=settings.vector_units)


def _flat_size(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Elements of the network's output for one input of `shape`; BatchNorm's statistics are left alone."""
    network.eval()
    with torch.no_grad():
        size = network(torch.zeros(1, *shape)).numel()
    network.train()
    return size
