"""Videos of episodes, as H.264 that browsers play."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MIN_SIDE = 256  # pixels; smaller pictures are enlarged by a whole factor


def write_video(path: Path, frames: np.ndarray, fps: float) -> None:
    """Write frames (T, H, W, 3) uint8 at `fps` frames per second."""
    factor = max(1, -(-MIN_SIDE // min(frames.shape[1:3])))
    frames = frames.repeat(factor, 1).repeat(factor, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = (side - side % 2 for side in frames.shape[1:3])
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = np.ascontiguousarray(frame[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
