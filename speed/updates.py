"""Updates of each method on frames of Pong: how long one takes, and whether losses and parameters stay finite.

    python -m speed.updates           # 200 updates at the quickstart's size
    python -m speed.updates --full    # 2 updates at the size and with the batch of each method's paper preset

The replay is filled with real frames by random play, then batches are drawn as in training. The paper's presets are of
other benchmarks than Atari for DreamerV2 (Meta-world) and the torch option of DreamerV3 (Minecraft, 128x128 pixels, to
which frames are enlarged): networks and batches are theirs, frames and actions Pong's. Prints a Markdown table; ends
with exit code 1 if anything was not finite. Times are medians; on a CPU they are processor time of one thread, so that
other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import envs
from agent import commands
from agent.agent import Agent
from agent.config import resolve
from agent.driver import Driver
from agent.noise import Noise, stream_rng
from agent.provenance import cpu_name
from agent.replay import Replay
from agent.settings import RunConfig
from envs.errors import UserError, unknown

SEED = 0
STEPS = 700  # agent steps of random play
FRAME_CAP = 800  # env frames of an episode, so that several end within those
FULL = {  # base method: benchmark and task of the paper's preset, and by what its pictures are larger than Atari's
    "dreamerv2": ("metaworld", "lever_pull", 1),
    "dreamerv3": ("atari100k", "pong", 1),
    "dreamerv3_torch": ("minecraft", "hunt_cow", 2),
}
METHODS = tuple(prefix + base for base in FULL for prefix in ("", "harmony_"))
Batch = Mapping[str, torch.Tensor]


class Enlarged(gymnasium.ObservationWrapper):
    """Images whose every pixel is `times` by `times` pixels."""

    def __init__(self, env: gymnasium.Env, times: int):
        super().__init__(env)
        height, width, channels = env.observation_space["image"].shape  # type: ignore[index]
        image = gymnasium.spaces.Box(0, 255, (times * height, times * width, channels), np.uint8)
        self.observation_space, self._times = gymnasium.spaces.Dict({"image": image}), times

    def observation(self, observation: Any) -> dict[str, np.ndarray]:
        return {"image": observation["image"].repeat(self._times, 0).repeat(self._times, 1)}


def choose(method: str, full: bool) -> tuple[RunConfig, int]:
    """The settings measured, and by what the frames are enlarged."""
    base = method.removeprefix("harmony_")
    if not full:
        return resolve("atari100k", "pong", method, "quickstart"), 1
    benchmark, task, times = FULL[base]
    return resolve(benchmark, task, method, "paper"), times


def play(agent: Agent, env: gymnasium.Env, replay: Replay) -> None:
    """Fill the replay by random actions."""
    driver = Driver(env, agent.kind, SEED, "speed_episode")
    for step in range(STEPS):
        if driver.ended:
            replay.add(driver.reset())
        replay.add(driver.step(agent.kind.random(stream_rng(SEED, "speed_actions", step))))


def batches(replay: Replay, device: torch.device) -> Iterator[Batch]:
    while True:
        batch = {key: torch.as_tensor(value).to(device) for key, value in replay.sample().items()}
        yield batch | {"image": batch["image"].permute(0, 1, 4, 2, 3)}


def finite(tensors: Mapping[str, torch.Tensor]) -> bool:
    return all(bool(value.isfinite().all()) for value in tensors.values())


def timed_updates(agent: Agent, source: Iterator[Batch], number: int) -> tuple[list[float], int | None]:
    """Seconds of each of `number` updates, and the first after which a metric or parameter was not finite."""
    noise, carry = Noise(SEED, agent.device), agent.initial_carry(agent.config.batch.size)
    clock = time.perf_counter if agent.device.type == "cuda" else time.process_time
    times: list[float] = []
    for update in range(number):
        batch, draws = next(source), noise.draw("update", update, agent.update_noise())
        started = clock()
        carry, metrics = agent.update(batch, carry, draws)
        if agent.device.type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - started)
        if not finite(metrics) or not finite(agent.state_dict()):
            return times, update + 1
    return times, None


def measure(method: str, full: bool, number: int, device: torch.device) -> tuple[str, bool]:
    """One row of the table, and whether all was finite."""
    config, times = choose(method, full)
    commands.set_threads(config)
    env = Enlarged(envs.make("atari100k", "pong", SEED, frame_cap=FRAME_CAP), times)
    torch.manual_seed(SEED)
    agent = Agent(config, env.observation_space, env.action_space).prepare(device)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as directory:
        replay = Replay(Path(directory), config.replay, config.batch, SEED)
        play(agent, env, replay)
        seconds, broken = timed_updates(agent, batches(replay, device), number)
    env.close()
    count = sum(p.numel() for p in agent.parameters() if p.requires_grad)
    shape = f"{config.batch.size} x {config.batch.length}"
    verdict = f"all {number}" if broken is None else f"not after update {broken}"
    row = f"| `{method}` | {count:,} | {shape} | {1e3 * float(np.median(seconds)):,.0f} | {verdict} |"
    return row, broken is None


def memory_gigabytes(device: torch.device) -> float:
    """The most memory taken so far: the device's, or the process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the paper's sizes (default: the quickstart's)")
    parser.add_argument("--updates", type=int, help="of each method (default: 200, with --full 2)")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="METHOD", help=", ".join(METHODS))
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    args = parser.parse_args(arguments)
    if args.updates is None:
        args.updates = 2 if args.full else 200
    return args


def main(arguments: list[str]) -> int:
    """Print the table, row by row."""
    args = parse(arguments)
    try:
        for method in args.methods:
            if method not in METHODS:
                raise unknown("method", method, METHODS, "speed/updates.py")
        if args.updates < 1:
            raise UserError(f"--updates {args.updates}: at least 1")
        device = commands.pick_device(args.device)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return commands.MISTAKE
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"one thread of {cpu_name()}"
    print(f"torch {torch.__version__}, {name}\n")
    print("| method | parameters | B x T | ms per update | finite |\n|---|---|---|---|---|")
    good = True
    for method in args.methods:
        row, sound = measure(method, args.full, args.updates, device)
        good = good and sound
        print(row, flush=True)
    print(f"\nmemory: {memory_gigabytes(device):.1f} GB at most")
    return commands.FINISHED if good else commands.FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
