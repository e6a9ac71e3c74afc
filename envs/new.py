"""Write the four files of a new benchmark, which runs at once: replace its small environment by yours.

    python -m envs.new my_benchmark
    python -m envs.new my_robots --action continuous

The adapter, the settings, the image and the env rule; docs/adding_a_benchmark.md says what comes next. The exit code is
0, or 2 for a name that cannot be used or a place that cannot be written; nothing is left behind then.
"""

from __future__ import annotations

import argparse
import contextlib
import keyword
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from envs.errors import UserError

ROOT = Path(__file__).parent.parent
TEMPLATES = Path(__file__).parent / "templates"
PLACES = {
    "adapter.py.template": "envs/adapters/{}.py",
    "settings.yaml.template": "config/benchmarks/{}.yaml",
    "Dockerfile.template": "containers/{}/Dockerfile",
    "rule.smk.template": "workflow/rules/envs/{}.smk",
}
# What the adapter's template differs in, by kind of action.
ACTIONS = {
    "discrete": {
        "constants": "MOVES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])  # the actions, as (x, y)\n",
        "action_space": "gymnasium.spaces.Discrete(len(MOVES))",
        "move": "move = SPEED * MOVES[int(check_action(self.action_space, action))]",
    },
    "continuous": {
        "constants": "",
        "action_space": "gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)",
        "move": "move = SPEED * check_action(self.action_space, action)",
    },
}


def files(name: str, action: str) -> dict[Path, str]:
    """The files of a benchmark and what is in them. Raises UserError for a name that cannot be used."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"a benchmark cannot be called {name!r}: its name must be lower-case letters, digits and underscores, "
            "begin with a letter, and be no word of the Python language."
        )
    words = {
        "name": name,
        "title": name.replace("_", " ").capitalize(),
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        **ACTIONS[action],
    }
    written = {
        ROOT / place.format(name): Template((TEMPLATES / template).read_text()).substitute(words)
        for template, place in PLACES.items()
    }
    for path in written:
        if path.exists():
            raise UserError(f"there is a benchmark or an image {name!r} already ({path}): choose another name.")
    return written


def write(contents: Mapping[Path, str]) -> None:
    """Write all of the files or none of them. Raises UserError."""
    made: list[Path] = []
    try:
        for path, text in contents.items():
            if not path.parent.exists():
                path.parent.mkdir()
                made.append(path.parent)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            made.append(temporary)
            temporary.write_text(text)
            os.link(temporary, path)  # which overwrites nothing
            made[-1] = path
            temporary.unlink()
    except OSError as error:
        for leftover in reversed(made):
            with contextlib.suppress(OSError):
                leftover.rmdir() if leftover.is_dir() else leftover.unlink()
        raise UserError(f"cannot write {path}: {error.strerror}; make it writable and run this again.") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m envs.new", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="the benchmark's id, such as my_robots")
    parser.add_argument("--action", choices=sorted(ACTIONS), default="discrete", help="kind of action (%(default)s)")
    options = parser.parse_args(arguments)
    try:
        contents = files(options.name, options.action)
        write(contents)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    written = [path.relative_to(ROOT) for path in contents]
    for path in written:
        print("wrote", path)
    undone = [path.parent if path.name == "Dockerfile" else path for path in written]  # its folder is new as well
    print(f"its actions are {options.action}; to undo this: rm -r {' '.join(map(str, undone))}")
    print(f"next: python -m envs.check {options.name}; then docs/adding_a_benchmark.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
