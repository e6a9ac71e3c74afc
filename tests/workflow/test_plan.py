"""The plan: what is left, what is done and what it costs, said without starting anything."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.experiments import RunName
from tests.analysis.run_directories import write_run

ROOT = Path(__file__).parents[2]


def plan(tmp_path: Path, config: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "workflow.scripts.plan", "--configfile", str(config)]
    command += ["--results", str(tmp_path / "results"), "--logs", str(tmp_path / "logs")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def quickstart(tmp_path: Path) -> subprocess.CompletedProcess:
    return plan(tmp_path, ROOT / "config" / "quickstart.yaml")


def run_name(task: str, seed: int) -> RunName:
    return RunName("atari100k", task, "dreamerv2", "quickstart", seed)


def lines(done: subprocess.CompletedProcess, method: str, state: str) -> list[list[str]]:
    """Fields after the state, of the lines for a method of the Atari experiment."""
    start = f"quickstart_atari100k {method} {state} "
    found = [" ".join(line.split()) for line in done.stdout.splitlines()]
    return [line.removeprefix(start).split() for line in found if line.startswith(start)]


def test_nothing_done_means_everything_is_left_at_an_assumed_cost(tmp_path):
    done = quickstart(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12 runs: 0 done, 0 to evaluate, 12 to train or finish" in done.stdout
    assert [line[:2] for line in lines(done, "dreamerv2", "to train")] == [["assumed", "4"]]
    assert not (tmp_path / "results").exists()


def test_each_state_of_a_run_is_recognised(tmp_path):
    results = tmp_path / "results"
    first = write_run(results, run_name("pong", 0))
    evaluated_no_more = write_run(results, run_name("pong", 1))
    shutil.rmtree(evaluated_no_more / "videos")
    changed = write_run(results, run_name("boxing", 0))
    provenance = json.loads((changed / "provenance.json").read_text())
    (changed / "provenance.json").write_text(json.dumps(provenance | {"config_digest": "0"}))
    (results / run_name("boxing", 1).directory / "checkpoint").mkdir(parents=True)
    provenance = json.loads((first / "provenance.json").read_text())
    (first / "provenance.json").write_text(json.dumps(provenance | {"wall_seconds": 72_000}))
    done = quickstart(tmp_path)
    assert "12 runs: 1 done, 1 to evaluate, 10 to train or finish" in done.stdout
    # The cost of a run is now that of the two that were trained; nothing is left to pay for these.
    [[_, _, spent, *_]] = lines(done, "dreamerv2", "done")
    [[basis, runs, hours, *_]] = lines(done, "dreamerv2", "begun")
    assert (spent, basis, runs) == ("0.00", "measured", "1")
    assert float(hours) == pytest.approx(10, abs=0.1)
    assert len(lines(done, "dreamerv2", "settings changed")) == 1


def test_what_does_not_exist_yet_is_named(tmp_path):
    config = tmp_path / "planned.yaml"
    text = (ROOT / "config" / "quickstart.yaml").read_text()
    config.write_text(
        text.replace("methods: [dreamerv2, harmony_dreamerv2]", "methods: [dreamerv9]\n    planned: true", 1)
    )
    done = plan(tmp_path, config)
    assert done.returncode == 0, done.stderr
    assert "not yet possible: quickstart_atari100k: unknown method 'dreamerv9'" in done.stdout
    assert "4 runs: 0 done" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("methods: [dreamerv2", "methods: [dreamerv9", "unknown method 'dreamerv9'"),
        ("seeds: [0, 1]", "seeds: [-1]", "seeds[0]: -1 is outside"),
        ("experiments:", "experiments: [", "not YAML"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(tmp_path, old, new, message):
    config = tmp_path / "wrong.yaml"
    config.write_text((ROOT / "config" / "quickstart.yaml").read_text().replace(old, new, 1))
    done = plan(tmp_path, config)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_the_papers_experiments_are_planned_or_refused_by_name(tmp_path):
    done = plan(tmp_path, ROOT / "config" / "paper.yaml")
    assert done.returncode == 0, done.stderr
    for name in ("atari100k", "metaworld", "metaworld_ablations", "rlbench", "dmc_remastered", "minecraft"):
        assert f" {name}" in done.stdout


def test_a_missing_configuration_file_is_named(tmp_path):
    done = plan(tmp_path, tmp_path / "none.yaml")
    assert (done.returncode, "none.yaml" in done.stderr) == (2, True)
