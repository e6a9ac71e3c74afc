"""From run directories to figures and the page, through the commands as the workflow calls them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.analysis.conftest import ROOT, command, must, report


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
    assert page.count("<img") == 3
    assert page.count("python -m agent.train --benchmark atari100k") == 8
    assert "env frames) a run" in page
    assert "Thin lines" not in page, "the authors released no run of these methods"
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


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX: apt-get install texlive-latex-recommended")
@pytest.mark.parametrize("name", ["mine", "verdicts"])
def test_the_tables_compile(results: Path, tmp_path: Path, name: str) -> None:
    table = results / "tables" / f"{name}.tex"
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx,longtable,lscape}"
        rf"\begin{{document}}\input{{{table}}}\end{{document}}"
    )
    line = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(line, cwd=tmp_path, text=True, capture_output=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout
