"""Clutter: coloured blocks that drift about and noise, of no use to the task, drawn into pictures of 0 to 255."""

from __future__ import annotations

import functools

import numpy as np

SPEED = 0.06  # largest velocity of a block in sides per frame and axis
BANK_SEED = 20240722  # the grain of the noise is the same everywhere; which part of it a frame shows is random


class Blocks:
    """`count` blocks of side `extent` (in sides of the picture), each with a colour and a motion between the edges."""

    def __init__(self, size: int, count: int, extent: float, opacity: float, random: np.random.Generator) -> None:
        self._pixels = max(1, round(extent * size))
        self._room = size - self._pixels  # pixels that a corner can move over
        self._opacity = opacity
        self._start = random.uniform(0, 2 * self._room, (count, 2))
        self._velocity = random.uniform(-SPEED, SPEED, (count, 2)) * size  # pixels per frame
        self._paint = (random.uniform(0, 255, (count, 3)) * opacity).astype(np.float32)

    def draw(self, canvas: np.ndarray, frame: int) -> None:
        """Blend the blocks into the canvas (size, size, 3) where they are in that frame."""
        unfolded = (self._start + frame * self._velocity) % max(2 * self._room, 1)
        corners = np.minimum(unfolded, 2 * self._room - unfolded).astype(int).tolist()
        for (x, y), paint in zip(corners, self._paint, strict=True):
            patch = canvas[y : y + self._pixels, x : x + self._pixels]
            patch *= 1 - self._opacity
            patch += paint


def add_noise(canvas: np.ndarray, deviation: float, random: np.random.Generator) -> None:
    """Add noise of a standard deviation in grey levels, another one each time, and keep within 0 to 255."""
    size = len(canvas)
    y, x = random.integers(0, size, 2).tolist()
    canvas += deviation * noise_bank(size)[y : y + size, x : x + size]
    np.clip(canvas, 0, 255, out=canvas)


@functools.cache
def noise_bank(size: int) -> np.ndarray:
    """(2 size, 2 size, 3) float32, standard normal."""
    return np.random.default_rng(BANK_SEED).standard_normal((2 * size, 2 * size, 3), np.float32)
