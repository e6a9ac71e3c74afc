"""Skipped updates leave evidence, are counted, and end a run when they are too many."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from agent import skipped
from agent.run_directory import RunDirectory

from . import small
from .commands import failed_with_a_message, provenance, train


def test_the_inputs_of_the_first_skipped_update_are_kept(tmp_path):
    evidence = skipped.Evidence(tmp_path / "skipped")
    for number, broken in enumerate([False, True, True, False]):
        evidence.note(number, {"x": torch.full((2, 3), float(number))}, {"a/skipped": torch.tensor(float(broken))})
    path = evidence.write()
    assert path.name == "update_000000001.safetensors"
    assert torch.equal(load_file(path)["x"], torch.ones(2, 3))
    assert evidence.write() is None, "it is written once"


def test_updates_that_were_made_leave_nothing(tmp_path):
    evidence = skipped.Evidence(tmp_path / "skipped")
    evidence.note(0, {"x": torch.zeros(2)}, {"a/skipped": torch.tensor(0.0), "b/skipped": torch.tensor(0.0)})
    assert evidence.write() is None
    assert not (tmp_path / "skipped").exists()


def test_the_newest_files_are_kept(tmp_path):
    evidence = skipped.Evidence(tmp_path)
    for number in range(skipped.KEPT + 2):
        evidence.note(number, {"x": torch.tensor([number])}, {"a/skipped": torch.tensor(1.0)})
        evidence.write()
    assert [load_file(path)["x"].item() for path in sorted(tmp_path.iterdir())] == [2, 3, 4]


@given(st.integers(0, 10**6), st.integers(1, 10**7), st.floats(0, 0.5))
def test_the_limit_is_a_share_of_the_steps_beyond_the_grace(count, steps, share):
    if count > skipped.GRACE and count > share * steps:
        with pytest.raises(skipped.TooManySkipped, match=f"{count:,} of {steps:,} "):
            skipped.check(count, steps, share, None)
    else:
        skipped.check(count, steps, share, None)


def test_what_a_run_keeps_shows_the_fault_again(tmp_path):
    done = train(tmp_path, misbehave="rewards_overflow:100")
    assert done.returncode == 0, done.stderr
    assert provenance(tmp_path)["skipped_updates"] >= 1
    path = min((tmp_path / "skipped").iterdir())
    inputs = load_file(path)
    batch = {name.removeprefix("batch/"): x for name, x in inputs.items() if name.startswith("batch/")}
    noise = {name.removeprefix("noise/"): x for name, x in inputs.items() if name.startswith("noise/")}
    assert (batch["reward"] > 1e29).any()
    agent = small.make("harmony_dreamerv2", *["batch.length=8", "replay.min_length=8", "replay.max_length=8"])
    carry = type(agent.initial_carry(2))(*(inputs[f"carry/{name}"] for name in ("deter", "stoch", "logit")))
    _, metrics = agent.update(batch, carry, noise)
    assert metrics["model/skipped"] == 1


def test_a_run_that_skips_too_much_is_given_up_and_not_tried_again(tmp_path):
    more = ("--set", "train.every=1", "--set", "train.steps=250", "--set", "limits.skipped_share=0.2")
    done = train(tmp_path, *more, misbehave="rewards_overflow:1")
    assert failed_with_a_message(done, 1), done.stderr
    assert "more than limits.skipped_share = 0.2 allows" in done.stderr
    [path] = [word.strip(".") for word in done.stderr.split() if word.endswith(".safetensors.")]
    assert load_file(path)
    retried = train(tmp_path, *more, "--attempt", "2")
    assert failed_with_a_message(retried, 2)
    assert "limits.skipped_share" in retried.stderr
    assert not RunDirectory(tmp_path).finished
