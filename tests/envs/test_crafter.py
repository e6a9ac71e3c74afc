"""Crafter, which does not repeat itself: the contract check finds that, and the settings declare it."""

import numpy as np
import pytest

import envs
from envs.check import check
from envs.declared import BENCHMARKS, declared

LIVELY = 3  # the seed of a world whose creatures make two episodes differ before step 50


def test_the_check_finds_that_it_is_not_deterministic_which_the_settings_declare(tmp_path):
    settings = (BENCHMARKS / "crafter.yaml").read_text()
    (tmp_path / "crafter.yaml").write_text(settings.replace("deterministic: false", ""))
    result = check("crafter", "reward", seed=LIVELY, steps=60, settings=tmp_path)
    assert (result.status, result.deterministic) == ("fail", False)
    assert result.reason.startswith(f"reset(seed={LIVELY}) does not start the same episode")
    assert "declare `deterministic: false` in config/benchmarks/crafter.yaml" in result.reason
    assert not declared("crafter").deterministic


def test_an_episode():
    environment = envs.make("crafter", "reward", 0, time_limit=60)
    first, info = environment.reset(seed=7)
    assert len(info["achievements"]) == 22
    total = 0.0
    for step in range(60):
        _, reward, *ended, info = environment.step((5, 10)[step % 2])  # take a sapling from the grass, plant it
        total += reward
        assert ended == [False, step == 59], "the time limit truncates"
    done = [name for name, count in info["achievements"].items() if count]
    assert set(done) >= {"collect_sapling", "place_plant"}
    assert total == pytest.approx(len(done), abs=0.9), "1 for each, and at most nine tenths for health"
    assert not np.array_equal(environment.reset()[0]["image"], first["image"])
    assert np.array_equal(environment.reset(seed=7)[0]["image"], first["image"]), "a seed has its world"
