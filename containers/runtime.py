"""Which image a job runs in, and how Apptainer runs it: for `snakemake --use-singularity`.

A job sees the project and the work directory read-only, and `results/` and `logs/` as they are: no other files of this
machine, no variables of the caller's, and no network. Apptainer takes its options from the environment; one that is set
there already wins.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from agent.origin import code_revision
from containers import built, images, sif
from envs.errors import UserError

WRITABLE = ("results", "logs")
# What a job may know of the caller's environment: its GPUs, and the workflow that it ends with.
PASSED_ON = ("CUDA_VISIBLE_DEVICES", "SUITE_WORKFLOW")
GPUS = ("/dev", "nvidia[0-9]*")


@cache
def address(name: str) -> str:
    """Where the image is: a SIF that was built here from what is in the checkout, else its place in a registry.

    Raises UserError if there is neither, or if it cannot be run.
    """
    record, path = built.load().get(name), built.sif_path(name)
    if record is not None and record.sif is not None and path.exists():
        _check_local(name, record, path)
        return str(path)
    locked = images.lock().get(name, {})
    if locked.get("registry") and locked["inputs"] == images.inputs(name):
        sif.check_apptainer()
        return f"docker://{locked['registry']}"
    raise UserError(f"the image of {name!r} is not here ({path}): {remedy(name)}")


def remedy(name: str) -> str:
    cuda = " --cuda" if gpus() else ""
    return (
        f"build it with `python -m containers.build --sif{cuda} {name}`, or run on the host, without --use-singularity"
    )


def _check_local(name: str, record: built.Record, path: Path) -> None:
    if record.inputs != images.inputs(name):
        raise UserError(f"{path} is out of date: what goes into it (containers/{name} or base) changed: {remedy(name)}")
    if not built.intact(path, record.sif):
        raise UserError(f"{path} is not the file that was built: its SHA-256 is not that of index.json: {remedy(name)}")
    if record.architecture != (machine := images.architecture()):
        raise UserError(f"{path} is for {record.architecture}, but this machine is {machine}: {remedy(name)}")
    if any(character.isspace() for character in str(path)):
        raise UserError(f"{path}: Snakemake runs no image whose path has spaces: move the project")
    sif.check_runs(path)


def gpus() -> bool:
    """Whether this machine has GPUs."""
    return any(Path(GPUS[0]).glob(GPUS[1]))


def advice(name: str) -> str | None:
    """What the user should know about running this image here, though it works."""
    record = built.load().get(name)
    if gpus() and record is not None and record.torch == "cpu":
        return f"the image of {name!r} has torch for CPUs, but here is a GPU: build it with --cuda to use it"
    return None


def environment(project: Path, workdir: Path, given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Apptainer's options as environment variables.

    given: the caller's environment. Raises UserError for a folder that cannot be made or mounted.
    """
    binds = [f"{path}:{path}:ro" for path in dict.fromkeys((project, workdir))]
    for folder in (workdir / name for name in WRITABLE):
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UserError(f"{folder} cannot be made ({error.strerror}): work elsewhere with --directory") from None
        binds.append(f"{folder.resolve()}:{folder.resolve()}")  # where it is a link to another disk, too
    for path in (project, workdir):
        if set(":,") & set(str(path)):
            raise UserError(f"{path}: Apptainer mounts no path with a colon or a comma: move or rename it")
    options = {"CLEANENV": "1", "CONTAIN": "1", "NET": "1", "NETWORK": "none", **({"NV": "1"} if gpus() else {})}
    told = {"PYTHONPATH": str(project), "SUITE_CODE_REVISION": code_revision() or ""}
    told |= {name: given[name] for name in PASSED_ON if name in given}
    return {
        **{f"APPTAINER_{key}": given.get(f"APPTAINER_{key}", value) for key, value in options.items()},
        **{
            f"APPTAINERENV_{key}": value for key, value in told.items()
        },  # not those of a workflow that started this one
        "APPTAINER_BIND": ",".join(dict.fromkeys([*binds, *filter(None, given.get("APPTAINER_BIND", "").split(","))])),
    }
