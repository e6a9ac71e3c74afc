"""The measurement of updates sees what is not finite, and says what it measured."""

import itertools

import pytest
import torch

from speed.updates import main, timed_updates
from tests.agent.small import make, random_batch


def test_a_row_says_what_was_measured(capsys):
    assert main(["--updates", "2", "--methods", "harmony_dreamerv3", "--device", "cpu"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "harmony_dreamerv3" in line)
    _, name, parameters, shape, milliseconds, finite, _ = (cell.strip() for cell in row.split("|"))
    assert (name, shape, finite) == ("`harmony_dreamerv3`", "8 x 16", "all 2")
    assert int(parameters.replace(",", "")) > 100_000
    assert float(milliseconds.replace(",", "")) > 1


@pytest.mark.parametrize("where", ["reward", "slow critic"])
def test_what_is_not_finite_is_seen(where):
    agent = make()
    batch = random_batch(agent)
    assert timed_updates(agent, itertools.repeat(batch), 2)[1] is None
    if where == "reward":
        batch["reward"][0, 0] = float("nan")
    else:
        with torch.no_grad():
            next(agent.behavior.slow_critic.parameters()).fill_(float("inf"))
    assert timed_updates(agent, itertools.repeat(batch), 2)[1] == 1


@pytest.mark.parametrize("options", [["--methods", "dreamerv9"], ["--updates", "0"]])
def test_a_mistake_ends_with_a_message(capsys, options):
    assert main(options) == 2
    assert capsys.readouterr().err.startswith("error: ")
