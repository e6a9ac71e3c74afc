"""Verdicts: what they say for runs whose truth is known, what they refuse, and what they declare."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from analysis import claims, collected, experiments, published, scores, verdict_table, verdicts
from analysis.bootstrap import Interval
from analysis.collected import FAULTS, FAULTS_SHORT
from analysis.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.05, 0.09, ("consistent", "")),
        (0.01, 0.09, ("consistent", "")),  # surely above, but by less than anybody cares for
        (0.11, 0.5, ("different", "higher")),
        (-0.5, -0.11, ("different", "lower")),
        (0.05, 0.5, ("too few runs", "")),
        (-0.5, 0.5, ("too few runs", "")),
        (np.nan, np.nan, ("too few runs", "")),
    ],
)
def test_the_rule(low, high, verdict):
    assert verdicts.judge(Interval((low + high) / 2, low, high), (-0.1, 0.1)) == verdict


def runs(mean: float, spread: float, n: int, seed: int = 0) -> np.ndarray:
    """(n, 1) scores whose mean is exactly `mean`."""
    x = np.random.default_rng(seed).normal(size=(n, 1))
    return mean + spread * (x - x.mean()) / x.std()


def test_far_runs_are_different_and_near_ones_consistent():
    def against(mean):
        return verdicts.against_runs((runs(mean, 0.05, 10),), (runs(1, 0.05, 10),), scores.mean, 0.1)

    assert (against(1.0).verdict, against(1.0).further_seeds) == ("consistent", 0)
    assert (against(1.5).verdict, against(1.5).direction) == ("different", "higher")
    assert (against(0.5).verdict, against(0.5).direction) == ("different", "lower")


def test_as_many_further_seeds_as_it_says_decide_it():
    theirs = (runs(1, 0.02, 10),)
    few = verdicts.against_runs((runs(1.02, 0.2, 5),), theirs, scores.mean, 0.1)
    assert few.verdict == "too few runs"
    enough = verdicts.against_runs((runs(1.02, 0.2, 5 + few.further_seeds),), theirs, scores.mean, 0.1)
    half = verdicts.against_runs((runs(1.02, 0.2, 5 + few.further_seeds // 3),), theirs, scores.mean, 0.1)
    assert enough.verdict == "consistent"
    assert half.verdict == "too few runs"


def test_uncertain_published_runs_cannot_be_outnumbered():
    found = verdicts.against_runs((runs(1, 0.1, 5),), (runs(1, 1.0, 5),), scores.mean, 0.1)
    assert (found.verdict, found.further_seeds) == ("too few runs", None)
    assert "published runs alone" in found.reason


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_runs_never_decide(n):
    found = verdicts.against_runs((np.full((n, 1), 9.0),), (runs(1, 0.01, 5),), scores.mean, 0.1)
    assert found.verdict == "too few runs"
    assert found.further_seeds >= verdicts.MIN_RUNS - n


def test_a_range_is_met_anywhere_within_it():
    def within(mean):
        return verdicts.against_range((runs(mean, 0.02, 10),), 0.1, 0.69, scores.mean, 0.1)

    assert [within(mean).verdict for mean in (0.1, 0.4, 0.75)] == ["consistent"] * 3
    assert within(0.4).difference.value == 0
    assert (within(-0.3).verdict, within(-0.3).direction) == ("different", "lower")
    assert within(-0.3).difference.value == pytest.approx(-0.4)


def test_wrong_verdicts_are_rare():
    """True difference 0: hardly ever `different`; true difference far outside the margin: never `consistent`."""
    rng = np.random.default_rng(0)
    pairs = [(rng.normal(0, 1, (5, 8)), rng.normal(0, 1, (5, 8))) for _ in range(60)]
    same = [verdicts.against_runs((x,), (y,), scores.mean, 0.1).verdict for x, y in pairs]
    apart = [verdicts.against_runs((x + 2,), (y,), scores.mean, 0.1).verdict for x, y in pairs]
    assert same.count("different") <= 2
    assert apart.count("different") == 60


# Experiments as the workflow collects them, made from the authors' own runs.


def collect(
    tmp_path: Path, evaluations: pd.DataFrame, name: str = "atari100k", benchmark: str = "atari100k", **changes: object
) -> Path:
    directory = tmp_path / name
    directory.mkdir(parents=True)
    evaluations = evaluations.assign(episode=0, length=1000, success=evaluations.get("success", np.nan))
    evaluations.to_csv(directory / "evaluations.csv", index=False)
    provenance = evaluations[["task", "method", "seed"]].drop_duplicates()
    provenance = provenance.assign(config_digest="0", code_revision="abc", deviations="", **dict.fromkeys(FAULTS, 0))
    provenance.assign(**changes.pop("provenance", {})).to_csv(directory / "provenance.csv", index=False)
    experiment = {
        "name": name, "title": "", "description": "", "score_rule": "last_evaluation_human_normalised",
        "benchmark": benchmark, "variant": "paper", "tasks": sorted(evaluations["task"].unique()),
        "methods": list(evaluations["method"].unique()), "frames_per_step": 4,
    }  # fmt: skip
    (directory / "experiment.json").write_text(json.dumps(experiment | changes))
    return directory


def authors(games: list[str] | None = None) -> pd.DataFrame:
    """Their last two evaluations as if they were ours."""
    curves = published.read("atari100k_curves.csv")
    curves = curves[curves["env_frame"] >= 380_000]
    return curves[curves["task"].isin(games)] if games else curves


def table(*directories: Path) -> pd.DataFrame:
    return verdict_table.build([collected.load(directory) for directory in directories])


def test_the_authors_own_runs_are_never_different_from_themselves(tmp_path):
    found = table(collect(tmp_path, authors()))
    compared = found[found["claim"] == "atari100k"]
    assert len(compared) == 2 * 26 + 3 * 3 + 2  # cells; mean, median, IQM of two methods and the gain; headlines
    assert set(compared["verdict"]) == {"consistent", "too few runs"}
    gain = compared.set_index("quantity").loc["gain in mean"]
    assert (gain["ours"], gain["difference"]) == pytest.approx((0.29041, 0.0), abs=1e-5)
    headline = compared[(compared["quantity"] == "mean") & (compared["confidence"] == "secondary")]
    assert headline["difference"].item() == pytest.approx(-0.001, abs=1e-5)
    assert compared["deviations"].str.contains("PyTorch port of a result of JAX code").all()


def test_better_runs_are_different_higher(tmp_path):
    runs = authors(["pong", "hero"])
    runs["return"] = runs["return"] + 20 * (runs["task"] == "pong")
    found = table(collect(tmp_path, runs)).set_index(["quantity", "task", "method"])
    assert found.loc[("score", "pong", "harmony_dreamerv3"), ["verdict", "direction"]].tolist() == [
        "different",
        "higher",
    ]
    assert found.loc[("score", "hero", "harmony_dreamerv3"), "verdict"] == "consistent"


def test_two_games_give_no_aggregate(tmp_path):
    found = table(collect(tmp_path, authors(["pong", "hero"])))
    refused = found[found["verdict"] == "refused"]
    assert refused["reason"].unique().tolist() == ["2 of 26 tasks: no aggregate to compare"]
    assert not found["quantity"].isin(["mean", "median", "iqm"]).any()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"evaluations": lambda t: t.assign(env_frame=t["env_frame"] // 100)}, "unlike budgets: 4,000 env frames"),
        (
            {"evaluations": lambda t: t.assign(env_frame=t["env_frame"] - 100_000 * (t["task"] == "pong"))},
            "unlike budgets: runs end between 300,000 and 400,000",
        ),
        ({"provenance": {"config_digest": lambda t: t["seed"] % 2}}, "unlike settings"),
        ({"evaluations": lambda t: t.assign(**{"return": np.nan})}, "not a number"),
        ({"evaluations": lambda t: t[(t["task"] != "pong") | (t["seed"] != 3)]}, "pong has 4"),
    ],
    ids=["budget", "budgets", "presets", "NaN", "unequal seeds"],
)
def test_unlike_runs_are_refused_with_the_reason(tmp_path, damage, reason):
    runs = damage.pop("evaluations", lambda t: t)(authors(["hero", "pong"]))
    found = table(collect(tmp_path, runs, **damage))
    its = found[found["claim"] == "atari100k"]
    assert set(its["verdict"]) == {"refused"}
    assert its["reason"].str.contains(reason).all()
    assert its[["ours", "difference"]].isna().all(axis=None)


def test_deviations_are_declared(tmp_path):
    changed = {
        "env_restarts": 1,
        "skipped_updates": 2,
        "deviations": "generated video; rendered without shadows",
        "code_revision": lambda t: "r" + t["seed"].astype(str) + "-dirty",
    }
    directory = collect(tmp_path, authors(["pong"]), variant="small", provenance=changed)
    found = table(directory)
    declared = found[found["quantity"] == "score"]["deviations"].unique().item().split("; ")
    assert declared == [
        "PyTorch port of a result of JAX code",
        "variant small",
        "generated video",
        "rendered without shadows",
        "episodes per evaluation: 1, the paper has 100",
        "20 skipped updates",
        "10 environment restarts",
        "5 code revisions",
        "uncommitted changes in the code",
    ]
    counts = found.set_index("method")[list(FAULTS)]
    assert counts.loc["dreamerv3"].tolist() == [10, 5, 0], "of the row's own runs"
    assert verdict_table.for_reading(found)[FAULTS_SHORT].tolist()[0] == "10/5/0"


def test_the_abstracts_gain_is_judged_per_task_with_metaworlds_version_declared(tmp_path):
    rates = {"dreamerv2": 0.2, "harmony_dreamerv2": 0.6}
    tasks = {"lever_pull": 1, "hammer": 1, "handle_pull_side": 0}  # the last one gains nothing
    runs = pd.DataFrame(
        [
            {
                "task": t,
                "method": m,
                "seed": s,
                "agent_step": 255_000,
                "env_frame": 255_000,
                "return": 0.0,
                "success": x,
            }
            for t, gains in tasks.items()
            for m, rate in rates.items()
            for s in range(8)
            for x in [(rate if gains else 0.2) + 0.01 * (s % 2)]
        ]
    )
    found = table(collect(tmp_path, runs, "metaworld", "metaworld")).set_index(["claim", "task"])
    its = found.loc["visual_robotic_gain"]
    assert its["verdict"].to_dict() == {
        "hammer": "consistent",
        "lever_pull": "consistent",
        "handle_pull_side": "too few runs",
    }
    assert its["deviations"].str.contains("Meta-world v3 on MuJoCo 3 in place of v2").all()


def test_every_claim_and_every_experiment_has_a_line(tmp_path):
    runs = authors(["pong"]).replace({"method": {"dreamerv3": "dreamerv2", "harmony_dreamerv3": "harmony_dreamerv2"}})
    found = table(collect(tmp_path, runs, "quickstart_atari100k"))
    known, _ = claims.load()
    assert {claim.id for claim in known} <= set(found["claim"])
    its = found[found["experiment"] == "quickstart_atari100k"]
    assert its["verdict"].tolist() == ["no published number"]
    assert found[found["claim"] == "atari100k"]["verdict"].tolist() == ["not run"]


def test_claims_agree_with_the_published_tables_and_rules():
    known, _ = claims.load()
    reported = published.read("aggregates.csv").set_index(["benchmark", "method", "metric"])["value"].sort_index()
    gains = reported["visual_robotic_tasks", "harmony_over_base"]
    for claim in known:
        for number in claim.published:
            if number["kind"] == "value":
                assert number["value"] == reported[claim.benchmark, number["method"], number["metric"]]
            elif number["kind"] == "gain":
                assert [number["low"], number["high"]] == gains[["absolute_gain_min", "absolute_gain_max"]].tolist()
            else:
                assert len(claims.authors_runs(number))


def test_every_claim_names_experiments_that_exist():
    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    existing = experiments.load(config, "config/paper.yaml")
    known, _ = claims.load()
    named = {name: claim.benchmark for claim in known for name in claim.experiments}
    assert {name: existing[name].benchmark for name in named} == named
    assert set(named) == set(existing)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("value: 1.365", "value: about 1.4", "about 1.4"),
        ("confidence: primary", "confidence: certain", "certain"),
        ("code_base: jax", "code_bass: jax", "code_bass"),
        ("published: not available", "published: unknown", "unknown"),
    ],
)
def test_damaged_claims_are_refused_by_name(tmp_path, old, new, message):
    text = (published.DIRECTORY / "paper_claims.yaml").read_text()
    assert old in text
    (tmp_path / "paper_claims.yaml").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        claims.load(tmp_path)


def test_the_command_writes_all_three_forms(tmp_path):
    directory = collect(tmp_path, authors(["pong"]))
    out = tmp_path / "tables" / "verdicts"
    command = [sys.executable, "-m", "analysis.verdict_table", "--out", str(out), str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    back = verdict_table.for_reading(verdict_table.read(out.with_suffix(".csv")))
    pd.testing.assert_frame_equal(back, verdict_table.for_reading(table(directory)))
    assert re.search(r"\| pong \| [a-z ]+ \| harmony_dreamerv3 \| score \|", out.with_suffix(".md").read_text())
    assert r"harmony\_dreamerv3" in out.with_suffix(".tex").read_text()


def test_a_directory_that_was_not_collected_is_a_users_mistake(tmp_path):
    command = [sys.executable, "-m", "analysis.verdict_table", "--out", str(tmp_path / "v"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[:6]) == (2, "error:")
