import shutil
from pathlib import Path

import pytest

from containers import built, images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of its own for what is built."""
    monkeypatch.setattr(built, "FOLDER", tmp_path)
    return tmp_path


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what goes into the images, to change."""
    copy = tmp_path / "containers"
    for name in images.names():
        shutil.copytree(images.ROOT / name, copy / name)
    shutil.copy(images.LOCK, copy)
    monkeypatch.setattr(images, "ROOT", copy)
    monkeypatch.setattr(images, "LOCK", copy / "lock.json")
    return copy
