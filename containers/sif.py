"""Apptainer: whether it can run here, and images in its format (SIF)."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from agent.files import sync
from containers.trouble import meaning, run
from envs.errors import UserError

DIGEST_LABEL = "suite.image.digest"  # agent/provenance.py reads it inside
NO_APPTAINER = (
    "Apptainer is not here: install it (https://apptainer.org/docs/admin/main/installation.html; without root, its "
    "install-unprivileged.sh), load it (`module load apptainer`), or leave out --use-singularity to run on the host"
)
# Level 1 of zstd: a third of the size, and three times as fast to make as the default of 15.
COMPRESSION = "-comp zstd -Xcompression-level 1"


def check_apptainer() -> None:
    """Raise a UserError unless Apptainer is here."""
    if shutil.which("apptainer") is None:
        raise UserError(NO_APPTAINER)


@cache
def check_runs(image: Path) -> None:
    """Start a container of the image, as jobs do; a UserError says why that is not possible."""
    check_apptainer()
    result = subprocess.run(["apptainer", "exec", image, "true"], capture_output=True, text=True)
    if result.returncode:
        raise UserError(f"Apptainer cannot run {image}: {meaning(result.stdout + result.stderr)}")


def convert(archive: Path, digest: str, target: Path, log: Path) -> None:
    """Turn a docker-archive into a SIF that knows its digest; it is whole or not there. Raises UserError."""
    check_apptainer()
    definition = archive.with_suffix(".def")
    definition.write_text(f"Bootstrap: docker-archive\nFrom: {archive}\n\n%labels\n    {DIGEST_LABEL} {digest}\n")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    command = ["apptainer", "build", "--disable-cache", "--force", "--mksquashfs-args", COMPRESSION]
    try:
        run([*command, str(temporary), str(definition)], log, f"{target.name} could not be made",
            APPTAINER_TMPDIR=os.environ.get("APPTAINER_TMPDIR", str(archive.parent)))  # fmt: skip
        sync(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
