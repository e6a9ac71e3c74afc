"""Write what images are locked to: `python -m containers.lock`.

With --uv, each image's requirements.txt is resolved again from the extra of its name in pyproject.toml, to the versions
that the host has (requirements/all.txt). Then lock.json gets the hash of each image's inputs; an image whose inputs
changed loses its registry address, because what is published is something else.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys

from agent.files import write_text
from containers import images
from envs.errors import UserError

PROJECT = images.ROOT.parent


def compile_requirements(name: str, uv: str) -> None:
    """Resolve the requirements of one image; the base's own packages are left out of the others'."""
    command = [
        uv, "pip", "compile", "pyproject.toml", "--quiet", "--generate-hashes", "--python-version", "3.11",
        "--python-platform", "x86_64-manylinux_2_28", "--constraints", "requirements/all.txt", "--no-header",
        "--output-file", f"containers/{name}/requirements.txt",
    ]  # fmt: skip
    if name != images.BASE:
        command += ["--extra", name]
        command += [f"--no-emit-package={package}" for package in sorted(of_base())]
    if subprocess.run(command, cwd=PROJECT).returncode:
        raise UserError(f"the requirements of image {name!r} could not be resolved; see what uv says above")


def of_base() -> set[str]:
    """The packages of the base image, torch and what it needs included."""
    locks = [images.ROOT / images.BASE / f for f in ("requirements.txt", "torch-cpu.txt")]
    return {package for lock in locks for package, _ in pinned(lock.read_text())}


def pinned(requirements: str) -> set[tuple[str, str]]:
    """The (package, version) pairs of a lock file; a package can have several, for different versions of Python."""
    return set(re.findall(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", requirements, re.MULTILINE))


def write() -> None:
    """Bring lock.json up to date."""
    before = images.lock() if images.LOCK.exists() else {}
    locked = {name: {"inputs": images.inputs(name), "registry": None} for name in images.names()}
    for name, entry in locked.items():
        if before.get(name, {}).get("inputs") == entry["inputs"]:
            entry["registry"] = before[name]["registry"]
    write_text(images.LOCK, json.dumps(locked, indent=2) + "\n")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m containers.lock", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--uv", metavar="COMMAND", help="resolve the requirements again with this uv")
    options = parser.parse_args(arguments)
    try:
        for name in images.names() if options.uv else []:
            if (images.ROOT / name / "requirements.txt").exists():
                compile_requirements(name, options.uv)
        write()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
