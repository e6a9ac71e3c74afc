"""What it costs that runs can be continued: checkpoints, the replay on disk, checksums, the lock.

    python -m speed.checkpoints           # at the quickstart's sizes
    python -m speed.checkpoints --full    # at those of the paper's presets, with 5 GB of disk in --directory

Frames are Pong's, enlarged where the preset's are larger. Three Markdown tables: a checkpoint of each method, and what
it adds to each of the updates that lie between two; drawing a batch from chunks on the disk, against the same rows
in memory, and what unpacking them would add if they were compressed; the lock and the checksums. Times are medians of
wall-clock seconds.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import gymnasium
import torch

import envs
from agent import checkpoint, commands
from agent.actions import action_kind
from agent.driver import Driver
from agent.lock import Lock
from agent.loop import Loop
from agent.noise import stream_rng
from agent.provenance import cpu_name
from agent.replay import Replay, Row
from agent.settings import Batch, RunConfig
from envs.worker import RestartBudget
from speed.updates import FRAME_CAP, FULL, SEED, Enlarged, choose

TIMES = 5  # of which the median is taken
SHAPES = {"dreamerv2": Batch(size=50, length=50), "dreamerv3": Batch(size=16, length=64)}
MEGABYTE = 1e6


def seconds(action: Callable[[], object], times: int = TIMES) -> float:
    """Median wall-clock seconds of an action."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def make_env(times: int, _: str = "") -> gymnasium.Env:
    return Enlarged(envs.make("atari100k", "pong", SEED, frame_cap=FRAME_CAP), times)


def rows(config: RunConfig, times: int) -> Iterator[Row]:
    """Rows of random play, the same episode again and again."""
    env = make_env(times)
    kind = action_kind(env.action_space, config.behavior.policy)
    driver = Driver(env, kind, SEED, "speed_episode")
    found = [driver.reset()]
    while not driver.ended:
        found.append(driver.step(kind.random(stream_rng(SEED, "speed_actions", driver.steps))))
    env.close()
    return itertools.cycle(found)


def filled_optimisers(loop: Loop) -> None:
    """Give Adam the state that it has after an update, which may take minutes at full size."""
    for optimizer in loop.agent.optimizers.values():
        for parameter in optimizer.parameters:
            parameter.grad = torch.zeros_like(parameter)
        optimizer.adam.step()


def measure_checkpoint(base: str, full: bool, folder: Path, device: torch.device) -> str:
    """One row of the first table."""
    config, times = choose(base, full)
    commands.set_threads(config)
    budget = RestartBudget(config.limits.env_restarts)
    folder.mkdir()
    loop = Loop(config, SEED, folder, device, functools.partial(make_env, times), budget)
    filled_optimisers(loop)
    source, every = rows(config, times), config.train.checkpoint_every

    def append() -> None:
        for row in itertools.islice(source, every):
            loop.replay.add(row)

    appended = seconds(append, 1)
    processor = time.process_time()
    saved = seconds(loop.save)
    processor = (time.process_time() - processor) / TIMES
    size = sum(path.stat().st_size for path in (folder / "state").glob("*/*")) / checkpoint.KEPT
    loaded = seconds(lambda: checkpoint.load(folder / "state", device, lambda state: None), 3)
    state = loop.replay.state()
    read = seconds(lambda: Replay(folder / "replay", config.replay, config.batch, SEED).load_state(state), 1)
    loop.close()
    total, updates = appended + saved, every / config.train.every
    return (
        f"| `{base}` | {size / MEGABYTE:,.0f} | {saved:.2f} | {processor:.2f} | {appended:.2f} | {loaded:.2f} "
        f"| {1e6 * read / every:.0f} | {updates:,.0f} | {1e3 * total / updates:.2f} |"
    )


def measure_sampling(name: str, batch: Batch, config: RunConfig, folder: Path) -> str:
    """One row of the second table."""
    source, medians = rows(config, 1), {}
    folder.mkdir()
    for where, bytes_per_chunk in (("disk", 32 * 2**20), ("memory", 2**30)):
        with mock.patch("agent.replay.BYTES_PER_CHUNK", bytes_per_chunk):
            replay = Replay(folder / where, config.replay.model_copy(update={"capacity": 20_000}), batch, SEED)
            for _ in range(20_000):
                replay.add(next(source))
            replay.sample()
            medians[where] = seconds(replay.sample, 50)
    frames = [zlib.compress(row["image"].tobytes(), 1) for row in itertools.islice(source, batch.size * batch.length)]
    unpacked = seconds(lambda: [zlib.decompress(frame) for frame in frames])
    packed_size = sum(map(len, frames)) / sum(row["image"].nbytes for row in itertools.islice(source, len(frames)))
    return (
        f"| {batch.size} x {batch.length} ({name}) | {1e3 * medians['disk']:.1f} | {1e3 * medians['memory']:.1f} "
        f"| {1e3 * unpacked:.1f} | {packed_size:.2f} |"
    )


def measure_steps(folder: Path) -> list[str]:
    """Rows of the third table."""
    folder.mkdir()
    image = bytes(64 * 64 * 3)
    with Lock(folder / "lock") as lock:
        look, beat = seconds(lock.check, 10_000), seconds(lock._beat, 50)
    return [
        f"| look whether the lock is still held, every agent step | {1e6 * look:.2f} |",
        f"| checksum of a row of 64 x 64, every agent step | {1e6 * seconds(lambda: zlib.crc32(image), 10_000):.2f} |",
        f"| heartbeat, every 10 s and beside the run | {1e6 * beat:.0f} |",
    ]


def main(arguments: list[str]) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the paper's sizes (default: the quickstart's)")
    parser.add_argument("--directory", type=Path, help="the disk to measure (default: that of temporary files)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    args = parser.parse_args(arguments)
    device = commands.pick_device(args.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else cpu_name()
    print(f"torch {torch.__version__}, {name}\n")
    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        folder = Path(directory)
        print("| method | MB | save, s | of CPU | rows, s | load, s | check rows, us each | updates | ms an update |")
        print("|---|---|---|---|---|---|---|---|---|")
        for base in FULL:
            print(measure_checkpoint(base, args.full, folder / base, device), flush=True)
        print(
            "\n| batch | from chunks, ms | from memory, ms | unpacking zlib 1, ms | its size |\n|---|---|---|---|---|"
        )
        for base, batch in SHAPES.items():
            print(measure_sampling(base, batch, choose(base, True)[0], folder / f"{base}_batches"), flush=True)
        print("\n| what | us |\n|---|---|")
        print("\n".join(measure_steps(folder / "steps")))
    return commands.FINISHED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
