"""A finished run is read strictly: whatever a killed, edited or mixed-up run leaves behind is refused by name."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import collect, runs
from analysis.errors import InputError
from analysis.experiments import RunName
from tests.analysis.run_directories import write_run

PONG = RunName("atari100k", "pong", "harmony_dreamerv2", "quickstart", 0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path, PONG)


def edit(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).write_text(change((run / name).read_text()))

    return damage


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    return edit(name, lambda text: text.replace(old, new, 1))


def test_a_sound_run(run: Path) -> None:
    loaded = runs.load(run)
    assert loaded.name == PONG
    assert loaded.evaluations["agent_step"].unique().tolist() == [400, 800, 1200, 1600]
    assert (loaded.evaluations["env_frame"] == 4 * loaded.evaluations["agent_step"]).all()
    assert set(loaded.coefficients["loss"]) == {"reward", "image", "kl"}
    assert len(loaded.final_evaluations) == 4


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edit("evaluations.csv", lambda text: text[:-4]), "cut short"),
        (
            edit("evaluations.csv", lambda text: text[: text.rindex("\n1600")] + "\n"),
            "the last evaluation is at agent step 1200 of 1600",
        ),
        (edit("evaluations.csv", lambda text: text.partition("\n")[0] + "\n"), "incomplete"),
        (edit("evaluations.csv", lambda text: text + text.splitlines()[-1] + "\n"), "second row"),
        (edit("evaluations.csv", lambda text: text.replace(",0,", ",0,nan,", 1)), "fields|number"),
        (replaced("evaluations.csv", "return", "score"), "header"),
        (replaced("final_evaluations.csv", "1600,", "1599,"), "one agent step"),
        (edit("metrics.jsonl", lambda text: text[:-9]), "cut short"),
        (
            edit("metrics.jsonl", lambda text: text.replace('weight": ', 'weight": NaN, "x": ', 1)),
            "not a finite number",
        ),
        (replaced("metrics.jsonl", "agent_step", "step"), "agent_step"),
        (replaced("config.yaml", "seed: 0", "seed: 1"), "belongs to another run"),
        (replaced("config.yaml", "digest:", "other:"), "digest"),
        (edit("config.yaml", lambda text: "- a list"), "named values"),
        (edit("provenance.json", lambda text: text[:-1]), "damaged"),
        (replaced("provenance.json", "config_digest", "digest"), "lacks config_digest"),
        (
            edit("provenance.json", lambda t: json.dumps({**json.loads(t), "config_digest": "0" * 64})),
            "files of two runs",
        ),
        (lambda run: (run / "provenance.json").unlink(), "not finished"),
        (lambda run: (run / "evaluations.csv").unlink(), "evaluations.csv"),
    ],
)
def test_a_damaged_run_is_refused(run: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(run)
    with pytest.raises(InputError, match=message) as raised:
        collect.collect([runs.load(run)])
    assert str(run) in str(raised.value)


def test_runs_become_tidy_tables(tmp_path: Path) -> None:
    names = [
        RunName("atari100k", task, method, "quickstart", seed)
        for task in ("pong", "boxing")
        for method in ("dreamerv2", "harmony_dreamerv2")
        for seed in (0, 1)
    ]
    tables = collect.collect([runs.load(write_run(tmp_path, name)) for name in names])
    assert {name: len(table) for name, table in tables.items()} == {
        "evaluations": 8 * 4 * 1, "final_evaluations": 8 * 4, "coefficients": 4 * 16 * 3, "provenance": 8,
    }  # fmt: skip
    for table in tables.values():
        assert table.columns[:3].tolist() == ["task", "method", "seed"]
    assert tables["evaluations"]["task"].unique().tolist() == ["pong", "boxing"]
    assert tables["provenance"]["command"].str.startswith("python -m agent.train").all()


def test_unlike_runs_never_share_a_figure(tmp_path: Path) -> None:
    ours = runs.load(write_run(tmp_path, PONG))
    smoke = RunName("atari100k", "pong", "dreamerv2", "smoke", 0)
    with pytest.raises(InputError, match="unlike runs"):
        collect.collect([ours, runs.load(write_run(tmp_path, smoke))])


def test_runs_evaluated_at_other_steps_are_refused(tmp_path: Path) -> None:
    ours = runs.load(write_run(tmp_path, PONG))
    longer = RunName("atari100k", "pong", "dreamerv2", "quickstart", 0)
    with pytest.raises(
        InputError, match=r"dreamerv2/quickstart/seed_0 has evaluations at the agent steps \[400, .*, 2000\]"
    ):
        collect.collect([ours, runs.load(write_run(tmp_path, longer, variant_steps=2000))])


def test_seeds_of_other_settings_are_refused(tmp_path: Path) -> None:
    ours = runs.load(write_run(tmp_path, PONG))
    other = write_run(tmp_path, dataclasses.replace(PONG, seed=1))
    for name in ("config.yaml", "provenance.json"):
        replaced(name, ours.config["digest"], "f" * 64)(other)
    with pytest.raises(InputError, match="settings with the digest ffffffffffff"):
        collect.collect([ours, runs.load(other)])


def test_a_run_in_the_wrong_place_is_refused(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / PONG.directory.replace("seed_0", "seed_1")
    shutil.copytree(run, copy)
    with pytest.raises(InputError, match="put it back"):
        runs.load(copy)


def test_what_environments_say_of_themselves_is_collected_once(run: Path) -> None:
    said = {"renderer": "egl: llvmpipe", "deviations": ["generated video", "no shadows"]}
    provenance = json.loads((run / "provenance.json").read_text())
    environments = {"train": said, "evaluation": {**said, "deviations": ["generated video"]}}
    (run / "provenance.json").write_text(json.dumps({**provenance, "environments": environments}))
    [row] = collect.collect([runs.load(run)])["provenance"].to_dict("records")
    assert (row["renderer"], row["deviations"]) == ("egl: llvmpipe", "generated video; no shadows")
