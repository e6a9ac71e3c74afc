"""Input that cannot be used, and how a command says so."""

import sys
from collections.abc import Callable
from typing import NoReturn


class InputError(Exception):
    """A file or an argument that cannot be used; the message names it, what is wrong and the remedy."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command: exit 0, or print `error: <message>` and exit 2 for bad input or a file that cannot be used."""
    try:
        main()
    except InputError as error:
        sys.exit(_failed(str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_failed(f"{where}{error.strerror or error}; nothing was half-written: set it right and run again"))
    sys.exit(0)


def _failed(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
