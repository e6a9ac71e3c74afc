"""Encoders of observations to one embedding, and decoders of the latent state back to them.

Images are (..., C, H, W) float; vectors are (..., N). An encoder concatenates the image's features and the vectors'; a
decoder returns one distribution for each key. Reference: wmlib-torch/wmlib/nets/{encoder,decoder}/.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.distributions import MSE
from agent.nets import MLP, glorot, linear
from agent.settings import MLP as MLPSettings
from agent.settings import PlainCNN, ResNet

Shapes = Mapping[str, tuple[int, ...]]


class Encoder(nn.Module):
    """All keys of an observation to one embedding of `self.size`: (..., *shape) each to (..., size)."""

    def __init__(self, shapes: Shapes, settings: PlainCNN | ResNet):
        super().__init__()
        self.vectors = [key for key, shape in shapes.items() if len(shape) == 1]
        self.image = ENCODERS[settings.kind](shapes["image"], settings)
        self.size = _flat_size(self.image, shapes["image"])
        if self.vectors:
            inputs = sum(shapes[key][0] for key in self.vectors)
            self.vector = _VectorTower(inputs, settings)
            self.size += settings.vector_units

    def forward(self, obs: Mapping[str, Tensor]) -> Tensor:
        image = obs["image"]
        lead = image.shape[:-3]
        flat = image.flatten(0, -4).contiguous(memory_format=torch.channels_last)  # (N, C, H, W)
        # Flattened as (C, H, W) whatever the memory format: the order in which the RSSM's weights expect them.
        features = [self.image(flat).contiguous().flatten(1).unflatten(0, lead)]
        if self.vectors:
            features.append(self.vector(torch.cat([obs[key] for key in self.vectors], -1)))
        return torch.cat(features, -1)


class Decoder(nn.Module):
    """Latent features (..., F) to a dict of distributions over the observation's keys."""

    def __init__(self, features: int, shapes: Shapes, settings: PlainCNN | ResNet):
        super().__init__()
        self.sizes = {key: shape[0] for key, shape in shapes.items() if len(shape) == 1}
        self.image = DECODERS[settings.kind](features, shapes["image"], settings)
        if self.sizes:
            self.vector = MLP(
                features, MLPSettings(layers=settings.vector_layers, units=settings.vector_units), self.sizes
            )
        made = self.image(torch.zeros(1, features)).shape[1:]
        assert made == shapes["image"], f"the decoder makes images of {tuple(made)}, not {shapes['image']}"

    def forward(self, features: Tensor) -> dict[str, MSE]:
        image = self.image(features.flatten(0, -2)).unflatten(0, features.shape[:-1])
        out = {"image": MSE(image, event_dims=3)}
        if self.sizes:
            out |= {key: MSE(mean, event_dims=1) for key, mean in self.vector(features).items()}
        return out


class _VectorTower(nn.Module):
    def __init__(self, inputs: int, settings: PlainCNN | ResNet):
        super().__init__()
        sizes = [inputs] + [settings.vector_units] * settings.vector_layers
        self.dense = nn.ModuleList(linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.dense:
            x = F.elu(layer(x))
        return x


class PlainEncoder(nn.Module):
    """Stride-2 convolutions with ELU whose channels double: DreamerV2's encoder, (N, C, H, W) to (N, D, h, w)."""

    def __init__(self, shape: tuple[int, ...], settings: PlainCNN):
        super().__init__()
        channels = [shape[0]] + [settings.depth * 2**i for i in range(len(settings.kernels))]
        self.conv = nn.ModuleList(
            glorot(nn.Conv2d(a, b, kernel, 2))
            for a, b, kernel in zip(channels, channels[1:], settings.kernels, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.conv:
            x = F.elu(layer(x))
        return x


class PlainDecoder(nn.Module):
    """Transposed stride-2 convolutions from one pixel of 32 * depth channels: DreamerV2's decoder."""

    def __init__(self, features: int, shape: tuple[int, ...], settings: PlainCNN):
        super().__init__()
        stages = len(settings.kernels)
        channels = (
            [32 * settings.depth] + [settings.depth * 2 ** (stages - i - 2) for i in range(stages - 1)] + [shape[0]]
        )
        self.convin = linear(features, channels[0])
        self.conv = nn.ModuleList(
            glorot(nn.ConvTranspose2d(a, b, kernel, 2))
            for a, b, kernel in zip(channels, channels[1:], settings.kernels, strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.elu(_grow_pixel(self.conv[0], self.convin(x)))
        for layer in self.conv[1:-1]:
            x = F.elu(layer(x))
        return self.conv[-1](x)


def _grow_pixel(layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
    """A transposed convolution of one pixel (N, C) is a matrix product, several times faster as such: (N, D, k, k)."""
    out = (x @ layer.weight.flatten(1)).unflatten(1, layer.weight.shape[1:]) + layer.bias[:, None, None]
    return out.contiguous(memory_format=torch.channels_last)


class ResidualLayer(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a skip, which is a 1x1 one where the channels change.

    These convolutions have no bias and keep torch's default initialisation, as in the reference.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.identity = nn.Sequential()
        if inputs != outputs:
            self.identity = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.res_block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.identity(x) + self.res_block(x))


class ResNetEncoder(nn.Module):
    """One stride-2 convolution with ELU, then residual stacks that double the channels, each before a 2x2 average."""

    def __init__(self, shape: tuple[int, ...], settings: ResNet):
        super().__init__()
        self.convin = glorot(nn.Conv2d(shape[0], settings.depth, 3, 2, 1))
        depths = [settings.depth] + [settings.depth * 2**i for i in range(settings.stages)]
        self.res = nn.ModuleList(
            nn.Sequential(*(ResidualLayer(a if i == 0 else b, b) for i in range(settings.layers)))
            for a, b in zip(depths, depths[1:], strict=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = F.elu(self.convin(x))
        for stack in self.res:
            x = F.avg_pool2d(stack(x), 2)
        return x


class ResNetDecoder(nn.Module):
    """The mirror of ResNetEncoder: nearest-neighbour upsampling before each stack, whose last layer halves channels."""

    def __init__(self, features: int, shape: tuple[int, ...], settings: ResNet):
        super().__init__()
        depth = settings.depth * 2 ** (settings.stages - 1)
        side = shape[-1] // 2 ** (settings.stages + 1)
        self._start = (depth, side, side)
        self.convin = linear(features, depth * side * side)
        depths = [depth // 2**i for i in range(settings.stages + 1)]
        self.res = nn.ModuleList(
            nn.Sequential(*(ResidualLayer(a, b if i == settings.layers - 1 else a) for i in range(settings.layers)))
            for a, b in zip(depths, depths[1:], strict=False)
        )
        self.convout = glorot(nn.ConvTranspose2d(depths[-1], shape[0], 3, 2, 1, output_padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.convin(x).unflatten(-1, self._start).contiguous(memory_format=torch.channels_last)
        for stack in self.res:
            x = stack(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.convout(x)


ENCODERS = {"plain": PlainEncoder, "resnet": ResNetEncoder}
DECODERS = {"plain": PlainDecoder, "resnet": ResNetDecoder}


def _flat_size(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Elements of the network's output for one input of `shape`; BatchNorm's statistics are left alone."""
    network.eval()
    with torch.no_grad():
        size = network(torch.zeros(1, *shape)).numel()
    network.train()
    return size
