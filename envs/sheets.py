"""Contact sheets: what the episodes of a benchmark's tasks look like, on one picture to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

SIDE = 128  # pixels that small frames are enlarged to, about
LABEL = 18  # height of a label in pixels
GAP = 2  # pixels between frames
INK, PAPER = (20, 20, 20), 235


def contact_sheet(rows: Mapping[str, Sequence[np.ndarray]]) -> np.ndarray:
    """One row of frames (H, W, 3) uint8 under each label; returns (height, width, 3) uint8."""
    strips = [strip for label, frames in rows.items() for strip in (_label(label), _row(frames))]
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate([_widened(strip, width) for strip in strips])


def png(picture: np.ndarray) -> bytes:
    """An RGB picture as a PNG file."""
    return cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes()


def _label(text: str) -> np.ndarray:
    strip = np.full((LABEL, 9 * len(text) + 2 * GAP, 3), PAPER, np.uint8)
    return cv2.putText(strip, text, (GAP, LABEL - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)


def _row(frames: Sequence[np.ndarray]) -> np.ndarray:
    times = max(1, SIDE // frames[0].shape[0])
    enlarged = [frame.repeat(times, 0).repeat(times, 1) for frame in frames]
    return np.concatenate([np.pad(f, ((0, GAP), (0, GAP), (0, 0)), constant_values=PAPER) for f in enlarged], axis=1)


def _widened(strip: np.ndarray, width: int) -> np.ndarray:
    return np.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=PAPER)
