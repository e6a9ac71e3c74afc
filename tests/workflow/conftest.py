import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CODE = (
    "Snakefile",
    "pyproject.toml",
    "agent",
    "analysis",
    "config",
    "envs",
    "profiles",
    "results/published",
    "workflow",
)
TINY = {
    "experiments": {
        "tiny": {
            "title": "Tiny",
            "benchmark": "distractor",
            "tasks": ["reach"],
            "methods": ["dreamerv2", "harmony_dreamerv2"],
            "variant": "smoke",
            "seeds": [0],
            "score_rule": "final_policy_return",
            "final_evaluation": {"episodes": 2, "videos": 1},
        }
    }
}


class Project:
    """A copy of the checkout to run the real workflow in, on one small experiment of two runs."""

    def __init__(self, path: Path):
        self.path = path
        for name in CODE:
            ignored = shutil.ignore_patterns("__pycache__")
            source = ROOT / name
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, path / name, ignore=ignored) if source.is_dir() else shutil.copy(source, path)
        self.configure(TINY)

    def configure(self, config: object) -> None:
        (self.path / "config" / "tiny.yaml").write_text(yaml.safe_dump(config))

    def command(self, *arguments: str) -> list[str]:
        """The command line of Snakemake, from this interpreter although nothing is activated."""
        return [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, "--configfile", "config/tiny.yaml"]

    @property
    def environment(self) -> dict[str, str]:
        """Without activation and with a home of its own."""
        return {"PATH": os.defpath, "HOME": str(self.path), "OMP_NUM_THREADS": "1"}

    def run(self, *arguments: str, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command or self.command(*arguments), cwd=self.path, env=self.environment, text=True, timeout=240,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule Snakemake would run."""
        result = self.run("--dry-run", *arguments)
        assert result.returncode == 0, result.stdout
        table = result.stdout.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}

    def run_directories(self) -> list[Path]:
        return [
            self.path / f"results/runs/distractor/reach/{m}/smoke/seed_0" for m in ("dreamerv2", "harmony_dreamerv2")
        ]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def finished(project: Project) -> Project:
    """The project with everything run."""
    result = project.run()
    assert result.returncode == 0, result.stdout
    return project


@pytest.fixture
def edited(finished: Project) -> Iterator[Callable[[str, str, str], None]]:
    """Replaces text in a file of the project until the test ends."""
    before: dict[Path, str] = {}

    def edit(name: str, old: str, new: str) -> None:
        path = finished.path / name
        before[path] = path.read_text()
        assert old in before[path]
        path.write_text(before[path].replace(old, new, 1))

    yield edit
    for path, text in before.items():
        path.write_text(text)
