"""Procedural video: coloured textures that drift across each other, without end and without repeating in an episode.

It stands in for natural video where none can be shipped: varied, moving, and of no use to the task.
"""

from __future__ import annotations

import functools

import numpy as np

COUNT = 48  # textures in the bank
BANK_SEED = (
    20240721  # the bank is the same everywhere, like a data set; which of it an episode shows depends on its seed
)
SPEED = 0.05  # largest drift of a texture in sides per frame and axis


class Video:
    """One video of (size, size, 3) float32 frames from 0 to 255: two half-transparent textures in different motion."""

    def __init__(self, size: int, random: np.random.Generator) -> None:
        self._size = size
        self._textures = [textures(size)[i] for i in random.choice(COUNT, 2, replace=False)]
        self._start = random.uniform(0, size, (2, 2))  # (texture, axis), pixels
        self._velocity = random.uniform(-SPEED, SPEED, (2, 2)) * size  # pixels per frame

    def frame(self, index: int, out: np.ndarray) -> None:
        """Write frame `index` into `out` (size, size, 3)."""
        offsets = (self._start + index * self._velocity).astype(int) % self._size
        first, second = (
            texture[y : y + self._size, x : x + self._size]
            for texture, (y, x) in zip(self._textures, offsets.tolist(), strict=True)
        )
        np.add(first, second, out=out)


@functools.cache
def textures(size: int) -> np.ndarray:
    """The bank: (COUNT, 2 size, 2 size, 3) float32 from 0 to 127.5, each tiled twice, so that a crop is a slice."""
    random = np.random.default_rng(BANK_SEED)
    return np.stack([np.tile(_texture(size, random), (2, 2, 1)) for _ in range(COUNT)])


def _texture(size: int, random: np.random.Generator) -> np.ndarray:
    """A periodic texture (size, size, 3): noise of a random grain and direction, in two random colours."""
    frequencies = np.fft.fftfreq(size, 1 / size)  # cycles per side
    angle, stretch, grain = random.uniform(0, np.pi), random.uniform(1, 5), random.uniform(1, 6)
    y, x = frequencies[:, None], frequencies[None, :]
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    radius = np.hypot(stretch * along, across)
    spectrum = np.fft.fft2(random.standard_normal((size, size))) * np.exp(-(((radius - grain) / (1 + grain / 3)) ** 2))
    spectrum[0, 0] = 0  # no mean: it would only wash the colours out
    noise = np.fft.ifft2(spectrum).real
    mix = 1 / (1 + np.exp(-2 * noise / noise.std()))[..., None]
    colours = random.uniform(0, 127.5, (2, 3))
    return (mix * colours[0] + (1 - mix) * colours[1]).astype(np.float32)
