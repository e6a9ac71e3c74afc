"""Running commands of a container engine or of Apptainer: what it means if one fails, and what to do about it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from envs.errors import UserError

NO_USER_NAMESPACES = (
    "this machine has no user namespaces for ordinary users, which rootless containers need: let its administrator "
    "allow them (`sysctl user.max_user_namespaces=15000`; on Ubuntu also "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`), or install Apptainer's setuid package"
)
ADVICE = {  # what the output says: what to do
    r"no space left on device|disk quota exceeded": (
        "the disk is full. An image needs about five times its size for a while: make room where the engine keeps its "
        "images, and in TMPDIR (/tmp), which can be set to another place"
    ),
    r"do not match the hashes": (
        "a package is not the one that was locked: look at the index or the folder that it came from (PIP_INDEX_URL, "
        "PIP_FIND_LINKS); if the change is meant, resolve the lock again with `make lock`"
    ),
    r"no matching distribution found for torch": (
        "pip finds no CPU build of torch: name a folder or URL that has one, PIP_FIND_LINKS=..., or build with --cuda"
    ),
    r"manifest unknown|digest (mismatch|did not match)|does not match (the )?digest|reading manifest": (
        "what to start from could not be had under its digest: check it, or name another image with --base-image"
    ),
    r"user namespace|cannot clone|newuidmap|newgidmap|operation not permitted.*clone": NO_USER_NAMESPACES,
    r"exec format error|architecture .* could not run|no image found in .* for architecture": (
        "the image is for another CPU architecture than this machine's; the lock files are for x86-64"
    ),
    r"temporary failure (in name resolution|resolving)|no such host|could not resolve|connection (refused|timed out)": (
        "a server could not be reached: look at the network, PIP_INDEX_URL and --debian-mirror"
    ),
}


def run(command: list[str], log: Path, failure: str, **environment: str) -> None:
    """Run a command, with its output at the end of `log`; UserError `failure`, with the cause, if it fails."""
    with log.open("ab") as file:
        begin = file.tell()
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **environment}
        )
    if result.returncode:
        raise explain(failure, log, begin)


def explain(failure: str, log: Path, begin: int) -> UserError:
    """The error for a failed command, whose output is in `log` from byte `begin`."""
    output = log.read_bytes()[begin:].decode(errors="replace")
    return UserError(f"{failure}: {meaning(output)} (all of its output is in {log})")


def meaning(output: str) -> str:
    """What to do about it, if it is known, else the last lines."""
    for pattern, advice in ADVICE.items():
        if re.search(pattern, output, re.IGNORECASE):
            return advice
    return "it said last:\n" + "\n".join(output.strip().splitlines()[-8:]) + "\n"
