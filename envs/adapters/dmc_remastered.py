"""DMC Remastered (Grigsby and Qi, 2020): DeepMind control whose looks change with every episode.

A visual seed decides sky, floor, reflectance, colours, camera and light, a dynamics seed where the body starts. Both
give what they give in DMC Remastered: the same draws from the same generator, in its order (envs/visuals.py). But the
simulator is changed in place, where DMC Remastered builds a new one for each episode; only its shadow map keeps one
size, 2,048 pixels, where a visual seed has 1,548 to 2,548.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import gymnasium
import numpy as np

from envs import control, visuals
from envs.control import TIME_LIMIT, ControlTask, Trees
from envs.options import choice, flag, integer, span, subset, text
from envs.rendering import QUALITIES
from envs.textures import FLOOR, SKY, Textures, Unseen
from envs.textures import find as find_textures
from envs.visuals import FACTORS, Look

TASKS = control.TASKS
ORIGINAL = (0, 0)  # visual seeds of the suite's own looks
# What DMC Remastered's models have that the suite's have not: element, name, attributes.
SCENES: dict[str, tuple[str, str, dict[str, str]]] = {
    "ball_in_cup": ("camera", "cam0", {"pos": "0 -1 .9"}),
    "cheetah": ("geom", "ground", {"size": "100 15 .5"}),
    "pendulum": ("camera", "fixed", {"pos": ".1 -1. 1.5", "xyaxes": "1 0 0 0 .5 1"}),
    "reacher": ("light", "light", {"pos": "0 0 .5"}),
}


def make(
    task: str,
    seed: int,
    *,
    textures: str | None = None,
    vary: Sequence[str] = FACTORS,
    visual_seeds: Sequence[int] = (1, 1_000_000),
    dynamics_seeds: Sequence[int] = (1, 100_000),
    rendering: str = "faithful",
    time_limit: int = TIME_LIMIT,
    truncation_is_terminal: bool = False,
) -> gymnasium.Env[Any, Any]:
    """One task.

    textures: the folder of DMC Remastered's textures, or `generated`; by default what the environment variable
    DMCR_TEXTURES names. Unless bg or floor vary, none is needed. vary: which factors change. visual_seeds,
    dynamics_seeds: first and last of the seeds that episodes draw from; [0, 0] are the suite's own looks. rendering:
    `faithful` as the scene asks for, or `fast`, without shadows, reflections and multisampling. time_limit: agent steps
    of an episode. truncation_is_terminal: also call its end by time_limit terminal.
    """
    factors, seeds = subset("vary", vary, FACTORS), span("visual_seeds", visual_seeds, low=1, other=ORIGINAL)
    textured = seeds != ORIGINAL and not {"bg", "floor"}.isdisjoint(factors)
    folder = None if textures is None else text("textures", textures)
    return Remastered(
        task,
        seed,
        find_textures(folder) if textured else Unseen(),
        factors,
        seeds,
        span("dynamics_seeds", dynamics_seeds, low=0),
        choice("rendering", rendering, QUALITIES),
        integer("time_limit", time_limit, low=1),
        flag("truncation_is_terminal", truncation_is_terminal),
    )


class Remastered(ControlTask):
    """A task whose looks and start are drawn for each episode; `look` is the present one, None the suite's own."""

    look: Look | None = None

    def __init__(
        self,
        task: str,
        seed: int,
        textures: Textures,
        vary: tuple[str, ...],
        visual_seeds: tuple[int, int],
        dynamics_seeds: tuple[int, int],
        rendering: str,
        time_limit: int,
        terminal: bool,
    ) -> None:
        self._domain = control.domain_of(task)[0]
        self._textures, self._vary = textures, () if visual_seeds == ORIGINAL else vary
        self._visual_seeds, self._dynamics_seeds = visual_seeds, dynamics_seeds
        environment = control.load(task, lambda trees: prepare(trees, self._domain, self._vary), PLACEHOLDERS)
        super().__init__(environment, seed, rendering, time_limit, terminal)
        self.provenance["textures"] = textures.source
        self.provenance["deviations"] += textures.deviations

    def _begin(self) -> int:
        dynamics_seed = int(self.np_random.integers(*self._dynamics_seeds, endpoint=True))
        visual_seed = int(self.np_random.integers(*self._visual_seeds, endpoint=True))
        if self._vary:
            self.look = visuals.draw(self._domain, visual_seed, self._textures.skies, self._textures.floors)
            for texture in show(self._physics.model.ptr, self.look, self._vary, self._textures):
                self._renderer.upload_texture(texture)
        return dynamics_seed

    def _picture(self) -> np.ndarray:
        return self._renderer.picture(self._physics.data.ptr, control.CAMERA)


