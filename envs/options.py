"""Checks of the options that adapters take, which come from `env:` in `config/benchmarks/<benchmark>.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from .errors import UserError

Choice = TypeVar("Choice", int, str)

WHERE = "section `env` of config/benchmarks/<benchmark>.yaml"


def _invalid(key: str, value: object, allowed: str) -> UserError:
    return UserError(f"option {key} is {value!r}, but must be {allowed} (see {WHERE}).")


def flag(key: str, value: object) -> bool:
    """`value` if it is true or false, else a UserError."""
    if not isinstance(value, bool):
        raise _invalid(key, value, "true or false")
    return value


def integer(key: str, value: object, low: int, high: int | None = None) -> int:
    """`value` if it is a whole number of at least `low`, and at most `high` if given, else a UserError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low or (high is not None and value > high):
        raise _invalid(key, value, f"a whole number of at least {low}" if high is None else f"from {low} to {high}")
    return value


def fraction(key: str, value: object, low: float, high: float) -> float:
    """`value` as a float if it is a number from `low` to `high`, else a UserError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise _invalid(key, value, f"a number from {low} to {high}")
    return float(value)


def text(key: str, value: object) -> str:
    """`value` if it is text and not empty, else a UserError."""
    if not isinstance(value, str) or not value:
        raise _invalid(key, value, "text")
    return value


def choice(key: str, value: object, allowed: tuple[Choice, ...]) -> Choice:
    """The member of `allowed` that equals `value`, else a UserError."""
    for option in allowed:
        if value == option and type(value) is type(option):
            return option
    raise _invalid(key, value, "one of " + ", ".join(map(str, allowed)))


def subset(key: str, value: object, allowed: Sequence[str]) -> tuple[str, ...]:
    """`value` if it is a list of different members of `allowed`, else a UserError."""
    names = list(value) if isinstance(value, (list, tuple)) else None
    if names is None or not set(map(str, names)) <= set(allowed) or len(set(names)) < len(names):
        raise _invalid(key, value, "a list of some of " + ", ".join(allowed))
    return tuple(names)


def span(key: str, value: object, low: int, other: tuple[int, int] | None = None) -> tuple[int, int]:
    """`value`, first and last of whole numbers from `low` to 2**32 - 1, or equal to `other`; else a UserError."""
    ends = tuple(value) if isinstance(value, (list, tuple)) else ()
    whole = len(ends) == 2 and all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
    if not whole or (ends != other and not low <= ends[0] <= ends[1] < 2**32):
        besides = "" if other is None else f", or {list(other)}"
        raise _invalid(key, value, f"[first, last], whole numbers from {low} to {2**32 - 1}{besides}")
    return ends[0], ends[1]
