"""What a visual seed of DMC Remastered decides, drawn as there.

Facts of QData/dmc_remastered at commit cec0684: two generators of Python's `random` start from the visual seed, one for
what all tasks share, one for camera and light of the domain; every number is drawn whether or not its factor varies.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

FACTORS = ("bg", "floor", "body", "target", "reflectance", "camera", "light")

Triple = tuple[float, float, float]
Colour = tuple[float, float, float, float]
Box = tuple[tuple[float, float], ...]  # a range for each coordinate

# In metres, relative to the body that the camera or the light moves with, if to any.
CAMERAS: dict[str, Box] = {
    "ball_in_cup": ((-0.05, 0.05), (-0.9, -1.1), (0.8, 1.0)),
    "cartpole": ((-0.15, 0.15), (-5.0, -3.0), (0.8, 1.2)),
    "cheetah": ((-0.25, 0.25), (-3.2, -2.8), (-0.25, 0.25)),
    "finger": ((-0.02, 0.02), (-1.01, -0.99), (0.7, 1.0)),
    "fish": ((-0.05, 0.05), (-0.05, 0.05), (0.8, 1.2)),
    "hopper": ((-0.15, 0.15), (-3.0, -2.6), (0.6, 1.0)),
    "humanoid": ((-3.5, -2.5), (-0.5, 0.5), (0.5, 1.5)),
    "pendulum": ((0.0, 0.2), (-1.1, -0.97), (1.3, 1.6)),
    "reacher": ((-0.05, 0.05), (-0.05, 0.05), (0.7, 0.8)),
    "walker": ((-0.3, 0.3), (-2.05, -1.95), (0.6, 0.8)),
}
LIGHTS: dict[str, Box] = {
    "ball_in_cup": ((-0.5, 0.5), (-0.5, 0.5), (1.2, 2.7)),
    "cartpole": ((-1, 1), (-1, 1), (4.5, 7.5)),
    "cheetah": ((-2, 2), (-2, 2), (1, 5)),
    "finger": ((-0.8, 0.8), (-0.8, 0.8), (1.0, 3.0)),
    "fish": ((-0.3, 0.3), (-0.3, 0.3), (0.0, 1.0)),
    "humanoid": ((-0.7, 0.7), (-0.7, 0.7), (1.2, 1.8)),
    "pendulum": ((-0.5, 0.5), (-0.2, 0.2), (1.2, 2.8)),
    "reacher": ((-0.2, 0.2), (-0.2, 0.2), (0.15, 0.75)),
}
TILT = (0.4, 0.6)  # of Pendulum's camera: how far its upward axis leans back
EULER: Box = ((85, 95), (-5, 5), (-5, 5))  # of Hopper's camera, degrees


@dataclass(frozen=True)
class Look:
    """What is to be seen: numbers of textures, colours from 0 to 1, metres; None where a domain keeps its own.

    body and effector, target: red, green, blue, opacity. ambient, diffuse, specular: of the light at the camera.
    euler: of the camera, degrees. tilt: of the camera. light_diffuse, light_specular: of the scene's own light.
    """

    sky: int
    floor: int
    reflectance: float
    body: Colour
    effector: Colour
    target: Colour
    ambient: Triple
    diffuse: Triple
    specular: Triple
    shadow_size: int  # pixels
    camera: Triple
    euler: Triple | None = None
    tilt: float | None = None
    light: Triple | None = None
    light_diffuse: Triple | None = None
    light_specular: Triple | None = None


def draw(domain: str, visual_seed: int, skies: int, floors: int) -> Look:
    """The look that a visual seed of at least 1 gives, with so many textures to choose from."""
    random = Random(visual_seed)
    return Look(
        sky=random.choice(range(skies)),
        floor=random.choice(range(floors)),
        reflectance=random.uniform(0.0, 0.5),
        body=_colour(random),
        effector=_colour(random),
        target=_colour(random),
        ambient=_shade(random, (0.1, 0.8), 0.05),
        diffuse=_shade(random, (0.4, 0.9), 0.1),
        specular=_shade(random, (0.05, 0.3), 0.02),
        shadow_size=random.randint(2048 - 500, 2048 + 500),
        **_placed(domain, Random(visual_seed)),
    )


def _placed(domain: str, random: Random) -> dict[str, Any]:
    """Camera and light of a domain, in the order that they are drawn in."""
    placed: dict[str, Any] = {}
    if domain == "pendulum":
        placed["tilt"] = random.uniform(*TILT)
    placed["camera"] = _place(random, CAMERAS[domain])
    if domain == "hopper":
        placed["euler"] = _place(random, EULER)
    if domain in LIGHTS:
        placed["light"] = _place(random, LIGHTS[domain])
    if domain == "finger":
        placed["light_diffuse"] = _shade(random, (0.5, 1.1), 0.02)
        placed["light_specular"] = _shade(random, (0.0, 1.2), 0.02)
    return placed


def _place(random: Random, box: Box) -> Triple:
    x, y, z = (random.uniform(low, high) for low, high in box)
    return x, y, z


def _colour(random: Random) -> Colour:
    opacity = random.uniform(0.75, 1.0)  # drawn before the colours
    return random.random(), random.random(), random.random(), opacity


def _shade(random: Random, brightness: tuple[float, float], tint: float) -> Triple:
    """Nearly grey: one brightness, and a little more or less of each colour."""
    base = random.uniform(*brightness)
    return base + random.uniform(-tint, tint), base + random.uniform(-tint, tint), base + random.uniform(-tint, tint)
