"""Fetch DMC Remastered's textures (Apache-2.0): `fetch_textures.py MANIFEST FOLDER [URL]`.

Each file must have the SHA-256 that the manifest gives, and every file of it must be there. The standard library alone:
it runs while the image is built.
"""

import csv
import hashlib
import io
import pathlib
import ssl
import sys
import tarfile
import urllib.request

URL = "https://github.com/QData/dmc_remastered/archive/cec06842df66f1eef11eb40e97e02fd428795df7.tar.gz"
INSIDE = "/dmc_remastered/assets/"  # after the name of the archive's folder
CERTIFICATES = pathlib.Path("/build/certificates.pem")  # of the caller


def main(manifest: str, folder: str, url: str = URL) -> None:
    with open(manifest, newline="", encoding="utf-8") as lines:
        expected = {row["path"]: row["sha256"] for row in csv.DictReader(lines)}
    trust = ssl.create_default_context(cafile=CERTIFICATES if CERTIFICATES.exists() else None)
    with urllib.request.urlopen(url, context=trust) as answer:
        content = io.BytesIO(answer.read())
    with tarfile.open(fileobj=content) as archive:
        for member in archive:
            path = member.name.partition(INSIDE)[2]
            if path in expected and (file := archive.extractfile(member)):
                save(file.read(), expected.pop(path), pathlib.Path(folder, path))
    if expected:
        sys.exit(f"error: {len(expected)} textures are not in {url}, one of them {next(iter(expected))}")


def save(content: bytes, sha256: str, path: pathlib.Path) -> None:
    """Write a file that is the expected one."""
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(f"error: {path.name} does not match its SHA-256 in the manifest")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
