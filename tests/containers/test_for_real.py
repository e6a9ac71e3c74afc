"""Images built, converted and run in: `make test-containers`.

BASE_IMAGE in the environment names what to start from in place of the pinned image. Root also runs the workflow as an
ordinary user, who may read root's files, because the project and its Python may lie among them, and no more.
"""

import contextlib
import csv
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from containers import built, images, runtime
from tests.workflow.conftest import Project

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]
BENCHMARKS = {"distractor": "reach", "atari100k": "pong", "metaworld": "lever_pull"}
NAMES = [*BENCHMARKS, "analysis"]
TWO = {
    "experiments": {
        benchmark: {
            "title": benchmark, "benchmark": benchmark, "tasks": [BENCHMARKS[benchmark]],
            "methods": ["harmony_dreamerv2"], "variant": "smoke", "seeds": [0],
            "score_rule": "final_policy_return", "final_evaluation": {"episodes": 2, "videos": 1},
        }
        for benchmark in ("distractor", "atari100k")
    }
}  # fmt: skip
RUNS = [f"results/runs/{b}/{BENCHMARKS[b]}/harmony_dreamerv2/smoke/seed_0" for b in TWO["experiments"]]
# As root, too, what is tested is Apptainer without privileges.
ENVIRONMENT = {**os.environ, "APPTAINER_USERNS": "1"}


def builder(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    base = ["--base-image", base_image] if (base_image := os.environ.get("BASE_IMAGE")) else []
    command = [*settings.pop("prefix", []), sys.executable, "-m", "containers.build", "--sif", *base, *arguments]
    return subprocess.run(
        command, cwd=images.ROOT.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**ENVIRONMENT, **settings},
    )  # fmt: skip


@pytest.fixture(scope="session")
def index() -> dict[str, built.Record]:
    """What is built, by what was asked for here."""
    started = time.monotonic()
    result = builder(*NAMES)
    assert result.returncode == 0, result.stdout
    print(f"\n{result.stdout}all of it: {time.monotonic() - started:.0f} s")
    return built.load()


def execute(name: str, *command: str | Path, workdir: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in an image as a job is run there."""
    options = runtime.environment(images.ROOT.parent, workdir, ENVIRONMENT)
    place = ["apptainer", "exec", "--home", workdir, built.sif_path(name)]
    return subprocess.run(
        [*place, *command], cwd=workdir, env={**ENVIRONMENT, **options}, capture_output=True, text=True
    )


def test_nothing_is_built_twice(index: dict[str, built.Record]) -> None:
    assert builder(*NAMES).stdout.splitlines() == [f"{name}: up to date" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_its_bill_of_materials(index: dict[str, built.Record], name: str) -> None:
    bill = json.loads((built.FOLDER / f"{name}.cdx.json").read_text())
    versions = {component["name"].lower(): component["version"] for component in bill["components"]}
    assert {"libc6", "python3", "numpy", "torch"} <= versions.keys()
    assert bill["metadata"]["component"]["version"] == index[name].digest


@pytest.mark.parametrize("name", NAMES)
def test_every_image_passes_its_own_health_check(index: dict[str, built.Record], name: str, tmp_path: Path) -> None:
    texts = [(images.ROOT / image / "Dockerfile").read_text() for image in (name, images.BASE)]
    checks = [
        json.loads(check) for text in texts for check in re.findall(r"^HEALTHCHECK CMD (.*)$", text, re.MULTILINE)
    ]
    result = execute(name, *checks[0], workdir=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_environments_keep_their_contract_in_the_image(
    index: dict[str, built.Record], benchmark: str, tmp_path: Path
) -> None:
    check = ["python", "-m", "envs.check", f"{benchmark}/{BENCHMARKS[benchmark]}"]
    result = execute(benchmark, *check, "--json", "results/check.json", workdir=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    (found,) = json.loads((tmp_path / "results" / "check.json").read_text())
    assert found["status"] == "pass", found


def test_a_job_sees_neither_the_machine_nor_the_network(index: dict[str, built.Record], tmp_path: Path) -> None:
    project = images.ROOT.parent
    looks = {
        "write to the project": f"touch {project}/x",
        "write to the work directory": f"touch {tmp_path}/x",
        "read the machine": f"ls {sys.prefix}/bin/python" if not Path(sys.prefix).is_relative_to(project) else "false",
        "reach the network": "python -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 2)'",
        "compile": "command -v gcc || command -v make || command -v pip",
        "find what the build was given": "ls /build",
    }
    for what, command in looks.items():
        assert execute("distractor", "sh", "-c", command, workdir=tmp_path).returncode != 0, what
    assert execute("distractor", "touch", "results/x", workdir=tmp_path).returncode == 0
    variables = execute("distractor", "env", workdir=tmp_path).stdout
    assert str(Path(sys.executable).parent) not in variables
    assert "PIP_" not in variables


class Place(Project):
    """A copy of the project with its images, which anyone can read, and a user to work in it."""

    def __init__(self, path: Path, user: str | None):
        path.chmod(0o755)
        super().__init__(path)
        self.configure(TWO)
        self._user = user
        shutil.copytree(
            images.ROOT, path / "containers", ignore=shutil.ignore_patterns("__pycache__"), copy_function=link
        )
        (path / "home").mkdir()
        if user:
            for folder in (path, path / "home", path / "results"):
                shutil.chown(folder, user)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.path / "home"), "APPTAINER_USERNS": "1"}

    def command(self, *arguments: str) -> list[str]:
        return [*as_user(self._user), *super().command(*arguments)]


def link(source: str, target: str) -> None:
    """Put a file into a copy of the project without copying a gigabyte, where that is possible."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        shutil.copy2(source, target)


def as_user(name: str | None) -> list[str]:
    if name is None:
        return []
    read = "+dac_read_search"
    return ["setpriv", f"--reuid={name}", f"--regid={pwd.getpwnam(name).pw_gid}", "--clear-groups",
            f"--inh-caps=-all,{read}", f"--ambient-caps=-all,{read}"]  # fmt: skip


@contextlib.contextmanager
def place(user: str | None) -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="project-") as folder:
        yield Place(Path(folder), user)


