"""Train one run: `python -m agent.train --help`."""

import argparse
import datetime
import faulthandler
import functools
import logging
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from agent import commands, preflight
from agent.config import names, resolve
from agent.lock import Lock
from agent.loop import Loop
from agent.provenance import peak_memory, provenance
from agent.run_directory import RunDirectory
from agent.settings import RunConfig
from agent.skipped import TooManySkipped
from agent.stopping import StopRequests
from envs.errors import EnvironmentFailure, UserError
from envs.worker import RestartBudget

log = logging.getLogger("agent.train")

EPILOG = """\
examples:
  python -m agent.train --benchmark distractor --task reach --method harmony_dreamerv2 --variant quickstart \\
      --seed 0 --run-dir /tmp/run
  python -m agent.train ... --set train.steps=5000 --set world_model.rssm.deter=256

The same command on an unfinished run directory continues it; on a finished one it returns at once. Settings are
layered: base method < benchmark < method < variant < --set; the files are in config/, and --show prints the result.
Exit codes: 0 finished; 2 a mistake in what was asked for; 75 stopped by a signal, run it again to continue; 1 any
other failure, run it again to continue from the last checkpoint.
"""


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m agent.train",
        description="Train one run and write its results to a directory.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--benchmark", required=True, help=", ".join(names("benchmarks")))
    parser.add_argument("--task", required=True, help="a task of the benchmark, see config/benchmarks/<benchmark>.yaml")
    parser.add_argument("--method", required=True, help=", ".join(names("methods")))
    parser.add_argument("--variant", required=True, help=", ".join(names("variants")))
    parser.add_argument("--seed", required=True, type=int, help="0 or more; every random number follows it")
    parser.add_argument("--run-dir", required=True, type=Path, help="made if it is not there")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: CUDA if available")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting; repeatable"
    )
    parser.add_argument("--attempt", type=int, default=1, help="above 1, a failure that no retry mends ends it at once")
    parser.add_argument("--show", action="store_true", help="print the resolved settings and stop")
    parser.add_argument("--estimate", action="store_true", help="print what disk and memory the run needs, and stop")
    parser.add_argument("--no-preflight", action="store_true", help="begin although disk or memory seem too small")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    args = parse(arguments)
    return commands.exit_code(functools.partial(_main, args), args.run_dir)


def _main(args: argparse.Namespace) -> int:
    config = resolve(args.benchmark, args.task, args.method, args.variant, args.set)
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: a seed is a whole number of at least 0")
    if args.show:
        print(config.model_dump_json(indent=2))
        return commands.FINISHED
    device = commands.pick_device(args.device)
    needs = preflight.estimate(config, device.type)
    if args.estimate:
        print(needs)
        return commands.FINISHED
    run = RunDirectory(args.run_dir)
    run.check(config, args.seed)
    if run.finished and not run.nearly_finished:
        print(f"{args.run_dir} is finished already")
        return commands.FINISHED
    if not args.no_preflight:
        preflight.check(needs, args.run_dir, commands.free_gpu_mb(device))
    run.claim(config, args.seed)
    with run.lock() as lock:
        return _train_or_note_failure(args, config, run, lock, device)


def _train_or_note_failure(
    args: argparse.Namespace, config: RunConfig, run: RunDirectory, lock: Lock, device: torch.device
) -> int:
    if args.attempt > 1 and (failure := run.permanent_failure()):
        raise UserError(failure)
    if run.finished and not run.nearly_finished:  # by another process, just before it gave up the lock
        run.remove_live()
        return commands.FINISHED
    run.forget_failure()
    try:
        return _train(args, config, run, lock, device)
    except (UserError, EnvironmentFailure, TooManySkipped) as error:
        run.note_failure(str(error))
        raise


def _train(args: argparse.Namespace, config: RunConfig, run: RunDirectory, lock: Lock, device: torch.device) -> int:
    if run.nearly_finished:
        run.move_results()
        return commands.FINISHED
    requests = StopRequests(commands.CONTINUE)  # before anything that takes long, as starting simulators may
    faulthandler.enable()  # a disk that vanishes under a mapped replay ends the process: say at least where
    commands.set_threads(config)
    commands.start_log(run.live / "train.log")
    log.info("%s/%s %s %s seed %d on %s", args.benchmark, args.task, args.method, args.variant, args.seed, device)
    started = _now()

    def stop() -> bool:
        lock.check()
        return requests()

    restarts = RestartBudget(config.limits.env_restarts)
    make_env = functools.partial(commands.environment, config, args.seed, restarts)
    loop = Loop(config, args.seed, run.live, device, make_env, restarts)
    try:
        if not loop.run(stop):
            log.info("stopped at agent step %d: run the same command to continue", loop.progress.step)
            return commands.CONTINUE
    finally:
        loop.close()
    lock.check()
    run.finish(
        save(loop.agent.policy_state()),
        {
            **_identity(args, config),
            **_measured(loop, started),
            **peak_memory(device),
            **provenance(args.benchmark, device),
        },
    )
    print(f"finished: {args.run_dir}")
    return commands.FINISHED


def _identity(args: argparse.Namespace, config: RunConfig) -> dict[str, Any]:
    names_of_run = {name: getattr(args, name) for name in ("benchmark", "task", "method", "variant", "seed")}
    return {**names_of_run, "config_digest": config.digest, "threads": config.threads}


def _measured(loop: Loop, started: str) -> dict[str, Any]:
    progress = loop.progress
    seconds = round(progress.wall_seconds, 3)
    return {
        "started": started,
        "finished": _now(),
        "wall_seconds": seconds,
        "gpu_seconds": seconds if loop.device.type == "cuda" else 0.0,
        "agent_steps": progress.step,
        "env_frames": progress.step * loop.config.frames_per_step,
        "updates": loop.agent.updates,
        "env_restarts": loop.restarts.used,
        "environments": {
            name: getattr(env, "provenance", {}) for name, env in (("train", loop.env), ("evaluation", loop.eval_env))
        },
        "skipped_updates": round(progress.skipped),
        "inexact_resumes": progress.inexact_resumes,
        "damaged_replay_chunks": progress.damaged_chunks,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