def _blank(size: int) -> bytes:
    """A PNG file of a black square."""
    return cv2.imencode(".png", np.zeros((size, size, 3), np.uint8))[1].tobytes()


PLACEHOLDERS = {"sky.png": _blank(SKY), "floor.png": _blank(FLOOR)}


def prepare(trees: Trees, domain: str, vary: Sequence[str]) -> None:
    """Turn the suite's scene into DMC Remastered's, with room for the textures that vary."""
    floor, stars, material = (
        trees[tree].find(path)
        for tree, path in (
            ("materials", ".//texture[@name='grid']"),
            ("skybox", ".//texture"),
            ("materials", ".//material[@name='grid']"),
        )
    )
    assert floor is not None
    assert stars is not None
    assert material is not None
    floor.attrib.update(gridsize="3 3", width="800", height="800")
    material.set("texrepeat", "3 3")
    if "floor" in vary:
        floor.attrib.update(builtin="none", file="floor.png")
    if "bg" in vary:
        stars.attrib.update(builtin="none", file="sky.png")
    if domain in SCENES:
        kind, name, attributes = SCENES[domain]
        element = trees["model"].find(f".//{kind}[@name='{name}']")
        assert element is not None
        element.attrib.update(attributes)


def show(model: Any, look: Look, vary: Sequence[str], textures: Textures) -> list[int]:
    """Change a model in place; returns the numbers of the textures that the renderer must take over."""
    uploads = []
    if "bg" in vary:
        uploads.append(_fill(model, "skybox", textures.sky(look.sky)))
    if "floor" in vary:
        uploads.append(_fill(model, "grid", textures.floor(look.floor)))
    if "reflectance" in vary:
        model.mat_reflectance[model.material("grid").id] = look.reflectance
    if "body" in vary:
        model.mat_rgba[model.material("self").id] = look.body
        model.mat_rgba[model.material("effector").id] = look.effector
    if "target" in vary:
        model.mat_rgba[model.material("target").id] = look.target
    if "camera" in vary:
        _aim(model, look)
    if "light" in vary:
        _light(model, look)
    _derive(model)
    return uploads


def _derive(model: Any) -> None:
    """Compute the fields that say where a camera or light that moves with a body is, relative to it."""
    import mujoco

    extent, center = model.stat.extent, model.stat.center.copy()
    mujoco.mj_setConst(model, mujoco.MjData(model))
    model.stat.extent, model.stat.center[:] = extent, center  # the scene's own values, which cut what is near and far


def _fill(model: Any, name: str, image: np.ndarray) -> int:
    """Put a picture in the place of a texture of its size; returns the texture's number."""
    number = model.texture(name).id
    start = model.tex_adr[number]
    model.tex_data[start : start + image.size] = image.ravel()
    return int(number)


def _aim(model: Any, look: Look) -> None:
    import mujoco

    model.cam_pos[control.CAMERA] = look.camera
    if look.euler is not None:
        mujoco.mju_euler2Quat(model.cam_quat[control.CAMERA], np.radians(look.euler), "xyz")
    if look.tilt is not None:
        right, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, look.tilt, 1.0]) / np.hypot(look.tilt, 1.0)
        axes = np.column_stack([right, up, np.cross(right, up)])
        mujoco.mju_mat2Quat(model.cam_quat[control.CAMERA], axes.ravel())


def _light(model: Any, look: Look) -> None:
    headlight = model.vis.headlight
    headlight.ambient[:], headlight.diffuse[:], headlight.specular[:] = look.ambient, look.diffuse, look.specular
    for field, value in (
        (model.light_pos, look.light),
        (model.light_diffuse, look.light_diffuse),
        (model.light_specular, look.light_specular),
    ):
        if value is not None:
            field[0] = value