@pytest.fixture(scope="session")
def on_the_host() -> Iterator[Place]:
    with place(None) as project:
        result = project.run(*(f"{run}/final_evaluations.csv" for run in RUNS))
        assert result.returncode == 0, result.stdout
        yield project


USERS = [None, "nobody"] if os.getuid() == 0 else [None]


@pytest.fixture(scope="session", params=USERS, ids=["caller", "nobody"][: len(USERS)])
def in_images(request: pytest.FixtureRequest, index: dict[str, built.Record]) -> Iterator[Place]:
    with place(request.param) as project:
        result = project.run("--use-singularity")
        assert result.returncode == 0, result.stdout
        yield project


def test_the_whole_workflow_runs_in_images(in_images: Place, index: dict[str, built.Record]) -> None:
    assert (in_images.path / "results" / "report.html").stat().st_size > 0
    for run, benchmark in zip(RUNS, TWO["experiments"], strict=True):
        provenance = json.loads((in_images.path / run / "provenance.json").read_text())
        assert provenance["image_digest"] == index[benchmark].digest
        assert provenance["platform"].endswith("glibc2.36")  # the image's


def test_evaluations_are_those_of_the_host(in_images: Place, on_the_host: Place) -> None:
    for run in RUNS:
        for name in ("evaluations.csv", "final_evaluations.csv"):
            inside, outside = ((project.path / run / name).read_text() for project in (in_images, on_the_host))
            assert list(csv.reader(inside.splitlines())) == list(csv.reader(outside.splitlines()))


def test_results_are_the_callers_and_its_home_stays_clean(in_images: Place) -> None:
    owners = {path.stat().st_uid for path in (in_images.path / "results" / "runs").rglob("*")}
    assert owners == {(in_images.path / "home").stat().st_uid}
    assert {path.name for path in (in_images.path / "home").iterdir()} <= {".cache", ".apptainer"}  # Snakemake's
    assert not {path.name for path in in_images.path.iterdir()} & {".cache", ".config", ".local", ".nv"}


def test_finished_runs_are_not_redone_without_images_nor_with_them(in_images: Place, on_the_host: Place) -> None:
    assert in_images.planned() == {}
    assert not {"train_distractor", "train_atari100k"} & on_the_host.planned("--use-singularity").keys()


def test_nothing_is_left_running_when_snakemake_is_killed(index: dict[str, built.Record], tmp_path: Path) -> None:
    project = Place(tmp_path, None)
    config = yaml.safe_load((tmp_path / "config" / "variants" / "smoke.yaml").read_text())
    assert "150" in json.dumps(config)
    text = (tmp_path / "config" / "variants" / "smoke.yaml").read_text().replace("steps: 150", "steps: 1000000")
    (tmp_path / "config" / "variants" / "smoke.yaml").write_text(text)
    process = subprocess.Popen(
        project.command("--use-singularity", RUNS[0] + "/config.yaml"), cwd=tmp_path, env=project.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: (tmp_path / RUNS[0] / "checkpoint" / "train.log").exists())
    assert training(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_for(lambda: not training(tmp_path))


def training(project: Path) -> list[str]:
    """Process ids of what trains in that project."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            if "agent.train" in (process / "cmdline").read_text() and os.readlink(process / "cwd") == str(project):
                found.append(process.name)
    return found


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.skipif(os.getuid() != 0, reason="a small disk is made by root")
def test_a_full_disk_is_said(index: dict[str, built.Record], tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    prefix = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=64m small {small} && exec "$@"', "sh"]
    kept = built.sif_path("distractor").rename(tmp_path / "kept.sif")
    try:
        result = builder("distractor", prefix=prefix, TMPDIR=str(small))
    finally:
        kept.rename(built.sif_path("distractor"))
    assert result.returncode == 2
    assert "the disk is full" in result.stdout
    assert "Traceback" not in result.stdout


def test_no_user_namespaces_are_said(index: dict[str, built.Record], tmp_path: Path) -> None:
    program = "from containers import built, sif; sif.check_runs(built.sif_path('distractor'))"
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", sys.executable, "-c", program],
        cwd=images.ROOT.parent, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert "max_user_namespaces" in result.stderr.splitlines()[-1]
