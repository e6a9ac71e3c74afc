"""Where a result comes from: code, settings, libraries, machine, time."""

import importlib.metadata
import platform
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import torch

from agent.origin import code_revision, image_digest

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def provenance(benchmark: str, device: torch.device) -> dict[str, Any]:
    """What is the same for the whole process."""
    return {
        "code_revision": code_revision(),
        "image_digest": image_digest(),
        "command": ["python", "-m", "agent.train", *sys.argv[1:]],
        "device": device.type,
        "cpu": cpu_name(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "libraries": libraries(benchmark),
    }


def libraries(benchmark: str) -> dict[str, str]:
    """The versions of what pyproject.toml names for the agent and for the benchmark; without it, of all packages."""
    if not PROJECT.exists():
        return {package.name: package.version for package in importlib.metadata.distributions()}
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*extras["torch"], *project["dependencies"], *extras.get(benchmark, [])]
    names = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in wanted]
    return {name: v for name in names if (v := _version(name)) is not None}


def peak_memory(device: torch.device) -> dict[str, int | None]:
    """The most memory in MB (2**20 bytes) that this process had: of the machine, and of tensors on the GPU.

    Of the machine with the replay's files, as far as the system kept them; None where it does not say.
    """
    status = Path("/proc/self/status")  # not getrusage, which counts the process that started this one, too
    peaks = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else []
    gpu = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else None
    return {"peak_memory_mb": int(peaks[0]) // 2**10 if peaks else None, "peak_gpu_memory_mb": gpu}


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
