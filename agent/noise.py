"""Every random number of a run, by (seed, stream, number): a resumed run draws what it would have drawn."""

import zlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def stream_seed(seed: int, stream: str, number: int = 0) -> int:
    """A 64-bit seed for one draw: independent for any two of (seed, stream, number)."""
    sequence = np.random.SeedSequence(seed, spawn_key=(zlib.crc32(stream.encode()), number))
    return int(sequence.generate_state(1, np.uint64)[0])


def stream_rng(seed: int, stream: str, number: int = 0) -> np.random.Generator:
    return np.random.default_rng(stream_seed(seed, stream, number))


class Draw(NamedTuple):
    """The shape of a random tensor; its numbers are uniform in [0, 1) or standard normal."""

    shape: tuple[int, ...]
    normal: bool = False


class Noise:
    """Random tensors on a device."""

    def __init__(self, seed: int, device: torch.device):
        self._seed, self._device = seed, device
        self._generator = torch.Generator(device)

    def draw(self, stream: str, number: int, draws: Mapping[str, Draw]) -> dict[str, Tensor]:
        """One float32 tensor for each name in `draws`, keyed by (seed, stream, number)."""
        self._generator.manual_seed(stream_seed(self._seed, stream, number) >> 1)  # CUDA takes 63 bits
        return {name: self._tensor(draw) for name, draw in draws.items()}

    def _tensor(self, draw: Draw) -> Tensor:
        make = torch.randn if draw.normal else torch.rand
        return make(draw.shape, generator=self._generator, device=self._device)
