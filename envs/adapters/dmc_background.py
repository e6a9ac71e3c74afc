"""DeepMind control before natural video: where the sky would be, frames of grayscale video pass, one per agent step.

The scenes are those of the suite that the authors changed: a grey floor in Cheetah, Hopper and Walker, and a blue one
elsewhere, which their colour key replaces by video as it does the sky. The authors' video goes on from one episode to
the next; here an episode starts at a random frame, so that its seed alone makes it.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from envs import control, video_files
from envs.control import SIZE, TIME_LIMIT, ControlTask, Trees
from envs.errors import SimulatorMissing
from envs.options import choice, flag, integer, text
from envs.rendering import QUALITIES, SKY
from envs.videos import Video

TASKS = control.TASKS
SKIES = ("segmentation", "colour_key")
GENERATED = "generated"
CLIP = 250  # frames of one generated video before the next
GREY = {"rgb1": ".1 .1 .1", "rgb2": ".2 .2 .2", "markrgb": ".1 .1 .1"}
BLUE = {"rgb1": ".1 .1 .4", "rgb2": ".2 .2 .8", "markrgb": ".1 .1 .4"}
GREY_FLOORS = ("cheetah", "hopper", "walker")
BROWN = ".7 .5 .3 1"  # of decorations before a blue floor, where the suite's blue ones would be keyed
NO_VIDEOS = (
    "dmc_background needs videos to show behind the tasks, and they are yours to supply: the authors took the class "
    "`driving car` of Kinetics-400. Put videos into a folder and name it by the option `videos`, in section `env` of "
    "config/benchmarks/dmc_background.yaml or by --set env.videos=FOLDER; other ones for evaluations go to "
    "evaluation.env.videos. `videos: generated` draws some, a deviation from the paper that verdicts state."
)


def make(
    task: str,
    seed: int,
    *,
    videos: str | None = None,
    total_frames: int = 1000,
    sky: str = "segmentation",
    rendering: str = "faithful",
    time_limit: int = TIME_LIMIT,
    truncation_is_terminal: bool = False,
) -> gymnasium.Env[Any, Any]:
    """One task.

    videos: a folder of videos, or `generated`. total_frames: how many frames of them are shown, in turn; which videos
    they are from depends on `seed`. sky: what is replaced by video, `segmentation` for exactly the sky (and a blue
    floor), `colour_key` for every pixel with more blue than red and green, as the authors do. rendering: `faithful` as
    the scene asks for, or `fast`, without shadows, reflections and multisampling. time_limit: agent steps of an
    episode. truncation_is_terminal: also call its end by time_limit terminal.
    """
    if videos is None:
        raise SimulatorMissing(NO_VIDEOS)
    folder, count = text("videos", videos), integer("total_frames", total_frames, low=2)
    frames, source = load_frames(folder, count, np.random.default_rng(seed))
    return Background(
        task,
        seed,
        frames,
        source,
        choice("sky", sky, SKIES),
        choice("rendering", rendering, QUALITIES),
        integer("time_limit", time_limit, low=1),
        flag("truncation_is_terminal", truncation_is_terminal),
    )


class Background(ControlTask):
    """A task before `frames`, uint8 (N, SIZE, SIZE); `source` says what they are."""

    def __init__(
        self,
        task: str,
        seed: int,
        frames: np.ndarray,
        source: dict[str, Any],
        sky: str,
        rendering: str,
        time_limit: int,
        terminal: bool,
    ) -> None:
        blue = control.domain_of(task)[0] not in GREY_FLOORS
        environment = control.load(task, lambda trees: paint(trees, blue))
        super().__init__(environment, seed, rendering, time_limit, terminal)
        self._frames, self._sky, self._start = frames, sky, 0
        model = self._physics.model.ptr
        floor = np.flatnonzero(model.geom_matid == model.material("grid").id)
        self._replaced = np.array([SKY, *floor] if blue else [SKY])
        self.provenance["videos"] = source["videos"]
        self.provenance["deviations"] += source["deviations"]
        if sky == "segmentation":
            self.provenance["deviations"].append("sky found by segmentation in place of the authors' colour key")

    def _begin(self) -> int:
        self._start = int(self.np_random.integers(len(self._frames)))
        return int(self.np_random.integers(2**32))

    def _picture(self) -> np.ndarray:
        data = self._physics.data.ptr
        if self._sky == "segmentation":
            image, geoms = self._renderer.picture_and_geoms(data, control.CAMERA)
            mask = np.isin(geoms, self._replaced)
        else:
            image = self._renderer.picture(data, control.CAMERA)
            mask = (image[..., 2] > image[..., 1]) & (image[..., 2] > image[..., 0])
        frame = self._frames[(self._start + self._steps) % len(self._frames)]
        image[mask] = frame[mask][:, None]
        return image


def paint(trees: Trees, blue: bool) -> None:
    """Give a scene the colours of the authors' suite: its floor, black stars, no blue decoration on a blue floor."""
    floor = trees["materials"].find(".//texture[@name='grid']")
    stars = trees["skybox"].find(".//texture")
    decoration = trees["materials"].find(".//material[@name='decoration']")
    assert floor is not None
    assert stars is not None
    assert decoration is not None
    floor.attrib.update(BLUE if blue else GREY)
    stars.set("markrgb", "0 0 0")
    if blue:
        decoration.set("rgba", BROWN)


def load_frames(videos: str, count: int, random: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
    """`count` grayscale frames, uint8 (count, SIZE, SIZE), and what they are and how they deviate from the paper's."""
    if videos == GENERATED:
        return generated_frames(count, random), {
            "videos": GENERATED,
            "deviations": ["generated video in place of natural video"],
        }
    frames, files = video_files.read(videos, count, SIZE, random, "option videos of dmc_background")
    return frames, {"videos": video_files.describe(frames, files), "deviations": []}


def generated_frames(count: int, random: np.random.Generator) -> np.ndarray:
    """Procedural videos of CLIP frames each, one after the other, uint8 (count, SIZE, SIZE)."""
    frames = np.empty((count, SIZE, SIZE), np.uint8)
    canvas = np.empty((SIZE, SIZE, 3), np.float32)
    for index in range(count):
        if index % CLIP == 0:
            video = Video(SIZE, random)
        video.frame(index % CLIP, out=canvas)
        frames[index] = canvas[:, :, 0]  # of more contrast than the mean of the colours
    return frames
