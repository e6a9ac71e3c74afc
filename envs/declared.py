"""What a benchmark's settings, `config/benchmarks/<benchmark>.yaml`, declare of its environment and of its worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envs.errors import UserError

BENCHMARKS = Path(__file__).parent.parent / "config" / "benchmarks"


@dataclass(frozen=True)
class Declared:
    """deterministic: `reset(seed=s)` repeats an episode. python: the worker's interpreter, None for this one."""

    deterministic: bool = True
    python: str | None = None


def declared(benchmark: str, folder: Path = BENCHMARKS) -> Declared:
    """What the settings in `folder` say, the defaults where there are none. UserError for a wrong value."""
    path = folder / f"{benchmark}.yaml"
    try:
        settings = yaml.safe_load(path.read_text()) if path.exists() else {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    settings = settings if isinstance(settings, dict) else {}
    worker = settings.get("worker") or {}
    python = worker.get("python") if isinstance(worker, dict) else None
    return Declared(
        _checked(settings, "deterministic", True, bool, "true or false", path),
        _checked({"worker.python": python}, "worker.python", None, str, "the path of an interpreter", path),
    )


def _checked(settings: dict[str, Any], key: str, default: Any, kind: type, allowed: str, path: Path) -> Any:
    value = settings.get(key, default)
    if value is not default and not isinstance(value, kind):
        raise UserError(f"{key} is {value!r}, but must be {allowed} (see {path}).")
    return value
