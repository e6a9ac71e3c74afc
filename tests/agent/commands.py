"""Run the training and evaluation commands as a user does, or, in half the time, in a fork that has torch loaded."""

import contextlib
import csv
import functools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ("--benchmark", "distractor", "--task", "reach", "--method", "harmony_dreamerv2", "--variant", "smoke")
RESULTS = {"config.yaml", "metrics.jsonl", "evaluations.csv", "policy.safetensors", "provenance.json"}


def arguments(run_dir, *more, seed=0):
    return [*PLACE, "--seed", str(seed), "--run-dir", str(run_dir), "--device", "cpu", *more]


def train(run_dir, *more, **options):
    """Train in a process forked from one that has loaded what training needs; for the options see `_child`."""
    return forked("agent.train", *arguments(run_dir, *more), **options)


def forked(module, *arguments, **options):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.agent.commands", "agent.train", "agent.evaluate"])
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        child = context.Process(target=_child, args=(module, list(map(str, arguments)), outputs), kwargs=options)
        child.start()
        child.join(timeout=200)
        child.kill()
        return subprocess.CompletedProcess(arguments, child.exitcode, *(path.read_text() for path in outputs))


def _child(module, arguments, outputs, *, misbehave=None, largest_file=None, beat=None):
    """misbehave: for the adapter of the tests, which then takes the place of the real one. largest_file: in bytes.

    beat: seconds between two heartbeats of the run's lock.
    """
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), descriptor)
    os.chdir(ROOT)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.argv = [module, *arguments]
    from agent import commands, lock
    from envs.worker import WorkerEnv

    if beat is not None:
        lock.BEAT = beat
    if misbehave is not None:
        os.environ["MISBEHAVE"] = misbehave
        commands.WorkerEnv = functools.partial(WorkerEnv, adapters="tests.agent.adapters", timeout=6.0)
    code = sys.modules[module].main(arguments)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    sys.exit(code)


def command(module, *arguments, **options):
    """`python -m module`, as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        **options,
    )


def failed_with_a_message(done, code):
    """Whether a command ended with this exit code, and told why without a traceback."""
    return done.returncode == code and "error: " in done.stderr and "Traceback" not in done.stdout + done.stderr


def evaluations(run_dir, name="evaluations.csv"):
    with (run_dir / name).open(newline="") as file:
        return list(csv.DictReader(file))


def provenance(run_dir):
    return json.loads((run_dir / "provenance.json").read_text())


def outcome(run_dir):
    """All that a run found out, without the time it took: equal for equal runs."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in line.items() if k != "wall_seconds" and "speed/" not in k} for line in lines]
    files = {name: (run_dir / name).read_bytes() for name in ("evaluations.csv", "policy.safetensors", "config.yaml")}
    counts = {key: provenance(run_dir)[key] for key in ("agent_steps", "env_frames", "updates", "skipped_updates")}
    return files, timeless, counts
