"""Which image a job gets, and what it sees of the machine."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agent import commands
from agent.origin import image_digest
from containers import built, images, runtime
from containers.runtime import address, environment
from envs.errors import UserError
from tests.workflow.conftest import Project

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def atari(folder: Path) -> built.Record:
    """The record of an image that is there and up to date, though no more than its file."""
    address.cache_clear()
    path = built.sif_path("atari100k")
    path.write_bytes(b"squash")
    record = built.Record(
        inputs=images.inputs("atari100k"), tag="localhost/x:y", digest=DIGEST, architecture=images.architecture(),
        torch="cpu", base="localhost/base:z", size=1, seconds=1.0, date="2026-11-22", sif=built.describe(path),
    )  # fmt: skip
    built.save("atari100k", record)
    return record


def refused(name: str = "atari100k") -> str:
    with pytest.raises(UserError) as error:
        address(name)
    return str(error.value)


def test_an_image_that_was_never_built_says_what_to_run(folder: Path) -> None:
    address.cache_clear()
    assert "`python -m containers.build --sif atari100k`" in refused()


def test_a_stale_image_is_refused(atari: built.Record) -> None:
    built.save("atari100k", replace(atari, inputs="0" * 64))
    assert "out of date" in refused()


def test_a_change_to_the_base_makes_every_image_stale(sources: Path) -> None:
    before = {name: images.inputs(name) for name in images.names()}
    with (sources / "base" / "Dockerfile").open("a") as file:
        file.write("# another\n")
    assert all(images.inputs(name) != before[name] for name in images.names())


def test_another_file_in_the_place_of_the_image_is_refused(atari: built.Record) -> None:
    built.sif_path("atari100k").write_bytes(b"SQUASH")
    assert "SHA-256" in refused()


def test_a_copied_image_is_the_same_image(atari: built.Record) -> None:
    path = built.sif_path("atari100k")
    os.utime(path, (1, 1))
    assert built.intact(path, atari.sif)


def test_an_image_for_another_architecture_is_refused(atari: built.Record) -> None:
    built.save("atari100k", replace(atari, architecture="riscv64"))
    assert "riscv64" in refused()


def test_without_apptainer_it_says_how_to_get_it(atari: built.Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "Apptainer is not here" in refused()


def test_a_published_image_is_used_unless_its_inputs_changed(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apptainer").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(built, "FOLDER", tmp_path)
    lock = images.lock()
    lock["metaworld"]["registry"] = f"registry.example/metaworld@{DIGEST}"
    images.LOCK.write_text(json.dumps(lock))
    address.cache_clear()
    assert address("metaworld") == f"docker://registry.example/metaworld@{DIGEST}"
    with (sources / "metaworld" / "Dockerfile").open("a") as file:
        file.write("# another\n")
    address.cache_clear()
    assert "not here" in refused("metaworld")


def test_torch_for_cpus_on_a_machine_with_a_gpu_is_said(
    atari: built.Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runtime.advice("atari100k") is None or list(Path("/dev").glob("nvidia[0-9]*"))
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(runtime, "GPUS", (tmp_path, "nvidia[0-9]*"))
    assert "--cuda" in str(runtime.advice("atari100k"))
    assert environment(tmp_path, tmp_path)["APPTAINER_NV"] == "1"


def test_only_results_and_logs_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to("disk")
    options = environment(Path("/project"), tmp_path, {"APPTAINER_BIND": "/videos"})
    writable = [bind for bind in options["APPTAINER_BIND"].split(",") if not bind.endswith(":ro")]
    assert writable == [f"{tmp_path}/disk:{tmp_path}/disk", f"{tmp_path}/logs:{tmp_path}/logs", "/videos"]
    assert options["APPTAINER_NETWORK"] == "none"


def test_what_the_caller_sets_for_apptainer_wins(tmp_path: Path) -> None:
    options = environment(tmp_path, tmp_path, {"APPTAINER_NET": "0", "CUDA_VISIBLE_DEVICES": "1"})
    assert options["APPTAINER_NET"] == "0"
    assert options["APPTAINERENV_CUDA_VISIBLE_DEVICES"] == "1"


def test_a_job_of_a_cluster_gets_its_own_gpus_and_not_those_of_where_it_was_submitted(tmp_path: Path) -> None:
    there = environment(tmp_path, tmp_path, {"CUDA_VISIBLE_DEVICES": "0", "SUITE_WORKFLOW": "1:1"})
    here = environment(tmp_path, tmp_path, {**there, "CUDA_VISIBLE_DEVICES": "3", "SUITE_WORKFLOW": "2:2"})
    assert here["APPTAINERENV_CUDA_VISIBLE_DEVICES"] == "3"
    assert here["APPTAINERENV_SUITE_WORKFLOW"] == "2:2"
    assert here["APPTAINER_BIND"] == there["APPTAINER_BIND"]


def test_a_path_that_apptainer_cannot_mount_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a,b").mkdir()
    with pytest.raises(UserError, match="comma"):
        environment(tmp_path, tmp_path / "a,b")


@pytest.mark.parametrize(
    "labels",
    [
        {"suite.image.digest": DIGEST, "org.label-schema.usage.singularity.deffile.from": "/tmp/image.tar"},
        {"org.label-schema.usage.singularity.deffile.from": f"registry.example/metaworld@{DIGEST}"},
    ],
)
def test_a_process_knows_the_digest_of_its_image(tmp_path: Path, labels: dict[str, str]) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    assert image_digest(tmp_path / "labels.json") == DIGEST
    assert image_digest(tmp_path / "none.json") is None


def test_a_missing_image_is_an_error_before_anything_is_touched(tmp_path: Path) -> None:
    project = Project(tmp_path)
    shutil.copytree(images.ROOT, tmp_path / "containers", ignore=shutil.ignore_patterns("built", "__pycache__"))
    result = project.run("--use-singularity")
    assert result.returncode != 0
    assert "python -m containers.build --sif" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (tmp_path / "results" / "runs").exists()


def test_a_gpu_that_torch_does_not_find_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(commands, "NVIDIA_DRIVER", tmp_path)
    for version, advice in ((None, "--cuda"), ("13.0", "--nv")):
        monkeypatch.setattr(commands.torch.version, "cuda", version)
        assert commands.pick_device("auto").type == "cpu"
        assert advice in capsys.readouterr().err
