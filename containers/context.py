"""The folder that an engine builds an image from: the image's own files, and how pip reaches packages.

The caller's settings for pip (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, PIP_DEFAULT_TIMEOUT, and the
certificates of PIP_CERT or SSL_CERT_FILE) go into a pip.conf that only a discarded stage of the build sees: neither
addresses, passwords nor certificates get into an image.
"""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from containers import images

INSIDE = Path("/build")  # where a Dockerfile copies its context


@contextmanager
def context(name: str, settings: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """A temporary build context. settings: environment variables."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as folder:
        sources = images.files(name)
        for place, source in sources.items():
            (Path(folder) / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, Path(folder) / place)
        locked = "".join(source.read_text() for place, source in sources.items() if place.endswith(".txt"))
        _write_pip_settings(Path(folder), settings, set(re.findall(r"--hash=sha256:([0-9a-f]{64})", locked)))
        yield Path(folder)


def _write_pip_settings(folder: Path, settings: Mapping[str, str], hashes: set[str]) -> None:
    links = settings.get("PIP_FIND_LINKS", "").split()
    wheels = [wheel for link in links for wheel in sorted(Path(link).glob("*.whl")) if _sha256(wheel) in hashes]
    for wheel in wheels:
        (folder / "wheels").mkdir(exist_ok=True)
        shutil.copy(wheel, folder / "wheels")
    places = [link for link in links if not Path(link).is_dir()] + ([str(INSIDE / "wheels")] if wheels else [])
    certificates = settings.get("PIP_CERT") or settings.get("SSL_CERT_FILE")
    if certificates:
        shutil.copy(certificates, folder / "certificates.pem")
    pip = {
        "index-url": settings.get("PIP_INDEX_URL"),
        "extra-index-url": settings.get("PIP_EXTRA_INDEX_URL"),
        "timeout": settings.get("PIP_DEFAULT_TIMEOUT"),
        "find-links": " ".join(places),
        "cert": str(INSIDE / "certificates.pem") if certificates else None,
    }
    parser = configparser.RawConfigParser()
    parser["global"] = {key: value for key, value in pip.items() if value}
    with (folder / "pip.conf").open("w") as file:
        parser.write(file)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
