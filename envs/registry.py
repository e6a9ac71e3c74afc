"""Find benchmarks, their tasks and their options, and make environments.

An adapter is a module `<package>/<benchmark>.py` with `TASKS: tuple[str, ...]` and
`make(task, seed, *, option=default, ...) -> gymnasium.Env`, which imports its simulator only when called.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .errors import SimulatorMissing, UserError, unknown

if TYPE_CHECKING:
    import gymnasium

ADAPTERS = "envs.adapters"


def benchmarks(adapters: str = ADAPTERS) -> tuple[str, ...]:
    """The names of all benchmarks in the package `adapters`, sorted; no simulator is imported."""
    package = importlib.import_module(adapters)
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))


def tasks(benchmark: str, adapters: str = ADAPTERS) -> tuple[str, ...]:
    """The names of a benchmark's tasks in the adapter's order; no simulator is imported."""
    return tuple(adapter(benchmark, adapters).TASKS)


def options(benchmark: str, adapters: str = ADAPTERS) -> Mapping[str, Any]:
    """The options that a benchmark takes, with their defaults, which are the paper's protocol."""
    parameters = inspect.signature(adapter(benchmark, adapters).make).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def adapter(benchmark: str, adapters: str = ADAPTERS) -> ModuleType:
    """The adapter module of `benchmark`; a UserError names the nearest benchmark if there is none."""
    known = benchmarks(adapters)
    if benchmark not in known:
        raise unknown("benchmark", benchmark, known, adapters.replace(".", "/"))
    try:
        return importlib.import_module(f"{adapters}.{benchmark}")
    except ImportError as error:
        raise _missing(benchmark, error) from error


def check(benchmark: str, task: str, seed: int, chosen: Mapping[str, Any], adapters: str = ADAPTERS) -> None:
    """Raise a UserError unless benchmark, task and options exist and the seed is valid; no simulator is imported."""
    source = f"{adapters.replace('.', '/')}/{benchmark}.py"
    if task not in tasks(benchmark, adapters):
        raise unknown(f"task of {benchmark}", task, tasks(benchmark, adapters), source)
    known = options(benchmark, adapters)
    for key in chosen:
        if key not in known:
            raise unknown(f"option of {benchmark}", key, known, source)
        try:
            json.dumps(chosen[key], allow_nan=False)
        except (TypeError, ValueError):
            raise UserError(f"option {key} of {benchmark} is {chosen[key]!r}, which JSON cannot express.") from None
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise UserError(f"seed is {seed!r}, but must be a whole number from 0 to 2**63 - 1 (see --seed).")


def create(benchmark: str, task: str, seed: int, chosen: Mapping[str, Any], adapters: str = ADAPTERS) -> gymnasium.Env:
    """Like `make`, with the adapters of any package."""
    check(benchmark, task, seed, chosen, adapters)
    try:
        return adapter(benchmark, adapters).make(task, seed, **chosen)
    except ImportError as error:
        raise _missing(benchmark, error) from error


def _missing(benchmark: str, error: ImportError) -> SimulatorMissing:
    return SimulatorMissing(
        f"benchmark {benchmark} needs its simulator, which this Python lacks ({error}): "
        f"run it in the benchmark's container image, or `pip install '.[{benchmark}]'` in the project's root."
    )


def make(benchmark: str, task: str, seed: int, **options: Any) -> gymnasium.Env:
    """An environment in this process.

    Observations are dicts with `image` uint8 (H, W, 3); action repeat and time limit are inside, the latter as a
    truncation. `reset(seed=s)` makes the episode reproducible. Raises UserError for an unknown name or a wrong value.
    """
    return create(benchmark, task, seed, options)
