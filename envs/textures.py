"""The pictures that DMC Remastered puts on sky and floor: its own, from a folder and checked, or generated ones.

`dmcr_textures.csv` lists DMC Remastered's 502 files (QData/dmc_remastered at commit cec0684, Apache-2.0) with their
SHA-256. Which sky a visual seed shows depends on the order of the files: here by name, there as the file system has it.
"""

from __future__ import annotations

import abc
import csv
import hashlib
import os
from pathlib import Path

import cv2
import numpy as np

from envs.errors import SimulatorMissing

MANIFEST = Path(__file__).with_name("dmcr_textures.csv")
VARIABLE = "DMCR_TEXTURES"
GENERATED = "generated"
SKY, FLOOR = 800, 300  # pixels, sides of the square textures
SKIES, FLOORS = 119, 383  # in DMC Remastered
GET_THEM = (
    "Get them with `git clone https://github.com/QData/dmc_remastered && git -C dmc_remastered checkout cec0684` "
    "(167 MB, Apache-2.0), then name the folder dmc_remastered/dmc_remastered/assets by the option `textures`, in "
    f"section `env` of config/benchmarks/dmc_remastered.yaml, or by the environment variable {VARIABLE}; the container "
    f"image has them. `textures: {GENERATED}` draws some, a deviation from the paper that verdicts state."
)


class Textures(abc.ABC):
    """`skies` and `floors` say how many there are; `source` and `deviations` what they are."""

    skies: int
    floors: int
    source: str
    deviations: tuple[str, ...] = ()

    @abc.abstractmethod
    def sky(self, index: int) -> np.ndarray:
        """A sky, uint8 (SKY, SKY, 3)."""

    @abc.abstractmethod
    def floor(self, index: int) -> np.ndarray:
        """A floor, uint8 (FLOOR, FLOOR, 3)."""


def find(textures: str | None) -> Textures:
    """The textures that the option names, or the environment variable; SimulatorMissing says how to get them."""
    if textures == GENERATED:
        return Generated()
    folder = textures or os.environ.get(VARIABLE)
    if not folder:
        raise SimulatorMissing(f"dmc_remastered needs DMC Remastered's textures, and no folder is named. {GET_THEM}")
    return Folder(Path(folder).expanduser())


class Folder(Textures):
    """The files of a manifest, all there and unchanged in a folder with `skies/` and `floors/`."""

    def __init__(self, folder: Path, manifest: Path = MANIFEST) -> None:
        with manifest.open(newline="", encoding="utf-8") as lines:
            listed = {row["path"]: row["sha256"] for row in csv.DictReader(lines)}
        _check(folder, listed, manifest)
        self._skies = [folder / path for path in sorted(listed) if path.startswith("skies/")]
        self._floors = [folder / path for path in sorted(listed) if path.startswith("floors/")]
        self.manifest = manifest
        self.skies, self.floors = len(self._skies), len(self._floors)
        self.source = f"{len(listed)} files of DMC Remastered, as listed in {manifest.name}"

    def sky(self, index: int) -> np.ndarray:
        return _read(self._skies[index])

    def floor(self, index: int) -> np.ndarray:
        return _read(self._floors[index])


class Generated(Textures):
    """As many random patterns as DMC Remastered has textures, the same ones everywhere."""

    skies, floors, source = SKIES, FLOORS, GENERATED
    deviations: tuple[str, ...] = ("generated textures in place of DMC Remastered's",)

    def sky(self, index: int) -> np.ndarray:
        return _pattern(SKY, np.random.default_rng((0, index)))

    def floor(self, index: int) -> np.ndarray:
        return _pattern(FLOOR, np.random.default_rng((1, index)))


class Unseen(Generated):
    """As many as DMC Remastered has, for where none is shown: the other factors depend on how many there are."""

    source = "none shown"
    deviations = ()


def _check(folder: Path, listed: dict[str, str], manifest: Path) -> None:
    """SimulatorMissing unless every listed file is in the folder and has its SHA-256."""
    place = folder.absolute()
    if not folder.is_dir():
        raise SimulatorMissing(f"the folder of textures {place} does not exist. {GET_THEM}")
    missing = [path for path in listed if not (folder / path).is_file()]
    if missing:
        raise SimulatorMissing(
            f"{len(missing)} of the {len(listed)} textures of DMC Remastered are not in {place}, the first is "
            f"{missing[0]}. {GET_THEM}"
        )
    changed = [path for path, digest in listed.items() if _digest(folder / path) != digest]
    if changed:
        raise SimulatorMissing(
            f"{len(changed)} of the {len(listed)} textures in {place} are not those of DMC Remastered, the first is "
            f"{changed[0]}: its SHA-256 is not the one in {manifest}. {GET_THEM}"
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path  # its SHA-256 was right
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _pattern(size: int, random: np.random.Generator) -> np.ndarray:
    """Noise of coarse and fine grain between three random colours, uint8 (size, size, 3)."""
    height = np.zeros((size, size), np.float32)
    for cells in (4, 12, 36, 108):
        grain = random.standard_normal((cells, cells)).astype(np.float32)
        height += cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC) / np.sqrt(cells)
    level = np.clip(0.5 + height / (4 * height.std()), 0, 1)[..., None]
    low, middle, high = random.uniform(0, 255, (3, 3)).astype(np.float32)
    return ((1 - level) ** 2 * low + 2 * level * (1 - level) * middle + level**2 * high).astype(np.uint8)
