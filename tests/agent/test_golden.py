"""The agent equals the authors' code on its recordings: losses, terms, trajectories and gradients, then parameters."""

from pathlib import Path

import pytest

from tests.agent.golden import GOLDEN, recordings, replay

TOLERANCE = {"losses": 1e-5, "per_step": 1e-5, "imagined": 1e-5, "gradients": 1e-5, "parameters": 1e-4}


@pytest.mark.parametrize("path", recordings(), ids=lambda path: f"golden-{path.stem}")
def test_equals_the_recording(path: Path) -> None:
    errors = replay(path)
    assert errors, f"nothing was compared with {path.name}"
    assert {kind: error for kind, error in errors.items() if not error <= TOLERANCE[kind]} == {}


def test_recordings_are_there() -> None:
    assert recordings(), f"no recordings in {GOLDEN}; set GOLDEN_DIR to the directory that has them"
