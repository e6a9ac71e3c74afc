"""A checkpoint is whole or not taken, and one that cannot be read is never silently lost."""

import json
import os

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import checkpoint
from agent.chunks import Chunks
from agent.records import Records
from envs.errors import UserError

CPU = torch.device("cpu")


def save(root, number):
    checkpoint.save(root, {"weights": torch.full((3,), float(number))}, {"actions": np.ones(number)}, {"step": number})


def load(root, fault_beside=lambda state: None):
    loaded = checkpoint.load(root, CPU, fault_beside)
    if loaded is None:
        return None
    tensors, arrays, state = loaded
    assert tensors["weights"].tolist() == [state["step"]] * 3
    assert arrays["actions"].tolist() == [1] * state["step"]
    return state["step"]


@pytest.fixture
def root(tmp_path):
    (tmp_path / "run/checkpoint").mkdir(parents=True)
    for number in (1, 2, 3):
        save(tmp_path / "run/checkpoint/state", number)
    return tmp_path / "run/checkpoint/state"


def test_the_last_two_are_kept_and_the_newest_is_taken(root):
    assert sorted(path.name for path in root.iterdir()) == ["2", "3"]
    assert load(root) == 3


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["tensors", "arrays.npz", "state.json", "manifest.json"]),
    at=st.floats(0, 1),
    cut=st.booleans(),
)
def test_damage_anywhere_is_found(tmp_path_factory, name, at, cut):
    root = tmp_path_factory.mktemp("run") / "state"
    for number in (1, 2):
        save(root, number)
    path = root / "2" / name
    data = bytearray(path.read_bytes())
    place = int(at * (len(data) - 1))
    data[place] ^= 1
    path.write_bytes(data[:place] if cut else data)
    assert load(root) == 1
    assert (root / "2.damaged").is_dir()
    save(root, 3)
    assert load(root) == 3


def test_another_format_is_refused_and_left_alone(root):
    manifest = root / "3" / "manifest.json"
    other = json.dumps({"format": 1, "files": json.loads(manifest.read_text())["files"]})
    manifest.write_text(other)
    with pytest.raises(UserError, match=r"state/3 has format 1, this code reads 2: continue the run .* remove .*/run "):
        load(root)
    assert manifest.read_text() == other


def test_one_that_is_not_what_was_written_leaves_the_ones_before(root, monkeypatch):
    real = os.fsync

    def lose(descriptor):
        """A disk that changes what it is given."""
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("tensors"):
            os.pwrite(descriptor, b"x", os.fstat(descriptor).st_size - 1)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", lose)
    with pytest.raises(OSError, match="damaged as soon as it is written"):
        save(root, 4)
    monkeypatch.undo()
    assert load(root) == 3
    assert {path.name for path in root.iterdir()} == {"2", "3", "4.damaged"}


def test_a_checkpoint_is_taken_only_with_the_records_that_belong_to_it(root, tmp_path):
    """Where none of them fits, that is said before anything is changed."""
    (root / "3.txt").touch()
    assert load(root, lambda state: "metrics.jsonl is gone" if state["step"] == 3 else None) == 2
    assert (root / "3.damaged").is_dir()
    with pytest.raises(UserError, match=r"metrics\.jsonl is gone, so that checkpoint .*/state/2 cannot be used"):
        load(root, lambda state: "metrics.jsonl is gone")
    assert (root / "2").is_dir()


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.csv"])
def test_records_may_have_grown_since_but_not_have_changed(tmp_path, name):
    records = Records(tmp_path, 1)
    assert records.positions() == {}
    assert records.fault({}) is None
    for path in (records.metrics_path, records.evaluations_path):
        path.write_text("first line\n")
    positions, path = json.loads(json.dumps(records.positions())), tmp_path / name
    assert records.fault(positions) is None
    path.write_text("first line\nsecond")
    assert records.fault(positions) is None
    records.rewind(positions)
    assert path.read_text() == "first line\n"
    for changed in ("first line", "first lime\n"):
        path.write_text(changed)
        assert f"{name} is no longer what was written, 11 bytes" in records.fault(positions)
    path.unlink()
    assert records.fault(positions) is not None
    records.close()


def test_nothing_is_made_where_the_runs_directory_has_vanished(tmp_path):
    """Below a mount that is gone lies an empty folder; a run that went on there would split its files."""
    with pytest.raises(FileNotFoundError):
        save(tmp_path / "checkpoint" / "state", 1)
    with pytest.raises(FileNotFoundError):
        Records(tmp_path / "checkpoint", 1)
    with pytest.raises(FileNotFoundError):
        Chunks(tmp_path / "checkpoint" / "replay", 100, 1)
    assert list(tmp_path.iterdir()) == []
