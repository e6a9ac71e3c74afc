"""Results of a whole experiment, made by the commands that the workflow calls."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.experiments import RunName
from tests.analysis.run_directories import write_run

ROOT = Path(__file__).parents[2]


def command(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m analysis.<module>` from the project's root."""
    line = [sys.executable, "-m", f"analysis.{module}", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, text=True, capture_output=True)


def must(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything made of eight runs on Atari."""
    results = tmp_path_factory.mktemp("results")
    names = [
        RunName("atari100k", task, method, "quickstart", seed)
        for task in ("pong", "boxing")
        for method in ("dreamerv2", "harmony_dreamerv2")
        for seed in (0, 1)
    ]
    runs = [write_run(results, name) for name in names]
    collected = results / "collected" / "mine"
    labels = ("--name", "mine", "--title", "A <b> & C", "--score-rule", "final_policy_human_normalised")
    must(command("collect", *labels, "--out", collected, *runs))
    must(command("curves", "--collected", collected, "--out", collected / "curves.csv"))
    must(command("plots", "curves", "--table", collected / "curves.csv", "--out", results / "figures/mine"))
    must(command("profiles", "--collected", collected, "--out", collected / "profile.csv"))
    must(command("plots", "profile", "--table", collected / "profile.csv", "--out", results / "figures/mine_profile"))
    coefficients = collected / "coefficients.csv"
    must(command("plots", "coefficients", "--table", coefficients, "--out", results / "figures/mine_coefficients"))
    must(command("tables", "--collected", collected, "--out", results / "tables/mine"))
    verdicts = command("verdict_table", "--out", results / "tables/verdicts", collected)
    assert verdicts.returncode == 0, verdicts.stderr
    must(report(results))
    return results


def report(results: Path, name: str = "mine") -> subprocess.CompletedProcess[str]:
    out = results / "report.html"
    return command("report", "--results", results, "--command", "snakemake --cores all", "--out", out, name)
