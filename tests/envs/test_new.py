"""A new benchmark keeps the contract and can be planned from the start, or nothing of it is there."""

import json
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
        assert f"rm -r envs/adapters/{name}.py config/benchmarks/{name}.yaml" in done.stdout
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


def test_adapters_and_settings_that_do_not_fit_fail_alone(project):
    adapters, settings = project.path / "envs/adapters", project.path / "config/benchmarks"
    for name in ("renamed", "bare", "broken", "unlocked"):
        assert new(project, name).returncode == 0
    (settings / "renamed.yaml").write_text((settings / "renamed.yaml").read_text().replace("steer: {}", "stear: {}"))
    (settings / "bare.yaml").unlink()
    (adapters / "broken.py").write_text("TASKS = ('a',)\nmisspelt\n")
    (adapters / "unlocked.py").write_text("import a_simulator_that_nobody_has\n")
    names = ["broken", "unlocked/a", "renamed", "bare", "distractor/reach"]
    checked = project.run(command=[sys.executable, "-m", "envs.check", *names, "--steps", "5", "--json", "check.json"])
    assert checked.returncode == 1, checked.stdout
    found = {f"{r['benchmark']}/{r['task']}": r for r in json.loads((project.path / "check.json").read_text())}
    assert {name for name, result in found.items() if result["status"] == "pass"} == {
        "renamed/steer",
        "distractor/reach",
    }
    for name, said in {
        "broken/?": "NameError: name 'misspelt' is not defined (envs/adapters/broken.py, line 2: misspelt)",
        "unlocked/a": "No module named 'a_simulator_that_nobody_has'): import the simulator in `make`, not at the top",
        "renamed/stear": "renamed.yaml: unknown task of renamed 'stear'. Did you mean 'steer'?",
        "bare/steer": "bare.yaml, which training needs",
    }.items():
        assert said in found[name]["reason"]


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
