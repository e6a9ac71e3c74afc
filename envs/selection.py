"""What the arguments of `python -m envs.check` name: tasks, and options of their environments."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from envs import registry
from envs.declared import declared
from envs.errors import SimulatorMissing, UserError


def select(names: Sequence[str], everything: bool, adapters: str) -> list[tuple[str, str]]:
    """The (benchmark, task) pairs that the arguments name.

    Tasks that only the settings have are among them, for their check to fail, and of a broken adapter `?`.
    """
    if everything == bool(names):
        raise UserError("name a BENCHMARK or BENCHMARK/TASK, or use --all; see --help")
    chosen = []
    for name in registry.benchmarks(adapters) if everything else names:
        benchmark, _, task = name.partition("/")
        known = tasks(benchmark, adapters)
        if task and known:
            registry.check(benchmark, task, 0, {}, adapters)
        chosen += [(benchmark, t) for t in ([task] if task else known or ["?"])]
        if known and not task and adapters == registry.ADAPTERS:
            chosen += [(benchmark, t) for t in declared(benchmark).tasks if t not in known]
    return chosen


def tasks(benchmark: str, adapters: str) -> tuple[str, ...]:
    """The tasks of a benchmark, none if its adapter cannot be imported; UserError if there is no such benchmark."""
    try:
        return registry.tasks(benchmark, adapters)
    except SimulatorMissing:
        return ()
    except UserError:
        raise
    except Exception:  # whatever the module raises; its check tells
        return ()


def options_by_benchmark(items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What --set BENCHMARK.OPTION=VALUE says; values are JSON or else text."""
    found: dict[str, dict[str, Any]] = {}
    for item in items:
        name, separator, text = item.partition("=")
        benchmark, dot, option = name.partition(".")
        if not (separator and dot and benchmark and option):
            raise UserError(f"--set takes BENCHMARK.OPTION=VALUE, for example metaworld.rendering=fast, not {item!r}")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        found.setdefault(benchmark, {})[option] = value
    return found
