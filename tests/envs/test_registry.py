"""Names, options and seeds of environments, and what a user is told about wrong ones."""

import ast
import datetime
import subprocess
import sys
from pathlib import Path

import pytest

import envs
from envs.errors import UserError
from envs.worker import WorkerEnv

ROOT = Path(__file__).parents[2]


def in_this_process(*place, **options):
    return envs.make(*place, **options)


def in_a_worker(*place, **options):
    return WorkerEnv(*place, options)


@pytest.mark.parametrize("make", [in_this_process, in_a_worker])
@pytest.mark.parametrize(
    ("benchmark", "task", "seed", "options", "said"),
    [
        ("atari", "pong", 0, {}, r"unknown benchmark 'atari'. Did you mean 'atari100k'\? .*envs/adapters"),
        ("atari100k", "breakdown", 0, {}, r"unknown task of atari100k 'breakdown'. Did you mean 'breakout'\?"),
        (
            "distractor",
            "reach",
            0,
            {"distractions": 1},
            r"option of distractor 'distractions'. Did you mean 'distraction'",
        ),
        ("distractor", "reach", -1, {}, "seed is -1, but must be a whole number from 0"),
        ("distractor", "reach", 1.5, {}, r"seed is 1\.5"),
        ("distractor", "reach", 0, {"size": 48}, r"option size is 48, but must be one of 32, 64 .*config/benchmarks"),
        ("distractor", "reach", 0, {"size": 32.0}, "option size is 32.0"),
        ("distractor", "reach", 0, {"distraction": 1.5}, r"distraction is 1.5, but must be a number from 0.0 to 1.0"),
        ("distractor", "reach", 0, {"contrast": "high"}, "contrast is 'high'"),
        ("distractor", "reach", 0, {"time_limit": 0}, "time_limit is 0, but must be a whole number of at least 1"),
        ("distractor", "reach", 0, {"time_limit": True}, "time_limit is True"),
        ("distractor", "reach", 0, {"contrast": datetime.date(2024, 7, 21)}, "contrast .* JSON cannot express"),
        ("distractor", "reach", 0, {"distraction": float("nan")}, "distraction .* is nan"),
        ("atari100k", "pong", 0, {"frame_cap": "108000"}, "frame_cap is '108000', but must be a whole number"),
        (
            "atari100k",
            "pong",
            0,
            {"truncation_is_terminal": 1},
            "truncation_is_terminal is 1, but must be true or false",
        ),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(make, benchmark, task, seed, options, said):
    with pytest.raises(UserError, match=said):
        make(benchmark, task, seed, **options)


def test_listing_tasks_imports_no_simulator():
    code = "import envs, sys; [envs.tasks(b) for b in envs.benchmarks()]; print('ale_py' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output == "False\n"
    assert {"atari100k", "distractor"} <= set(envs.benchmarks())


@pytest.mark.parametrize("module", ["__init__", "errors", "host", "options", "registry", "spaces"])
def test_what_a_worker_needs_is_python_3_8(module):
    """Old simulators run in old interpreters; the standard library and NumPy must do."""
    tree = ast.parse((ROOT / f"envs/{module}.py").read_text(), feature_version=(3, 8))
    imported = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {
        n.module if isinstance(n, ast.ImportFrom) else n.names[0].name for n in imported if getattr(n, "level", 0) == 0
    }
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names | {"numpy"}
