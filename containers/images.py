"""What goes into an image, and the hash that stands for it.

`containers/<name>/` holds a Dockerfile and what it copies; every image but `base` starts from `base`. The hash of an
image's inputs covers all of these files and the base's; `lock.json` keeps it in git with the image's address in a
registry, by digest, if it was published.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from envs.errors import UserError, unknown

ROOT = Path(__file__).parent
LOCK = ROOT / "lock.json"
BASE = "base"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # as a machine calls it: as images call it


def names() -> list[str]:
    """Every image, `base` first because the others start from it."""
    found = {path.parent.name for path in ROOT.glob("*/Dockerfile")}
    return [BASE, *sorted(found - {BASE})]


def files(name: str) -> dict[str, Path]:
    """The build context of an image: {place in it: file}. Raises UserError."""
    folder = ROOT / name
    if not (folder / "Dockerfile").exists():
        raise unknown("image", name, names(), f"{ROOT.name}/<image>/Dockerfile")
    found = [path for path in sorted(folder.rglob("*")) if not path.is_dir() and "__pycache__" not in path.parts]
    if missing := [path for path in found if not path.exists()]:
        raise UserError(f"{missing[0]} points to a file that is not there: get it back from git")
    return {str(path.relative_to(folder)): path for path in found}


def inputs(name: str) -> str:
    """The SHA-256 of everything that goes into an image, those of the base image included."""
    digest = hashlib.sha256()
    if name != BASE:
        digest.update(inputs(BASE).encode())
    for place, source in files(name).items():
        content, runs = source.read_bytes(), os.access(source, os.X_OK)
        digest.update(f"{place}\0{runs}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def lock() -> dict[str, dict[str, Any]]:
    """{image: {"inputs": hash, "registry": address by digest, or None}}. Raises UserError."""
    try:
        return json.loads(LOCK.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{LOCK}: {error}; get it back from git, then run `python -m containers.lock`") from None


def architecture() -> str:
    """This machine's, as images call it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())
