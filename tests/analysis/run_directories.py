"""Run directories in the agent's own format, with made-up but plausible numbers, for tests of the analysis."""

import json
from pathlib import Path

import av
import numpy as np
import yaml

from agent.config import resolve
from analysis.experiments import RunName

HEADER = "agent_step,env_frame,episode,return,length,success,seed"


def write_run(results: Path, name: RunName, *, level: float = 10.0, variant_steps: int = 1600) -> Path:
    """A finished and evaluated run whose return climbs to about `level`; results/runs/... is returned."""
    rng = np.random.default_rng([name.seed, len(name.method), len(name.task)])
    config = resolve(name.benchmark, name.task, name.method, name.variant)
    directory = results / name.directory
    (directory / "videos").mkdir(parents=True)
    document = {**config.as_dict(), "seed": name.seed, "digest": config.digest}
    (directory / "config.yaml").write_text(yaml.safe_dump(document))
    frames, episodes = config.env_frames_per_step, config.evaluation.episodes
    steps = range(config.evaluation.every, variant_steps + 1, config.evaluation.every)
    rows = [
        _episode(rng, step, frames, i, level * step / variant_steps, 1000 + i)
        for step in steps
        for i in range(episodes)
    ]
    write_lines(directory / "evaluations.csv", [HEADER, *rows])
    final = [_episode(rng, variant_steps, frames, i, level, 2000 + i) for i in range(4)]
    write_lines(directory / "final_evaluations.csv", [HEADER, *final])
    metrics = [_metrics(rng, config, step) for step in range(100, variant_steps + 1, 100)]
    write_lines(directory / "metrics.jsonl", [json.dumps(line) for line in metrics])
    (directory / "provenance.json").write_text(json.dumps(provenance(name, config, variant_steps)))
    (directory / "policy.safetensors").write_bytes(b"")
    _video(directory / "videos" / "episode_0.mp4", rng)
    return directory


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def _episode(rng: np.random.Generator, step: int, frames: int, episode: int, level: float, seed: int) -> str:
    score = round(float(level + rng.normal()), 3)
    return f"{step},{step * frames},{episode},{score},{rng.integers(20, 400)},{int(score > 5)},{seed}"


def _metrics(rng: np.random.Generator, config, step: int) -> dict:
    line = {"agent_step": step, "env_frame": step * config.env_frames_per_step, "update": step // 4}
    line |= {"wall_seconds": step / 50, "loss/image": float(3000 / step), "loss/reward": 0.1, "loss/kl": 1.0}
    for i, loss in enumerate(config.world_model.harmonizer.losses):
        line[f"harmony/{loss}/weight"] = float(np.exp(-step / 4000 * (i - 1) + rng.normal() * 0.01))
        line[f"harmony/{loss}/sigma"] = 1 / line[f"harmony/{loss}/weight"]
    return line


def provenance(name: RunName, config, steps: int) -> dict:
    command = [
        "python",
        "-m",
        "agent.train",
        "--benchmark",
        name.benchmark,
        "--task",
        name.task,
        "--method",
        name.method,
    ]
    return {
        **{key: getattr(name, key) for key in ("benchmark", "task", "method", "variant", "seed")},
        "config_digest": config.digest,
        "code_revision": "0123456789abcdef0123456789abcdef01234567",
        "image_digest": None,
        "command": [
            *command,
            "--variant",
            name.variant,
            "--seed",
            str(name.seed),
            "--run-dir",
            f"results/{name.directory}",
        ],
        "started": "2026-11-22T08:00:00+00:00",
        "finished": "2026-11-22T08:01:10+00:00",
        "wall_seconds": 70.0 + name.seed,
        "gpu_seconds": 0.0,
        "device": "cpu",
        "cpu": "A processor of 2.1 GHz",
        "gpu": None,
        "threads": 1,
        "python": "3.11.7",
        "libraries": {"numpy": "2.4.6", "torch": "2.13.0"},
        "agent_steps": steps,
        "env_frames": steps * config.env_frames_per_step,
        "updates": steps // 4,
        "env_restarts": 0,
        "skipped_updates": 0,
        "peak_memory_mb": 640,
        "peak_gpu_memory_mb": None,
        "inexact_resumes": 0,
    }


def _video(path: Path, rng: np.random.Generator, size: int = 64) -> None:
    """A moving dot, as H.264 like the agent's videos."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        for t in range(30):
            image = np.full((size, size, 3), 40, np.uint8)
            image[t : t + 8, 2 * t % 56 : 2 * t % 56 + 8] = rng.integers(100, 255, 3)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
