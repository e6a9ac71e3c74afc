"""The published data: complete, sourced, equal to what is known of them; and the check that is computed from them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import published
from analysis.errors import InputError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", published.files())
def test_every_row_fits_the_schema_and_has_a_source(name):
    table = published.read(name)
    assert len(table)
    assert table[["source", "where", "confidence"]].notna().all(axis=None)


def test_the_authors_curves_are_complete():
    curves = published.read("atari100k_curves.csv")
    counts = curves.groupby(["method", "task", "seed"]).size()
    assert (counts == 20).all()
    assert counts.groupby("method").size().to_dict() == {"dreamerv3": 130, "harmony_dreamerv3": 130}
    assert (curves["env_frame"] == 4 * curves["agent_step"]).all()


def test_every_game_has_both_ends_of_the_human_scale():
    games = published.read("atari100k_curves.csv")["task"].unique().tolist()
    reference = published.human_reference("atari100k", games)
    assert len(reference) == 26
    assert (reference["human"] > reference["random"]).all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("atari100k,pong,dreamerv3,0,5000,20000,-19.1,somebody,somewhere,certain\n", "'certain' is not one of"),
        ("atari100k,pong,dreamerv3,0,5000,20000,-19.1,,somewhere,primary\n", "'source' has ''"),
        ("atari100k,pong,dreamerv3,0,5000,20000,-19.1,somebody,somewhere,primary\n" * 2, "a second row"),
        ("atari100k,pong,dreamerv3,0,5000,20001,-19.1,somebody,somewhere,primary\n", "20001 is not a multiple"),
    ],
)
def test_a_damaged_published_file_is_refused(tmp_path, line, message):
    header = (published.DIRECTORY / "atari100k_curves.csv").read_text().splitlines()[0]
    (tmp_path / "atari100k_curves.csv").write_text(f"{header}\n{line}")
    with pytest.raises(InputError, match=message):
        published.read("atari100k_curves.csv", tmp_path)


def run_check(results: Path, root: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-X", "importtime", "-m", "analysis.check_published", "--results", str(results)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    results = tmp_path_factory.mktemp("results")
    done = run_check(results)
    assert done.returncode == 0, done.stderr
    return results, done


def test_the_papers_table_is_recomputed_without_torch(checked):
    results, done = checked
    table = pd.read_csv(results / "tables" / "check_published.csv")
    assert table.columns.tolist() == ["method", "score_rule", "metric", "value", "ci_low", "ci_high"]
    value = table.set_index(["score_rule", "method", "metric"])["value"]
    paper, two, best = table["score_rule"].unique()
    assert value[paper, "harmony_dreamerv3", "mean"] == pytest.approx(1.36400, abs=5e-6)
    assert value[paper, "harmony_dreamerv3", "median"] == pytest.approx(0.67052, abs=5e-6)
    assert value[paper, "dreamerv3", "mean"] == pytest.approx(1.07358, abs=5e-6)
    assert value[paper, "dreamerv3", "median"] == pytest.approx(0.41576, abs=5e-6)
    assert value[two, "harmony_dreamerv3", "mean"] == pytest.approx(1.343, abs=5e-4)
    assert value[best, "harmony_dreamerv3", "mean"] == pytest.approx(1.408, abs=5e-4)
    assert ((table["ci_low"] < table["value"]) & (table["value"] < table["ci_high"])).all()
    assert re.search(r"\| +matplotlib$", done.stderr, re.MULTILINE)  # the listing of imports is there
    assert not re.search(r"\| +torch\b", done.stderr)


def test_it_says_what_moves_the_headline(checked):
    results, done = checked
    assert "1.36400 recomputed, 1.365 printed, +0.00100 apart" in done.stdout
    assert "gopher alone is 50% of the gain" in done.stdout
    games = pd.read_csv(results / "tables" / "check_published_games.csv")
    assert games["share_of_gain"].sum() == pytest.approx(1)
    assert (games["harmony_dreamerv3"].mean(), games["gain"].mean()) == pytest.approx((1.36400, 0.29041), abs=1e-5)


def test_other_methods_aggregates_stand_beside_their_headlines(checked):
    methods = pd.read_csv(checked[0] / "tables" / "published_methods.csv", index_col="method")
    assert methods.loc["iris", "mean"] == pytest.approx(methods.loc["iris", "reported_mean"], abs=1e-3)
    assert methods.loc["dreamerv3_v1", ["mean", "median"]].tolist() == pytest.approx([1.134, 0.503], abs=1e-3)
    assert methods.loc["storm", "reported_mean"] - methods.loc["storm", "mean"] == pytest.approx(0.045, abs=1e-3)
    assert "harmonydream" not in methods.index  # known on two games only


def test_pictures_are_drawn(checked):
    import matplotlib.image

    for name in ("check_published_curve", "check_published_profile"):
        assert np.std(matplotlib.image.imread(checked[0] / "figures" / f"{name}.png")) > 0.05
        assert (checked[0] / "figures" / f"{name}.svg").read_text().startswith("<?xml")


def test_the_same_data_give_the_same_bytes(checked, tmp_path):
    assert run_check(tmp_path).returncode == 0
    for path in sorted(checked[0].rglob("*.*")):
        assert (tmp_path / path.relative_to(checked[0])).read_bytes() == path.read_bytes(), path.name


def test_a_missing_game_in_the_authors_curves_stops_the_check(tmp_path):
    for package in ("analysis", "results/published"):
        shutil.copytree(ROOT / package, tmp_path / package)
    curves = tmp_path / "results" / "published" / "atari100k_curves.csv"
    lines = curves.read_text().splitlines(keepends=True)
    curves.write_text("".join(line for line in lines if ",pong,harmony_dreamerv3," not in line))
    done = run_check(tmp_path / "out", tmp_path)
    assert done.returncode == 2
    assert "error: tasks: no evaluations of pong" in done.stderr
    assert not (tmp_path / "out").exists()
