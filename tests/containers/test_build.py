"""Building images, as far as it goes without an engine."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.model.bom import Bom

from containers import archive, bom, build, images
from containers.context import context
from containers.trouble import meaning
from envs.errors import UserError

FETCH = images.ROOT / "dmc_remastered" / "fetch_textures.py"
TEXTURES = images.ROOT.parent / "tests" / "envs" / "data" / "dmcr"
STATUS = """\
Package: python3
Status: install ok installed
Version: 3.11.2-1+b1

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_without_an_engine_it_says_how_to_get_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    assert build.main(["--engine", "buildah", "distractor"]) == 2
    assert "--engine buildah is not here" in capsys.readouterr().err


def test_a_misspelt_image_is_an_error_before_anything_is_built(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["distracter"]) == 2
    assert "Did you mean 'distractor'?" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_an_image_is_named_by_what_goes_into_it(sources: Path) -> None:
    def tag(*arguments: str) -> str:
        return build.Builder(build.parse(list(arguments))).tag("distractor")

    first = tag()
    assert tag("--debian-mirror", "http://mirror.example/debian") == first
    assert len({first, tag("--cuda"), tag("--base-image", "localhost/stand-in")}) == 3
    with (sources / "distractor" / "Dockerfile").open("a") as file:
        file.write("# another\n")
    assert tag() != first


def test_the_build_gets_the_callers_wheels_that_are_locked_and_certificates(tmp_path: Path, sources: Path) -> None:
    (tmp_path / "locked-1-py3-none-any.whl").write_bytes(b"locked")
    (tmp_path / "other-1-py3-none-any.whl").write_bytes(b"other")
    (tmp_path / "ca.pem").write_text("certificate")
    digest = hashlib.sha256(b"locked").hexdigest()
    (sources / "atari100k" / "requirements.txt").write_text(f"locked==1 --hash=sha256:{digest}\n")
    settings = {
        "PIP_FIND_LINKS": f"{tmp_path} https://wheels.example/",
        "PIP_INDEX_URL": "https://user:secret%20@index.example/",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }
    with context("atari100k", settings) as folder:
        assert [path.name for path in (folder / "wheels").iterdir()] == ["locked-1-py3-none-any.whl"]
        assert (folder / "certificates.pem").read_text() == "certificate"
        assert (folder / "pip.conf").read_text().split("\n")[1:5] == [
            "index-url = https://user:secret%20@index.example/",
            "find-links = https://wheels.example/ /build/wheels",
            "cert = /build/certificates.pem",
            "",
        ]
    assert not folder.exists()


def test_only_a_discarded_stage_sees_the_build_context() -> None:
    for name in images.names():
        *_, kept = (images.ROOT / name / "Dockerfile").read_text().split("\nFROM ")
        assert "COPY . " not in kept
        assert "/build" not in kept


@pytest.mark.parametrize(
    ("output", "advice"),
    [
        ("write /var/lib/x: no space left on device", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "make lock"),
        ("ERROR: No matching distribution found for torch==2.13.0", "--cuda"),
        ("Error: initializing source docker://debian@sha256:0: reading manifest sha256:0: manifest unknown", "digest"),
        ("cannot clone: Operation not permitted\nuser namespaces are not enabled", "max_user_namespaces"),
        ("FATAL: the image's architecture (arm64) could not run on the host's (amd64)", "CPU architecture"),
        ("something\nnobody foresaw", "nobody foresaw"),
    ],
)
def test_the_cause_of_a_failure_is_said(output: str, advice: str) -> None:
    assert advice in meaning(output)


def write_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def docker_archive(path: Path, *layers: bytes, digests: list[str] | None = None) -> str:
    """Write an image of those layers; returns its digest."""
    found = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config: dict[str, Any] = {"architecture": "amd64", "rootfs": {"diff_ids": digests or found}}
    raw = json.dumps(config).encode()
    names = [f"{index}.tar" for index in range(len(layers))]
    manifest = json.dumps([{"Config": "config.json", "Layers": names}]).encode()
    content = dict(zip(names, layers, strict=True)) | {"config.json": raw, "manifest.json": manifest}
    path.write_bytes(write_tar(content))
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def python_package(name: str, version: str) -> tuple[str, bytes]:
    place = f"opt/venv/lib/python3.11/site-packages/{name}.dist-info/METADATA"
    return place, f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nLicense-Expression: MIT\n\nText".encode()


def test_the_bill_of_materials_has_every_package_as_the_last_layer_has_it(tmp_path: Path) -> None:
    base = write_tar(dict([("var/lib/dpkg/status", STATUS.encode()), python_package("numpy", "1")]))
    top = write_tar(
        dict([python_package("numpy", "2"), ("opt/packages/ale.dist-info/METADATA", b"Name: ale\nVersion: 3\n")])
    )
    digest = docker_archive(tmp_path / "image.tar", base, top)
    content = archive.read(tmp_path / "image.tar")
    bill = Bom.from_json(json.loads(bom.bill("atari100k", content)))  # type: ignore[attr-defined]
    assert {str(component.purl) for component in bill.components} == {
        "pkg:deb/debian/python3@3.11.2-1%2Bb1?arch=amd64", "pkg:pypi/numpy@2", "pkg:pypi/ale@3",
    }  # fmt: skip
    assert bill.metadata.component.version == content.digest == digest


def test_a_layer_that_is_not_what_the_image_says_is_refused(tmp_path: Path) -> None:
    docker_archive(tmp_path / "image.tar", write_tar({"a": b"a"}), digests=[f"sha256:{'0' * 64}"])
    with pytest.raises(UserError, match="digest mismatch"):
        archive.read(tmp_path / "image.tar")


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    """An archive of the textures that the tests have, laid out as that of the repository."""
    path = tmp_path / "textures.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(TEXTURES, "dmc_remastered-0/dmc_remastered/assets")
    return path


def fetch(tmp_path: Path, archive: Path, manifest: dict[str, str]) -> subprocess.CompletedProcess[str]:
    lines = ["path,sha256,bytes", *(f"{path},{digest},1" for path, digest in manifest.items())]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    command = [sys.executable, FETCH, tmp_path / "manifest.csv", tmp_path / "fetched", archive.as_uri()]
    return subprocess.run(command, capture_output=True, text=True)


def test_textures_are_fetched_whole_and_verified(tmp_path: Path, textures: Path) -> None:
    files = {str(path.relative_to(TEXTURES)): path.read_bytes() for path in TEXTURES.rglob("*.png")}
    manifest = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    assert fetch(tmp_path, textures, manifest).returncode == 0
    assert {path: (tmp_path / "fetched" / path).read_bytes() for path in files} == files
    assert "missing.png" in fetch(tmp_path, textures, {**manifest, "skies/missing.png": "0" * 64}).stderr
    assert "does not match" in fetch(tmp_path, textures, dict.fromkeys(manifest, "0" * 64)).stderr
