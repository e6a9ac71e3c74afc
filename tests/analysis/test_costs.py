"""Costs of runs: assumed ones follow from the settings, measured ones from finished runs."""

import json

import pytest
import yaml

from agent import config
from analysis import costs


class Needs:
    disk_mb, memory_mb = 300, 4000


def settings(**changes) -> dict:
    document = config.resolve("atari100k", "pong", "dreamerv2", "paper").as_dict()
    for key, value in changes.items():
        document[key] = document[key] | value
    return document


def test_the_assumed_cost_of_a_run_follows_from_its_settings():
    found = costs.assumed(settings(train={"steps": 100_000, "prefill": 1000, "pretrain": 0, "every": 1}), Needs())
    updates, played = 99_000, 99_000 + 99_000 / 5_000 * 100 * 1000
    assert found.hours == pytest.approx((updates / 7 + (played + 1000) / 900 + played / 200) / 3600)
    assert (found.live_mb, found.memory_mb, found.basis) == (300, 4000, "assumed")


def test_training_every_fifth_step_needs_a_fifth_of_the_updates():
    each = costs.assumed(settings(train={"every": 1}, evaluation={"episodes": 1}), Needs())
    fifth = costs.assumed(settings(train={"every": 5}, evaluation={"episodes": 1}), Needs())
    assert 3600 * (each.hours - fifth.hours) * 7 == pytest.approx(0.8 * (100_000 - 1100))


def test_a_benchmark_without_assumptions_has_no_made_up_cost():
    document = settings() | {"benchmark": "chess"}
    found = costs.assumed(document, Needs())
    assert found.hours != found.hours  # NaN
    assert found.basis == "unknown"


def test_every_benchmark_of_the_suite_has_assumptions():
    known = yaml.safe_load(costs.ASSUMED.read_text())["benchmarks"]
    paper = yaml.safe_load((config.CONFIG / "paper.yaml").read_text())["experiments"].values()
    assert {*config.names("benchmarks"), *(experiment["benchmark"] for experiment in paper)} <= set(known)


def test_measured_costs_are_means_over_finished_runs(tmp_path):
    for i, hours in enumerate((1, 3)):
        directory = tmp_path / f"seed_{i}"
        (directory / "videos").mkdir(parents=True)
        (directory / "provenance.json").write_text(json.dumps({"wall_seconds": 3600 * hours}))
        (directory / "videos" / "episode_0.mp4").write_bytes(b"x" * (2_000_000 * (i + 1)))
    (tmp_path / "seed_0.tsv").write_text("s\th:m:s\tmax_rss\n3600\t1:00:00\t1234.5\n")
    directories = [tmp_path / "seed_0", tmp_path / "seed_1"]
    found = costs.measured(directories, [tmp_path / "seed_0.tsv", tmp_path / "seed_1.tsv"], Needs())
    assert (found.hours, found.memory_mb, found.basis) == (2, 1234.5, "measured")
    assert found.disk_mb == pytest.approx(3, rel=1e-3)
