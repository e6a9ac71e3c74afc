"""Reading an image as an engine writes it (docker-archive): its digest, architecture, and the packages inside."""

from __future__ import annotations

import email
import hashlib
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from envs.errors import UserError

DEBIAN = "var/lib/dpkg/status"
PYTHON = re.compile(r"/(site|dist)-packages/[^/]+\.dist-info/METADATA$|^opt/packages/[^/]+\.dist-info/METADATA$")


class Package(NamedTuple):
    kind: str  # deb or pypi
    name: str
    version: str
    license: str | None


class Content(NamedTuple):
    """digest: the image's id, the SHA-256 of its configuration. size: of its files, in bytes."""

    digest: str
    architecture: str
    size: int
    packages: list[Package]


def read(path: Path) -> Content:
    """What is in the archive. Raises UserError if it is not what its digests say."""
    with tarfile.open(path) as archive:
        (manifest,) = json.load(_file(archive, "manifest.json"))
        raw = _file(archive, manifest["Config"]).read()
        config = json.loads(raw)
        packages: dict[str, list[Package]] = {}
        size = 0
        for place, digest in zip(manifest["Layers"], config["rootfs"]["diff_ids"], strict=True):
            _verify(_file(archive, place), digest, path)
            with tarfile.open(fileobj=_file(archive, place)) as layer:
                for member in layer:
                    size += member.size
                    packages |= _packages(layer, member)
    found = sorted({package for group in packages.values() for package in group}, key=lambda package: package[:3])
    return Content(f"sha256:{hashlib.sha256(raw).hexdigest()}", config["architecture"], size, found)


def _file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is no file"
    return file


def _verify(layer: IO[bytes], digest: str, path: Path) -> None:
    found = f"sha256:{hashlib.file_digest(layer, 'sha256').hexdigest()}"  # type: ignore[arg-type]
    if found != digest:
        raise UserError(f"{path}: digest mismatch: a layer is {found}, but the image says {digest}: build it again")


def _packages(layer: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, list[Package]]:
    """What a file tells of installed packages, under its path: a later layer's file replaces an earlier one."""
    path = member.name.removeprefix("./")
    if path == DEBIAN and member.isfile():
        return {path: list(_debian(_text(layer, member)))}
    if PYTHON.search(path) and member.isfile():
        fields = email.message_from_string(_text(layer, member))
        return {path: [Package("pypi", fields["Name"], fields["Version"], fields["License-Expression"])]}
    return {}


def _text(layer: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    file: Any = layer.extractfile(member)
    return file.read().decode(errors="replace")


def _debian(status: str) -> Iterator[Package]:
    for entry in filter(None, status.split("\n\n")):
        fields = email.message_from_string(entry)
        if fields["Status"] == "install ok installed":
            yield Package("deb", fields["Package"], fields["Version"], None)
