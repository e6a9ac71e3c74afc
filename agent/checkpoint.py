"""Checkpoints of a run: tensors as safetensors, the rest as JSON and .npy; no pickle is written or read.

`save` writes a new directory, has it reach the disk, and only then makes it the current one by renaming; it reads that
again before an older one goes, and keeps the last one but one. `load` takes the newest whose manifest holds.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from agent.files import arrays_to_bytes, sync, write_all
from envs.errors import UserError

FORMAT = 2
KEPT = 2
Loaded = tuple[dict[str, Tensor], dict[str, np.ndarray], dict[str, Any]]
log = logging.getLogger(__name__)


def save(root: Path, tensors: dict[str, Tensor], arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Make a new current checkpoint under `root`; the last one stays good whatever happens meanwhile.

    Raises OSError if it cannot be written, or is not what was written when it is read again.
    """
    path, temporary = root / str(max(_numbers(root), default=0) + 1), root / ".writing"
    shutil.rmtree(temporary, ignore_errors=True)
    root.mkdir(exist_ok=True)  # without parents: on a mount that vanished, a run must not go on below it
    temporary.mkdir()
    on_host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    contents: dict[str, bytes | memoryview] = {
        "tensors": cast(bytes, to_bytes(on_host)),  # the errors of its own writer are no OSError
        "arrays.npz": arrays_to_bytes(arrays),
        "state.json": json.dumps(state).encode(),
    }
    digests = {name: _write(temporary / name, data) for name, data in contents.items()}
    manifest = {"format": FORMAT, "files": digests}
    _write(temporary / "manifest.json", json.dumps({**manifest, "digest": _digest_of(manifest)}).encode())
    sync(temporary)
    temporary.rename(path)
    sync(root)
    sync(root.parent)
    if fault := _fault(path):
        path.rename(path.with_suffix(".damaged"))
        raise OSError(f"checkpoint {path} is damaged as soon as it is written ({fault}); the one before is kept")
    for old in sorted(_numbers(root))[:-KEPT]:
        shutil.rmtree(root / str(old))


def load(root: Path, device: torch.device, fault_beside: Callable[[dict[str, Any]], str | None]) -> Loaded | None:
    """The newest whole checkpoint under `root`, or None; damaged ones are set aside by name.

    `fault_beside` says of a checkpoint's state what is wrong with the files that it refers to. Raises UserError if that
    leaves none, or if the format is another.
    """
    unusable: list[tuple[Path, str]] = []
    for number in sorted(_numbers(root), reverse=True):
        path = root / str(number)
        if fault := _fault(path):
            _set_aside(path, fault)
            continue
        state = json.loads((path / "state.json").read_text())
        if fault := fault_beside(state):
            unusable.append((path, fault))
            continue
        for newer in unusable:
            _set_aside(*newer)
        with np.load(path / "arrays.npz", allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        return load_file(path / "tensors", device=str(device)), arrays, state
    if unusable:
        path, fault = unusable[0]
        raise UserError(
            f"{fault}, so that checkpoint {path} cannot be used: put it back as it was, or start anew "
            f"after removing {root.parents[1]}"
        )
    return None


def _fault(path: Path) -> str | None:
    """What is wrong with a checkpoint, if anything. Raises UserError for one of another format."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        digest = manifest.pop("digest", None)  # format 1 had none
        if digest != _digest_of(manifest) and (digest is not None or manifest["format"] != 1):
            return "wrong checksum of manifest.json"
        if manifest["format"] == FORMAT:
            wrong = [name for name, digest in manifest["files"].items() if _digest(path / name) != digest]
            return f"wrong checksum of {', '.join(wrong)}" if wrong else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    raise UserError(
        f"checkpoint {path} has format {manifest['format']}, this code reads {FORMAT}: continue the run with the code "
        f"that began it, or remove {path.parents[2]} to start anew"
    )


def _set_aside(path: Path, fault: str) -> None:
    log.warning("checkpoint %s is damaged (%s): set aside as %s.damaged, using the one before", path, fault, path)
    shutil.rmtree(path.with_suffix(".damaged"), ignore_errors=True)
    path.rename(path.with_suffix(".damaged"))


def _numbers(root: Path) -> list[int]:
    return [int(path.name) for path in root.glob("*") if path.name.isdecimal()]


def _write(path: Path, data: bytes | memoryview) -> str:
    """Have the data reach the disk; returns its digest. The system forgets it, to read the disk if it is read again."""
    with path.open("wb", buffering=0) as file:
        write_all(file, data)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return hashlib.sha256(data).hexdigest()


def _digest_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
