"""What can be seen of the rules without running them."""

import subprocess
import sys
from pathlib import Path

from agent.config import names
from tests.workflow.conftest import ROOT, Project


def test_the_default_configuration_is_twelve_runs(project: Project) -> None:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--dry-run"]
    result = project.run(command=command)
    assert result.returncode == 0, result.stdout
    jobs = dict(line.split() for line in result.stdout.splitlines() if line.startswith(("train_", "evaluate_")))
    assert jobs == {
        "train_atari100k": "8", "train_distractor": "4", "evaluate_atari100k": "8", "evaluate_distractor": "4",
    }  # fmt: skip


def test_every_environment_rule_belongs_to_a_benchmark() -> None:
    found = {path.stem for path in (ROOT / "workflow" / "rules" / "envs").glob("*.smk")}
    assert found <= set(names("benchmarks"))


def test_lint_finds_nothing(project: Project) -> None:
    result = project.run(command=[sys.executable, "-m", "snakemake", "--lint"])
    assert result.returncode == 0, result.stdout
    assert "Congratulations" in result.stdout


def test_the_rules_are_formatted() -> None:
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}  # shfmt comes with snakefmt
    command = [sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow"]
    result = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True)
    assert result.returncode == 0, result.stderr
