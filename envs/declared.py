"""What a benchmark's settings, `config/benchmarks/<benchmark>.yaml`, say of its environment and of its worker."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from envs.errors import UserError

BENCHMARKS = Path(__file__).parent.parent / "config" / "benchmarks"


class SettingsLoader(yaml.SafeLoader):
    """YAML whose numbers are those of version 1.2: 1e-4 is one, where version 1.1 reads text."""


SettingsLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


@dataclass(frozen=True)
class Declared:
    """deterministic: `reset(seed=s)` repeats an episode. python: the worker's interpreter, None for this one.

    path: of the settings, None if there are none. score: `return` or `success`. env: options of the environment.
    tasks: the tasks that experiments can name, with the options of each that come on top of `env`.
    """

    deterministic: bool = True
    python: str | None = None
    path: Path | None = None
    score: str = "return"
    env: Mapping[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def options(self, task: str) -> dict[str, Any]:
        """The options of the environment of `task`, which need not be one of `tasks`."""
        return {**self.env, **self.tasks.get(task, {})}


def declared(benchmark: str, folder: Path = BENCHMARKS) -> Declared:
    """What the settings in `folder` say, the defaults where there are none. UserError for a wrong value."""
    path = folder / f"{benchmark}.yaml"
    try:
        settings = yaml.load(path.read_text(), SettingsLoader) if path.exists() else {}
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    settings = settings if isinstance(settings, dict) else {}
    worker = settings.get("worker") or {}
    python = worker.get("python") if isinstance(worker, dict) else None
    return Declared(
        _checked(settings, "deterministic", True, bool, "true or false", path),
        _checked({"worker.python": python}, "worker.python", None, str, "the path of an interpreter", path),
        path if path.exists() else None,
        _checked(settings, "score", "return", str, "return or success", path),
        _section(settings, "env", "env", path),
        {
            str(task): _task_options(task, found, path)
            for task, found in _section(settings, "tasks", "tasks", path).items()
        },
    )


def _task_options(task: object, settings: Any, path: Path) -> dict[str, Any]:
    where = f"tasks.{task}"
    return _section(_section({task: settings}, task, where, path), "env", f"{where}.env", path)


def _section(settings: dict[Any, Any], key: Any, name: str, path: Path) -> dict[Any, Any]:
    """The mapping below `key`, called `name` in messages; empty where there is none."""
    value = settings.get(key)
    return _checked({name: {} if value is None else value}, name, {}, dict, "keys and values", path)


def _checked(settings: dict[str, Any], key: str, default: Any, kind: type, allowed: str, path: Path) -> Any:
    value = settings.get(key, default)
    if value is not default and not isinstance(value, kind):
        raise UserError(f"{key} is {value!r}, but must be {allowed} (see {path}).")
    return value
