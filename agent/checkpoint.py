"""Checkpoints of a run: tensors as safetensors, the rest as JSON; no pickle is written or read.

`save` writes a new directory, syncs it and only then makes it the current one by renaming; the one before is kept
until the next. `load` takes the newest whose manifest holds.
"""

import hashlib
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from agent.files import save_arrays, sync, write_text

FORMAT = 1
KEPT = 2
log = logging.getLogger(__name__)


def save(root: Path, tensors: dict[str, Tensor], arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Make a new current checkpoint under `root`; the last one stays good whatever happens meanwhile."""
    number = max(_numbers(root), default=0) + 1
    temporary = root / ".writing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    (temporary / "tensors").write_bytes(to_bytes(on_host))  # its own writer's errors are no OSError
    save_arrays(temporary / "arrays.npz", arrays)
    write_text(temporary / "state.json", json.dumps(state))
    files = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
    write_text(temporary / "manifest.json", json.dumps({"format": FORMAT, "files": files}))
    for path in temporary.iterdir():
        sync(path)
    temporary.rename(root / str(number))
    sync(root)
    for old in sorted(_numbers(root))[:-KEPT]:
        shutil.rmtree(root / str(old))


def load(root: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, np.ndarray], dict[str, Any]] | None:
    """The newest whole checkpoint under `root`, or None; damaged ones are set aside by name."""
    for number in sorted(_numbers(root), reverse=True):
        path = root / str(number)
        if (fault := _fault(path)) is None:
            with np.load(path / "arrays.npz", allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            tensors = load_file(path / "tensors", device=str(device))
            return tensors, arrays, json.loads((path / "state.json").read_text())
        log.warning("checkpoint %s is damaged (%s): set aside as %s.damaged, using the one before", path, fault, path)
        shutil.rmtree(path.with_suffix(".damaged"), ignore_errors=True)
        path.rename(path.with_suffix(".damaged"))
    return None


def _fault(path: Path) -> str | None:
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']}, this code reads {FORMAT}"
        wrong = [name for name, digest in manifest["files"].items() if _digest(path / name) != digest]
    except (OSError, ValueError, KeyError) as error:
        return str(error)
    return f"wrong checksum of {', '.join(wrong)}" if wrong else None


def _numbers(root: Path) -> list[int]:
    return [int(path.name) for path in root.glob("*") if path.name.isdecimal()]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
