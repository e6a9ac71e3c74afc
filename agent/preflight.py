"""What a run needs of disk, main memory and GPU memory, from its settings alone, and whether it is there.

`python -m agent.train --estimate` prints it; it is looked at before a run begins, given to the workflow engine as the
resources of the job, and shown by the plan. Neither torch nor a simulator is imported. How far it was off where it was
measured: docs/reliability.md. All MB are 2**20 bytes.
"""

import shutil
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from agent import sizes
from agent.settings import RunConfig
from envs.errors import UserError

MB = 2**20
PROCESS = 330  # MB of main memory: Python with torch and what a run imports
CUDA_PROCESS = 2500  # the same with CUDA's libraries; assumed
CUDA_CONTEXT = 800  # MB of GPU memory: context, cuDNN's and cuBLAS's work space; assumed
SIMULATOR = {"distractor": 60, "atari100k": 130, "crafter": 150, "rlbench": 1500, "minecraft": 4000}  # MB of a worker
OTHER_SIMULATOR = 400  # MB: MuJoCo with its renderer
OTHER_FILES = 20  # MB: metrics, TensorBoard's events, logs
FILM = 200  # MB: the pictures of an episode, and their encoder
CHECKPOINTS = 3  # two are kept while one is written
CHUNK = 32  # MB of a replay chunk, see agent/replay.py
SLACK = 0.8  # an estimate is refused only if this share of it is not there, either


@dataclass(frozen=True)
class Needs:
    """Of one run while it trains. `gpu_mb` is 0 on a CPU."""

    parameters: int
    replay_mb: int
    checkpoints_mb: int
    memory_mb: int
    evaluation_memory_mb: int  # main memory while the final policy is evaluated
    gpu_mb: int

    @property
    def disk_mb(self) -> int:
        return self.replay_mb + self.checkpoints_mb + OTHER_FILES

    def __str__(self) -> str:
        gpu = f"GPU memory       {self.gpu_mb:,} MB\n" if self.gpu_mb else ""
        return (
            f"parameters       {self.parameters:,}\n"
            f"disk             {self.disk_mb:,} MB: replay {self.replay_mb:,}, checkpoints {self.checkpoints_mb:,}\n"
            f"main memory      {self.memory_mb:,} MB with the simulators; the replay's pages take more, if free\n"
            f"{gpu}"
        ).rstrip()


def estimate(config: RunConfig, device: str) -> Needs:
    """What a run needs on `device`, cpu or cuda."""
    network = sizes.network(config)
    learner = 16 * network.trained + 4 * (network.parameters - network.trained)  # weights, gradients, Adam's moments
    update = 4 * max(network.world_model_floats, network.behavior_floats)
    checkpoint = 12 * network.trained + 4 * (network.parameters - network.trained)
    row = 3 * sizes.image_side(config) ** 2 + 128  # bytes
    train, capacity = config.train, config.replay.capacity
    chunk = max(CHUNK * MB, ceil(capacity / 256) * row)
    rows = min(train.steps, capacity + 2 * train.checkpoint_every + chunk // row)  # old ones go chunk by chunk
    batch = config.batch.size * config.batch.length * row
    simulator = SIMULATOR.get(config.benchmark, OTHER_SIMULATOR) * MB
    process = (CUDA_PROCESS if device == "cuda" else PROCESS) * MB
    work = learner + update + 2 * batch
    simulators = 2 * simulator  # one to train in, one to evaluate in
    on_host = process + simulators + 2 * chunk + 2 * batch + 2 * checkpoint
    return Needs(
        parameters=network.parameters,
        replay_mb=_mb(rows * row),
        checkpoints_mb=_mb(CHECKPOINTS * checkpoint),
        memory_mb=_mb(on_host if device == "cuda" else on_host + work),
        evaluation_memory_mb=_mb(process + simulator + 4 * network.parameters) + FILM,
        gpu_mb=_mb(CUDA_CONTEXT * MB + work) if device == "cuda" else 0,
    )


def check(needs: Needs, directory: Path, gpu_free_mb: int | None) -> None:
    """Raise UserError if the disk of `directory`, the machine or the GPU has clearly less than that free."""
    present = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    held = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) // MB
    _require("disk", needs.disk_mb - held, shutil.disk_usage(present).free // MB, f"on the disk of {present}")
    _require("main memory", needs.memory_mb, available_memory_mb(), "on this machine")
    if gpu_free_mb is not None:
        _require("GPU memory", needs.gpu_mb, gpu_free_mb, "on this GPU")


def available_memory_mb() -> int | None:
    """Main memory that processes can still have, also within the limit of a container; None where nothing tells."""
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        found.append(int(fields["MemAvailable"].split()[0]) // 1024)
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").exists() and (limit := (group / "memory.max").read_text().strip()) != "max":
        fields = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(fields["file"])  # the page cache can be taken back
        found.append((int(limit) - used) // MB)
    return min(found, default=None)


def _require(what: str, needed_mb: int, free_mb: int | None, where: str) -> None:
    if free_mb is not None and SLACK * needed_mb > free_mb:
        raise UserError(
            f"this run needs about {needed_mb:,} MB of {what}, but {free_mb:,} MB are free {where}: make room, choose "
            "smaller settings (--estimate says what takes how much), or begin regardless with --no-preflight"
        )


def _mb(size: float) -> int:
    return ceil(size / MB)
