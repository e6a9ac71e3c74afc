"""A user's mistake: a message that names it, an exit code that is not 0, and nothing begun."""

import copy
import os
import subprocess

import pytest

from tests.workflow.conftest import TINY, Project


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("fresh"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": "distracter"}, "unknown benchmark 'distracter'"),
        ({"tasks": ["reech"]}, "unknown task of distractor 'reech'"),
        ({"methods": ["dreamer"]}, "unknown method 'dreamer'"),
        ({"variant": "small"}, "unknown variant 'small'"),
        ({"score_rule": "best"}, "'best' is not one of"),
        ({"score_rule": "final_policy_human_normalised"}, "no random and human score of distractor/reach"),
        ({"seed": [0]}, "experiments.tiny.seed: unknown key (did you mean seeds?)"),
        ({"seeds": [0, -1]}, "experiments.tiny.seeds[1]: -1"),
    ],
)
def test_a_wrong_configuration_is_refused(fresh: Project, change: dict, message: str) -> None:
    config = copy.deepcopy(TINY)
    config["experiments"]["tiny"].update(change)
    fresh.configure(config)
    result = fresh.run()
    assert result.returncode != 0
    assert message in result.stdout
    assert "config/tiny.yaml" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (fresh.path / "results" / "runs").exists()


def test_a_planned_experiment_waits_and_is_refused_by_name(fresh: Project) -> None:
    config = copy.deepcopy(TINY)
    later = {**config["experiments"]["tiny"], "methods": ["dreamerv9"], "planned": True}
    config["experiments"]["later"] = later
    fresh.configure(config)
    assert fresh.planned()["train_distractor"] == 2
    refused = fresh.run("later", "--dry-run")
    assert refused.returncode != 0
    assert "dreamerv9" in refused.stdout


def test_a_results_directory_that_cannot_be_written_is_refused(fresh: Project) -> None:
    fresh.configure(TINY)
    results = fresh.path / "results"
    results.chmod(0o555)
    command = fresh.command()
    if os.geteuid() == 0:  # root without the right to write where modes forbid it
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
        if subprocess.run([*command[:2], "true"]).returncode != 0:
            pytest.skip("cannot give up the rights of root here")
    result = fresh.run(command=command)
    results.chmod(0o755)
    assert result.returncode != 0
    assert f"{results} cannot be written" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (results / "runs").exists()
