"""What of an adapter's fault its author needs to see: the error, and the adapter's line."""

from __future__ import annotations

import traceback
from pathlib import Path

from envs.errors import EnvironmentFailure
from envs.process import WorkerDied

LAST = 5  # lines of a worker's output


def told(error: Exception, adapters: str, benchmark: str) -> str:
    """An error of an environment or of its adapter's module: what it is, then the lines that say where.

    adapters: the package of the adapter.
    """
    file = f"{adapters.replace('.', '/')}/{benchmark}.py"
    death = error.__context__
    if isinstance(error, EnvironmentFailure) and isinstance(death, WorkerDied):
        return "\n".join([f"the worker {death}; it printed last:", *last_lines(death.output, file)])
    if isinstance(error, EnvironmentFailure):
        return str(error)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).match(file)]
    where = f" ({file}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def last_lines(output: str, file: str) -> list[str]:
    """The last lines of what a worker printed, preceded by the innermost line of `file` in its traceback, if any."""
    lines = [line for line in output.splitlines() if line.strip()]
    last = lines[-LAST:]
    places = [index for index, line in enumerate(lines) if line.lstrip().startswith("File ") and f'{file}"' in line]
    if not places:
        return last or ["(nothing)"]
    innermost = places[0] if "most recent call first" in output else places[-1]
    first = max(len(lines) - LAST, 0)
    return last if innermost >= first else [*lines[innermost : min(innermost + 2, first)], *last]
