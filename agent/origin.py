"""Which code and which container image a process runs."""

import json
import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
LABELS = Path("/.singularity.d/labels.json")  # Apptainer's, inside a container


def code_revision() -> str | None:
    """The commit of the checkout, with `-dirty` if tracked files differ from it; None outside a git checkout.

    Images have no git: the workflow tells its jobs in them what it found.
    """
    if told := os.environ.get("SUITE_CODE_REVISION"):
        return told
    try:
        head = _git("rev-parse", "HEAD")
        return head + "-dirty" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return None


def image_digest(labels: Path = LABELS) -> str | None:
    """The digest of the container image; None outside of one.

    For an image from a registry, that of its manifest there; for one built here, that of its configuration.
    """
    if told := os.environ.get("SUITE_IMAGE_DIGEST"):
        return told
    if not labels.exists():
        return None
    known = json.loads(labels.read_text())
    source = known.get("suite.image.digest") or known.get("org.label-schema.usage.singularity.deffile.from", "")
    found = re.search(r"sha256:[0-9a-f]{64}", source)
    return found.group() if found else None


def _git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
