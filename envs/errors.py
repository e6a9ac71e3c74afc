"""What can go wrong with an environment, by who can put it right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A user's mistake. The message is for the user; commands print it as `error: <message>` and exit with 2."""


class SimulatorMissing(UserError):  # noqa: N818
    """The simulator of a benchmark is not installed, or its assets are not there."""


class EnvironmentFailure(Exception):  # noqa: N818
    """An environment that cannot go on: its worker failed more often than its restart budget allows."""


class ContractViolation(EnvironmentFailure):
    """An adapter broke the environment contract, which a restart cannot mend."""


def unknown(kind: str, name: object, known: Iterable[str], where: str) -> UserError:
    """The error for a name that does not exist: suggests the nearest known one and says where the names come from."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'} (see {where}).")
