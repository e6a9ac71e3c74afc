"""What the images are made of: locked, pinned, verified."""

import re
from pathlib import Path

import pytest

from containers import images
from containers.lock import of_base, pinned
from envs import registry
from envs.errors import UserError

REQUIREMENTS = sorted(images.ROOT.glob("*/requirements.txt"))


def test_every_benchmark_that_runs_has_an_image() -> None:
    assert {"base", "analysis", *registry.benchmarks()} <= set(images.names())


def test_the_lock_is_that_of_the_files() -> None:
    now = {name: images.inputs(name) for name in images.names()}
    assert {name: entry["inputs"] for name, entry in images.lock().items()} == now, "write it again: make lock"


@pytest.mark.parametrize("name", images.names())
def test_what_an_image_starts_from_is_pinned(name: str) -> None:
    text = (images.ROOT / name / "Dockerfile").read_text()
    arguments = re.findall(r"^ARG BASE_IMAGE(.*)$", text, re.MULTILINE)
    assert arguments == [""] if name != images.BASE else re.fullmatch(r"=\S+@sha256:[0-9a-f]{64}", *arguments)
    stages = {"${BASE_IMAGE}", *re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)}
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= stages


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.parent.name)
def test_every_package_has_hashes_and_the_version_of_the_host(path: Path) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", path.read_text()).strip())
    host = pinned((images.ROOT.parent / "requirements" / "all.txt").read_text())
    for entry in entries:
        assert re.match(r"[\w.-]+==\S+ \\\n(\s+--hash=sha256:[0-9a-f]{64}( \\)?\n?)+$", entry), entry
    packages = pinned(path.read_text())
    assert packages <= host, "write it again: make lock"
    assert path.parent.name == images.BASE or not {name for name, _ in packages} & of_base()


def test_nothing_is_downloaded_unverified() -> None:
    for path in [path for name in images.names() for path in images.files(name).values()]:
        text = path.read_text()
        assert not re.search(r"\b(curl|wget|git clone)\b|^ADD\b|\bhttp://\S+\.(whl|tar|zip)", text, re.MULTILINE), path
        for command in re.findall(r"\bpip install.*", text):
            assert "--require-hashes" in command, path


def test_an_image_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown image 'atari'.*atari100k"):
        images.files("atari")


def test_a_link_that_leads_nowhere_is_no_other_image_but_an_error(sources: Path) -> None:
    (sources / "base" / "torch-cpu.txt").unlink()
    (sources / "base" / "torch-cpu.txt").symlink_to("nowhere")
    with pytest.raises(UserError, match="torch-cpu"):
        images.inputs("distractor")
