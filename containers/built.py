"""What was built on this machine: `containers/built/` and its index, which git ignores."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.files import write_text
from containers import images
from envs.errors import UserError

FOLDER = images.ROOT / "built"


@dataclass
class Sif:
    """A SIF as it was made: its SHA-256, size in bytes, and time of modification."""

    sha256: str
    size: int
    modified: int  # nanoseconds


@dataclass
class Record:
    """One built image. inputs: the hash of what went into it, as in lock.json. size: in bytes, unpacked."""

    inputs: str
    tag: str
    digest: str
    architecture: str
    torch: str  # cpu or cuda
    base: str  # what it starts from
    size: int
    seconds: float
    date: str
    sif: Sif | None = None


def sif_path(name: str) -> Path:
    return FOLDER / f"{name}.sif"


def load() -> dict[str, Record]:
    """{image: record}; empty before anything was built. Raises UserError."""
    path = FOLDER / "index.json"
    try:
        entries = json.loads(path.read_text()) if path.exists() else {}
        return {name: Record(**{**e, "sif": Sif(**e["sif"]) if e["sif"] else None}) for name, e in entries.items()}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} cannot be read ({error}): remove it and run `python -m containers.build`") from None


def save(name: str, record: Record) -> None:
    """Add an image to the index, or replace it."""
    entries = {**load(), name: record}
    write_text(FOLDER / "index.json", json.dumps({n: asdict(e) for n, e in sorted(entries.items())}, indent=2) + "\n")


def describe(path: Path) -> Sif:
    """A SIF that was just made."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Sif(digest, path.stat().st_size, path.stat().st_mtime_ns)


def intact(path: Path, sif: Sif | None) -> bool:
    """Whether the file is the one that was made; it is only read where its size is the same and its time is not."""
    if sif is None or not path.exists():
        return False
    stat = path.stat()
    if (stat.st_size, stat.st_mtime_ns) == (sif.size, sif.modified):
        return True
    return stat.st_size == sif.size and describe(path).sha256 == sif.sha256
