"""From run directories to figures and the page, through the commands as the workflow calls them."""

import re
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


@pytest.fixture(scope="module")
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


def test_the_page_needs_nothing_else(results: Path) -> None:
    page = (results / "report.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith(("data:image/svg+xml;base64,", "data:video/mp4;base64,", "#")) for source in sources)
    assert "url(" not in page
    assert "@import" not in page


def test_the_page_shows_what_was_asked_for(results: Path) -> None:
    page = (results / "report.html").read_text()
    assert "A &lt;b&gt; &amp; C" in page
    assert "not the paper's network and budget" in page
    assert page.count("<video") == 4
    assert page.count("<img") == 2
    assert page.count("python -m agent.train --benchmark atari100k") == 8
    assert "env frames) a run" in page
    assert "restarts of an environment" not in page


def test_the_page_flags_runs_of_unlike_code(results: Path, tmp_path: Path) -> None:
    provenance = results / "collected/mine/provenance.csv"
    before = provenance.read_text()
    provenance.write_text(before.replace("0123456789abcdef", "fedcba9876543210", 1))
    must(report(results))
    page = (results / "report.html").read_text()
    provenance.write_text(before)
    assert "The runs come from different revisions of the code: 0123456789, fedcba9876." in page


def test_figures_are_the_same_for_the_same_data(results: Path, tmp_path: Path) -> None:
    must(command("plots", "curves", "--table", results / "collected/mine/curves.csv", "--out", tmp_path / "again"))
    assert (tmp_path / "again.svg").read_bytes() == (results / "figures/mine.svg").read_bytes()


def test_an_experiment_that_was_not_collected_is_named(results: Path) -> None:
    result = report(results, "other")
    assert result.returncode == 2
    assert "collected/other" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_disk_leaves_the_old_table_and_no_half_of_a_new_one(results: Path) -> None:
    table = results / "tables" / "mine.csv"
    before = table.read_bytes()
    line = [
        sys.executable,
        "-m",
        "analysis.tables",
        "--collected",
        results / "collected/mine",
        "--out",
        results / "tables/mine",
    ]
    # A limit on the size of files stands for the full disk: writing more than 100 bytes fails.
    result = subprocess.run(["prlimit", "--fsize=100", *map(str, line)], cwd=ROOT, text=True, capture_output=True)
    assert result.returncode == 2
    assert "File too large" in result.stderr
    assert table.read_bytes() == before
    assert not list(table.parent.glob(".*"))
