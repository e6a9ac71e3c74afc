"""Evaluate the final policy of a finished run: `python -m agent.evaluate --help`."""

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file

from agent import commands
from agent.agent import Agent
from agent.config import checked
from agent.driver import Driver
from agent.files import replaced
from agent.noise import Noise
from agent.records import append_rows
from agent.replay import Row
from agent.rollout import Actor, evaluate
from agent.run_directory import RunDirectory
from agent.settings import RunConfig
from agent.stopping import when_the_workflow_dies
from agent.video import write_video
from envs.errors import UserError
from envs.worker import RestartBudget


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "python -m agent.evaluate",
        description="Play episodes with the final policy of a finished run: final_evaluations.csv and videos/*.mp4.",
        epilog="Episodes are seeded by the run's seed: the same command gives the same file.",
    )
    parser.add_argument("--run-dir", required=True, type=Path, help="of a finished run")
    parser.add_argument("--episodes", required=True, type=int, help="how many, at least 1")
    parser.add_argument("--videos", type=int, default=1, help="how many of the first episodes to film (default 1)")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: CUDA if available")
    args = parser.parse_args(arguments)
    return commands.exit_code(functools.partial(_main, args), args.run_dir)


def _main(args: argparse.Namespace) -> int:
    if args.episodes < 1 or args.videos < 0:
        raise UserError(f"--episodes {args.episodes} --videos {args.videos}: at least 1 and at least 0 are needed")
    if not RunDirectory(args.run_dir).finished:
        raise UserError(f"{args.run_dir} is not a finished run: train it first, with python -m agent.train")
    when_the_workflow_dies(lambda: os._exit(commands.CONTINUE))
    config, seed = load_config(args.run_dir / "config.yaml")
    commands.set_threads(config)
    device = commands.pick_device(args.device)
    env = commands.environment(config, seed, RestartBudget(config.limits.env_restarts), "final_evaluation")
    try:
        agent = Agent(config, env.observation_space, env.action_space).to(device)  # type: ignore[arg-type]
        load_policy(agent, args.run_dir / "policy.safetensors")
        film = Film(args.videos)
        rows = evaluate(
            Driver(env, agent.kind, seed, "final_evaluation_episode"),
            Actor(agent, Noise(seed, device), "final_evaluation_policy"),
            episodes=args.episodes,
            mode=config.evaluation.action,
            agent_step=config.train.steps,
            frames_per_step=config.frames_per_step,
            watch=film.watch,
        )
    finally:
        env.close()
    film.save(args.run_dir / "videos", fps=60 / config.frames_per_step)
    with replaced(args.run_dir / "final_evaluations.csv") as temporary:
        append_rows(temporary, rows)
    mean = sum(row["return"] for row in rows) / len(rows)
    print(f"mean return {mean:.2f} over {len(rows)} episodes: {args.run_dir / 'final_evaluations.csv'}")
    return commands.FINISHED


class Film:
    """Keeps the pictures of the first episodes."""

    def __init__(self, episodes: int):
        self._frames: list[list[np.ndarray]] = [[] for _ in range(episodes)]

    def watch(self, episode: int, row: Row) -> None:
        if episode < len(self._frames):
            self._frames[episode].append(row["image"])

    def save(self, directory: Path, fps: float) -> None:
        """Write videos/episode_<i>.mp4; `fps` in agent steps per second."""
        directory.mkdir(exist_ok=True)
        for number, frames in enumerate(self._frames):
            if frames:
                with replaced(directory / f"episode_{number}.mp4") as temporary:
                    write_video(temporary, np.stack(frames), fps)


def load_config(path: Path) -> tuple[RunConfig, int]:
    """The settings and the seed in a run's config.yaml."""
    stored: dict[str, Any] = yaml.safe_load(path.read_text())
    seed = stored.pop("seed")
    stored.pop("digest")
    return checked(stored, dict.fromkeys(stored, str(path))), seed


def load_policy(agent: Agent, path: Path) -> None:
    """Give the agent a trained policy. Raises UserError if the file does not hold every parameter that acting needs."""
    try:
        tensors = load_file(path, device=str(agent.device))
        if differing := sorted(set(tensors) ^ set(agent.policy_state())):
            raise ValueError(f"missing or unknown: {', '.join(differing)}")
        agent.load_state_dict(tensors, strict=False)  # what acting does not need stays as it is
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{path} is not the policy of this run ({error}): remove the run directory and train it again"
        ) from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
