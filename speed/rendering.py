"""What rendering costs here, by back end, quality and number of workers, and what `fast` changes in a picture.

    DMCR_TEXTURES=FOLDER python -m speed.rendering      the paper's tasks in MuJoCo, before generated video

Prints Markdown. Without DMCR_TEXTURES the textures are generated, too. Processor milliseconds of an agent step, physics
included, hold on a busy machine, too; agent steps per second are all processes' together, and suffer from other work.
Differences are between 8-bit pictures of the same states.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

import envs
from envs import control, rendering, textures, visuals
from envs.adapters import dmc_remastered
from envs.rendering import QUALITIES

OPTIONS: dict[str, dict[str, Any]] = {
    "metaworld": {},
    "dmc_remastered": {},  # see textured()
    "dmc_background": {"videos": "generated"},
}
PAPER = 3  # the first tasks of each
BACK_ENDS = ("egl", "osmesa")
WORKERS = (1, 2)
STEPS = {"faithful": 20, "fast": 100}  # agent steps per measurement
SEED = 0


@dataclass(frozen=True)
class Cost:
    """Of one process: median processor milliseconds of an agent step, and steps per second."""

    milliseconds: float
    rate: float


def step_cost(back_end: str, benchmark: str, task: str, quality: str) -> Cost:
    """Play random actions in this process, which must not have imported MuJoCo before."""
    os.environ.update(MUJOCO_GL=back_end, PYOPENGL_PLATFORM=back_end, LP_NUM_THREADS="1")
    environment = envs.make(benchmark, task, SEED, rendering=quality, **options(benchmark))
    environment.action_space.seed(SEED)
    environment.reset(seed=SEED)
    times = []
    started = time.perf_counter()
    for _ in range(STEPS[quality]):
        action = environment.action_space.sample()
        before = time.process_time()
        environment.step(action)
        times.append(time.process_time() - before)
    rate = STEPS[quality] / (time.perf_counter() - started)
    environment.close()
    return Cost(1e3 * float(np.median(times)), rate)


def reset_costs(task: str) -> tuple[float, float]:
    """Median processor milliseconds of a reset of DMC Remastered, and of building model and renderer instead.

    Either includes the first picture.
    """
    environment: Any = envs.make("dmc_remastered", task, SEED, **textured())
    pictures = textures.find(textured().get("textures"))
    images = {"sky.png": pictures.sky(0), "floor.png": pictures.floor(0)}
    files = {name: cv2.imencode(".png", image[:, :, ::-1])[1].tobytes() for name, image in images.items()}
    domain = control.domain_of(task)[0]
    physics_of_domain = importlib.import_module(f"dm_control.suite.{domain}").Physics

    def build() -> None:
        model, assets = control.scene(task, lambda trees: dmc_remastered.prepare(trees, domain, visuals.FACTORS))
        physics = physics_of_domain.from_xml_string(model, {**assets, **files})
        renderer = rendering.Renderer(physics.model.ptr, control.SIZE, "faithful")
        renderer.picture(physics.data.ptr, control.CAMERA)
        renderer.close()

    costs = [processor_milliseconds(environment.reset), processor_milliseconds(build)]
    environment.close()
    return costs[0], costs[1]


def options(benchmark: str) -> dict[str, Any]:
    return {**OPTIONS[benchmark], **(textured() if benchmark == "dmc_remastered" else {})}


def textured() -> dict[str, Any]:
    """DMC Remastered's own textures where the environment variable names them."""
    return {} if textures.VARIABLE in os.environ else {"textures": textures.GENERATED}


def processor_milliseconds(action: Callable[[], Any], repeats: int = 9) -> float:
    """The median processor time of an action that was done once before."""
    action()
    times = []
    for _ in range(repeats):
        before = time.process_time()
        action()
        times.append(time.process_time() - before)
    return 1e3 * float(np.median(times))


def difference(benchmark: str, task: str) -> tuple[float, float]:
    """Of `fast` from `faithful` over 20 states: the mean absolute one, and the share of values more than 32 apart."""
    pictures = []
    for quality in QUALITIES:
        environment = envs.make(benchmark, task, SEED, rendering=quality, **options(benchmark))
        environment.action_space.seed(SEED)
        seen = [environment.reset(seed=SEED)[0]["image"]]
        seen += [environment.step(environment.action_space.sample())[0]["image"] for _ in range(19)]
        pictures.append(np.stack(seen).astype(int))
        environment.close()
    apart = np.abs(pictures[0] - pictures[1])
    return float(apart.mean()), float((apart > 32).mean())


def in_fresh_processes(count: int, function: Any, *arguments: Any) -> list[Any]:
    """The results of `count` calls at once, each in an interpreter of its own: a back end cannot be changed."""
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        return list(pool.map(function, *([argument] * count for argument in arguments)))


def costs(benchmark: str, task: str) -> Iterator[str]:
    """Rows of the table of costs."""
    for quality in QUALITIES:
        cells = []
        for back_end in BACK_ENDS:
            found = {n: in_fresh_processes(n, step_cost, back_end, benchmark, task, quality) for n in WORKERS}
            cells.append(f"{found[1][0].milliseconds:.1f}")
            cells += [f"{sum(cost.rate for cost in found[n]):.0f}" for n in WORKERS]
        yield f"| `{benchmark}/{task}` | {quality} | {' | '.join(cells)} |"


def main() -> None:
    """Print the tables."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    tasks = [(benchmark, task) for benchmark in OPTIONS for task in envs.tasks(benchmark)[:PAPER]]
    columns = [
        f"{end}: {unit}" for end in BACK_ENDS for unit in ("CPU ms", *(f"{n} at once, steps/s" for n in WORKERS))
    ]
    print(f"| task | rendering | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for place in tasks:
        for row in costs(*place):
            print(row, flush=True)
    print("\n| task | mean difference of `fast` | more than 32 apart |\n|---|---|---|")
    for benchmark, task in tasks:
        [(mean, far)] = in_fresh_processes(1, difference, benchmark, task)
        print(f"| `{benchmark}/{task}` | {mean:.2f} | {100 * far:.1f} % |", flush=True)
    print("\n| task | CPU ms of a reset | of building anew | ratio |\n|---|---|---|---|")
    for benchmark, task in tasks:
        if benchmark == "dmc_remastered":
            [(reset, build)] = in_fresh_processes(1, reset_costs, task)
            print(f"| `{benchmark}/{task}` | {reset:.0f} | {build:.0f} | {build / reset:.1f} |", flush=True)


if __name__ == "__main__":
    main()
