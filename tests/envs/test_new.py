"""A new benchmark keeps the contract and can be planned from the start, or nothing of it is there."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.workflow.conftest import ROOT, TINY, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the checkout, with its images."""
    copy = Project(tmp_path_factory.mktemp("project"))
    shutil.copytree(ROOT / "containers", copy.path / "containers", dirs_exist_ok=True)
    return copy


def new(project, *arguments):
    return project.run(command=[sys.executable, "-m", "envs.new", *arguments])


def everything(project):
    return {path for path in project.path.rglob("*") if "__pycache__" not in path.parts}


def test_new_benchmarks_pass_the_check_and_can_be_planned(project):
    before = everything(project)
    for name, action in (("my_game", "discrete"), ("my_robot2", "continuous")):
        done = new(project, name, "--action", action)
        assert done.returncode == 0, done.stdout
        assert f"python -m envs.check {name}" in done.stdout
    written = {str(path.relative_to(project.path)) for path in everything(project) - before if path.is_file()}
    assert written == {
        place.format(name)
        for name in ("my_game", "my_robot2")
        for place in (
            "envs/adapters/{}.py", "config/benchmarks/{}.yaml", "containers/{}/Dockerfile",
            "workflow/rules/envs/{}.smk",
        )
    }  # fmt: skip

    checked = project.run(command=[sys.executable, "-m", "envs.check", "my_game", "my_robot2", "--steps", "60"])
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.count("pass") == 2

    experiment = {**TINY["experiments"]["tiny"], "benchmark": "my_robot2", "tasks": ["steer"]}
    project.configure({"experiments": {"tiny": experiment}})
    assert project.planned()["train_my_robot2"] == 2
    style = project.run(
        command=[sys.executable, "-m", "ruff", "check", "envs", "--config", str(ROOT / "pyproject.toml")]
    )
    assert style.returncode == 0, style.stdout
    formatted = [str(project.path / f"workflow/rules/envs/{name}.smk") for name in ("my_game", "my_robot2")]
    environment = {"PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin"}  # shfmt comes with snakefmt
    subprocess.run([sys.executable, "-m", "snakefmt", "--check", *formatted], env=environment, check=True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["My-Game"], "cannot be called 'My-Game': its name must be lower-case letters"),
        (["class"], "cannot be called 'class'"),
        (["../up"], "cannot be called '../up'"),
        (["distractor"], "there is a benchmark or an image 'distractor' already"),
        (["base"], "there is a benchmark or an image 'base' already"),
        (["fine", "--action", "vague"], "choose from"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(project, arguments, said):
    before = everything(project)
    done = new(project, *arguments)
    assert done.returncode == 2
    assert said in done.stdout
    assert "Traceback" not in done.stdout
    assert everything(project) == before


def test_nothing_is_left_of_what_could_not_be_written(project):
    rules = project.path / "workflow/rules/envs"
    rules.rename(rules.with_name("away"))
    rules.write_text("a file where the folder was")
    before = everything(project)
    done = new(project, "half")
    rules.unlink()
    rules.with_name("away").rename(rules)
    assert done.returncode == 2
    assert "cannot write" in done.stdout
    assert not [path for path in everything(project) - before if "half" in path.name]
