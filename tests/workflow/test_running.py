"""The real workflow on real training: two runs of seconds, killed, finished, and looked at."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import Project

pytestmark = pytest.mark.workflow
RUN_FILES = {
    "config.yaml", "metrics.jsonl", "evaluations.csv", "provenance.json", "policy.safetensors", "final_evaluations.csv",
    "videos",
}  # fmt: skip


def test_a_killed_workflow_loses_no_finished_run(project: Project) -> None:
    process = subprocess.Popen(
        project.command("--cores", "1"), cwd=project.path, env=project.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: len(done(project)) == 1 and training(project))
    process.send_signal(signal.SIGKILL)
    process.wait()
    (survivor,) = done(project)
    written = survivor.stat().st_mtime_ns

    wait_for(lambda: not processes_in(project.path))  # nothing goes on training unseen
    locked = project.run()
    assert locked.returncode != 0
    assert "--unlock" in locked.stdout
    assert project.run("--unlock").returncode == 0
    resumed = project.run()
    assert resumed.returncode == 0, resumed.stdout
    assert len(done(project)) == 2
    assert survivor.stat().st_mtime_ns == written


def test_everything_asked_for_is_there(finished: Project) -> None:
    for directory in finished.run_directories():
        assert {path.name for path in directory.iterdir()} >= RUN_FILES
        assert not (directory / "checkpoint").exists()
    results = finished.path / "results"
    for name in ("tables/tiny.csv", "tables/tiny.md", "tables/tiny.tex", "figures/tiny.png", "figures/tiny.svg"):
        assert (results / name).stat().st_size > 0
    assert "Tiny" in (results / "report.html").read_text()


def test_nothing_is_done_twice(finished: Project) -> None:
    assert finished.planned() == {}
    assert finished.planned("tiny") == {}


def test_a_removed_run_is_redone_with_what_depends_on_it(finished: Project, tmp_path: Path) -> None:
    removed, _ = finished.run_directories()
    shutil.move(removed, tmp_path / "run")
    jobs = finished.planned()
    shutil.move(tmp_path / "run", removed)
    assert jobs == {
        "train_distractor": 1, "evaluate_distractor": 1, "collect": 1, "curves": 1, "table": 1, "verdicts": 1,
        "plot_curves": 1, "plot_coefficients": 1, "report": 1, "default": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("module", "comment", "redone"),
    [
        ("analysis/plots.py", "# A comment.\n", {"plot_curves", "plot_coefficients"}),
        ("analysis/tables.py", "# A comment.\n", {"table", "verdicts"}),
        ("analysis/templates/report.html.jinja", "{# A comment. #}", set()),
    ],
)
def test_an_edited_module_redoes_what_it_makes(
    finished: Project, edited, module: str, comment: str, redone: set[str]
) -> None:
    edited(module, "", comment)
    assert set(finished.planned()) == {*redone, "report", "default"}


def test_neither_code_nor_comments_in_settings_retrain(finished: Project, edited) -> None:
    edited("agent/loop.py", "import", "# A comment.\nimport")
    edited("config/variants/smoke.yaml", "all:", "# A comment.\nall:")
    assert finished.planned() == {}


def test_other_settings_retrain(finished: Project, edited) -> None:
    edited("config/variants/smoke.yaml", "steps: 150", "steps: 151")
    assert finished.planned()["train_distractor"] == 2


def test_another_final_evaluation_only_evaluates_again(finished: Project, edited) -> None:
    edited("config/tiny.yaml", "episodes: 2", "episodes: 3")
    jobs = finished.planned()
    assert jobs["evaluate_distractor"] == 2
    assert "train_distractor" not in jobs


def test_the_report_of_snakemake_works_too(finished: Project) -> None:
    result = finished.run("--report", "snakemake_report.html")
    assert result.returncode == 0, result.stdout
    assert (finished.path / "snakemake_report.html").stat().st_size > 0


def test_a_run_directory_of_another_configuration_is_refused(finished: Project, tmp_path: Path) -> None:
    ours, other = finished.run_directories()
    shutil.move(ours, tmp_path / "run")
    (ours / "checkpoint").mkdir(parents=True)
    shutil.copy(other / "config.yaml", ours / "checkpoint" / "config.yaml")
    result = finished.run()
    shutil.rmtree(ours)
    shutil.move(tmp_path / "run", ours)
    assert result.returncode != 0
    assert "belongs to another configuration" in result.stdout
    assert "Traceback" not in result.stdout
    assert done(finished)[-1].exists()


def done(project: Project) -> list[Path]:
    return [path for d in project.run_directories() if (path := d / "provenance.json").exists()]


def training(project: Project) -> bool:
    return any((directory / "checkpoint" / "train.log").exists() for directory in project.run_directories())


def processes_in(directory: Path) -> list[str]:
    """Process ids whose work directory is `directory`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if os.readlink(process / "cwd") == str(directory) else []
        except OSError:  # it has ended, or is another user's
            continue
    return found


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
