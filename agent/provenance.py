"""Where a result comes from: code, settings, libraries, machine, time."""

import importlib.metadata
import platform
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from agent.origin import code_revision, image_digest

LIBRARIES = (
    "torch", "numpy", "gymnasium", "opencv-python-headless", "safetensors", "ale-py", "crafter", "dm-control",
    "metaworld", "mujoco",
)  # fmt: skip


def provenance(device: torch.device) -> dict[str, Any]:
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
        "libraries": {name: v for name in LIBRARIES if (v := _version(name)) is not None},
    }


def peak_memory(device: torch.device) -> dict[str, int | None]:
    """The most memory in MB (2**20 bytes) that this process had: of the machine, and of tensors on the GPU."""
    main = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10
    gpu = torch.cuda.max_memory_allocated(device) // 2**20 if device.type == "cuda" else None
    return {"peak_memory_mb": main, "peak_gpu_memory_mb": gpu}


def cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
