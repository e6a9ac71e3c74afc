"""What the commands share: exit codes, messages, devices, environments."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import gymnasium
import torch

from agent.lock import LockLost
from agent.noise import stream_seed
from agent.settings import RunConfig
from agent.skipped import TooManySkipped
from envs.errors import EnvironmentFailure, UserError
from envs.worker import RestartBudget, WorkerEnv

FINISHED, FAILED, MISTAKE, CONTINUE = 0, 1, 2, 75
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")  # is seen in a container without its GPU, too


def exit_code(command: Callable[[], int], directory: Path) -> int:
    """Run a command; a user's mistake, a broken environment, numbers or disk end it with a message, not a traceback.

    `directory` is what the command writes to.
    """
    try:
        return command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    except (EnvironmentFailure, LockLost, TooManySkipped) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        advice = "when that is put right (is the disk full?), run the same command again to continue"
        print(f"error: {error}; while writing to {directory}: {advice}", file=sys.stderr)
        return FAILED


def start_log(path: Path | None = None) -> None:
    """Log to stderr, and to `path` too if given."""
    logging.raiseExceptions = False  # a log that cannot be written must not fill stderr with tracebacks
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path is not None:
        handlers.append(logging.FileHandler(path))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", handlers=handlers, force=True)


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA where there is a GPU. Raises UserError for CUDA without one."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: torch finds no CUDA device here; use --device cpu or auto")
    if name == "auto" and not available and NVIDIA_DRIVER.exists():
        print(f"warning: this machine has a GPU that torch does not find: {_gpu_advice()}", file=sys.stderr)
    return torch.device("cuda" if name != "cpu" and available else "cpu")


def _gpu_advice() -> str:
    if torch.version.cuda is None:
        return "this build of torch is for CPUs; make images with `python -m containers.build --sif --cuda`"
    return "in a container, it needs Apptainer's flag --nv (`apptainer exec --nv ...`), or podman's --gpus all"


def free_gpu_mb(device: torch.device) -> int | None:
    """Free memory of a GPU in MB of 2**20 bytes; None on a CPU."""
    return torch.cuda.mem_get_info(device)[0] // 2**20 if device.type == "cuda" else None


def set_threads(config: RunConfig) -> None:
    """The run's own number of threads, and reproducible kernels."""
    torch.set_num_threads(config.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False


def environment(config: RunConfig, seed: int, restarts: RestartBudget, name: str) -> gymnasium.Env:
    """The run's environment in a worker process; `name` tells several of one run apart, which share `restarts`.

    It is `train`, or one of the evaluations, whose options may be others (`evaluation.env`).
    """
    worker_seed = stream_seed(seed, f"env_{name}") >> 1
    options = config.env if name == "train" else {**config.env, **config.evaluation.env}
    return WorkerEnv(
        config.benchmark, config.task, worker_seed, options,
        python=config.worker.python, timeout=config.worker.timeout, restarts=restarts,
    )  # fmt: skip
