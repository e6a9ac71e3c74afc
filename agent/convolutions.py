"""Convolutional image encoders, (N, C, H, W) to (N, D, h, w), and decoders, (N, F) to (N, C, H, W).

Reference: wmlib-torch/wmlib/nets/{encoder,decoder}/; dreamerv3-jax/dreamerv3/nets.py.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.nets import ACTIVATIONS, INITS, NORM_EPS, glorot, output
from agent.settings import Layers, PlainCNN, ResNet, SamePad

Shape = tuple[int, ...]


class PlainEncoder(nn.Module):
    """Stride-2 convolutions with ELU whose channels double: DreamerV2's encoder, (N, C, H, W) to (N, D, h, w)."""

    def __init__(self, shape: Shape, settings: PlainCNN, layers: Layers):
        super().__init__()
        self._act = ACTIVATIONS[layers.activation]
        channels = [shape[0]] + [settings.depth * 2**i for i in range(len(settings.kernels))]
        self.conv = nn.ModuleList(
            glorot(nn.Conv2d(a, b, kernel, 2))
            for (a, b), kernel in zip(pairwise(channels), settings.kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.conv:
            x = self._act(layer(x))
        return x


class PlainDecoder(nn.Module):
    """Transposed stride-2 convolutions from one pixel of 32 * depth channels: DreamerV2's decoder."""

    def __init__(self, features: int, shape: Shape, settings: PlainCNN, layers: Layers):
        super().__init__()
        self._act = ACTIVATIONS[layers.activation]
        stages = len(settings.kernels)
        channels = (
            [32 * settings.depth] + [settings.depth * 2 ** (stages - i - 2) for i in range(stages - 1)] + [shape[0]]
        )
        self.convin = output(features, channels[0])
        self.conv = nn.ModuleList(
            glorot(nn.ConvTranspose2d(a, b, kernel, 2))
            for (a, b), kernel in zip(pairwise(channels), settings.kernels, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self._act(self._grow_pixel(self.convin(x)))
        for layer in list(self.conv)[1:-1]:
            x = self._act(layer(x))
        return self.conv[-1](x)

    def _grow_pixel(self, x: Tensor) -> Tensor:
        """The first transposed convolution, of one pixel (N, C): a matrix product is several times faster."""
        weight, bias = self.conv[0].weight, self.conv[0].bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        out = (x @ weight.flatten(1)).unflatten(1, weight.shape[1:]) + bias[:, None, None]  # (N, D, k, k)
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

    def __init__(self, shape: Shape, settings: ResNet, layers: Layers):
        super().__init__()
        self._act = ACTIVATIONS[layers.activation]
        self.convin = glorot(nn.Conv2d(shape[0], settings.depth, 3, 2, 1))
        depths = [settings.depth] + [settings.depth * 2**i for i in range(settings.stages)]
        self.res = nn.ModuleList(
            nn.Sequential(*(ResidualLayer(a if i == 0 else b, b) for i in range(settings.layers)))
            for a, b in pairwise(depths)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self._act(self.convin(x))
        for stack in self.res:
            x = F.avg_pool2d(stack(x), 2)
        return x


class ResNetDecoder(nn.Module):
    """The mirror of ResNetEncoder: nearest-neighbour upsampling before each stack, whose last layer halves channels."""

    def __init__(self, features: int, shape: Shape, settings: ResNet, layers: Layers):
        super().__init__()
        depth = settings.depth * 2 ** (settings.stages - 1)
        side = shape[-1] // 2 ** (settings.stages + 1)
        self._start = (depth, side, side)
        self.convin = output(features, depth * side * side)
        depths = [depth // 2**i for i in range(settings.stages + 1)]
        self.res = nn.ModuleList(
            nn.Sequential(*(ResidualLayer(a, b if i == settings.layers - 1 else a) for i in range(settings.layers)))
            for a, b in pairwise(depths)
        )
        self.convout = glorot(nn.ConvTranspose2d(depths[-1], shape[0], 3, 2, 1, output_padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.convin(x).unflatten(-1, self._start).contiguous(memory_format=torch.channels_last)
        for stack in self.res:
            x = stack(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.convout(x)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels alone, at each pixel: (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SamePadEncoder(nn.Module):
    """Stride-2 convolutions of kernel 4 that halve the sides down to `min_resolution`: DreamerV3's encoder.

    Channels double from stage to stage, unless `widen` is off (released code's bug of the torch option). `norm` is over
    the channels (JAX) or over channels and pixels together (torch option).
    """

    def __init__(self, shape: Shape, settings: SamePad, layers: Layers):
        super().__init__()
        stages = _stages(shape, settings)
        depths = [settings.depth * 2**i if settings.widen else settings.depth for i in range(stages)]
        self.conv = nn.ModuleList(
            INITS[layers.init](nn.Conv2d(a, b, 4, 2, 1, bias=layers.bias)) for a, b in pairwise([shape[0], *depths])
        )
        self.norm = nn.ModuleList(_image_norm(depth, shape[-1] >> (i + 1), settings) for i, depth in enumerate(depths))
        self._act = ACTIVATIONS[layers.activation]

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.conv, self.norm, strict=True):
            x = self._act(norm(layer(x)))
        return x


class SamePadDecoder(nn.Module):
    """The mirror of SamePadEncoder, from `min_resolution` upwards with halving channels; the last stage is bare."""

    def __init__(self, features: int, shape: Shape, settings: SamePad, layers: Layers):
        super().__init__()
        stages = _stages(shape, settings)
        depths = [settings.depth * 2 ** (stages - 1 - i) for i in range(stages)]
        self._start = (depths[0], settings.min_resolution, settings.min_resolution)
        self.convin = output(features, math.prod(self._start))
        self.conv = nn.ModuleList(
            INITS[layers.init](nn.ConvTranspose2d(a, b, 4, 2, 1, bias=layers.bias)) for a, b in pairwise(depths)
        )
        self.norm = nn.ModuleList(
            _image_norm(depth, settings.min_resolution << (i + 1), settings) for i, depth in enumerate(depths[1:])
        )
        self.convout = glorot(nn.ConvTranspose2d(depths[-1], shape[0], 4, 2, 1))
        self._act = ACTIVATIONS[layers.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = self.convin(x).unflatten(-1, self._start).contiguous(memory_format=torch.channels_last)
        for layer, norm in zip(self.conv, self.norm, strict=True):
            x = self._act(norm(layer(x)))
        return self.convout(x)


def _stages(shape: Shape, settings: SamePad) -> int:
    return int(math.log2(shape[-1]) - math.log2(settings.min_resolution))


def _image_norm(depth: int, side: int, settings: SamePad) -> nn.Module:
    if settings.norm == "channel":
        return ChannelNorm(depth, eps=NORM_EPS)
    return nn.LayerNorm((depth, side, side), eps=NORM_EPS)


ENCODERS = {"plain": PlainEncoder, "resnet": ResNetEncoder, "same_pad": SamePadEncoder}
DECODERS = {"plain": PlainDecoder, "resnet": ResNetDecoder, "same_pad": SamePadDecoder}
