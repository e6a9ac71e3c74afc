"""The paper's tasks in MuJoCo keep the contract, in a fresh process, too; `python -m envs.check --all` has them all."""

import pytest

import envs
from agent import config
from envs import contract
from envs.errors import SimulatorMissing
from envs.worker import WorkerEnv

OPTIONS = {
    "metaworld": {"rendering": "fast"},
    "dmc_remastered": {"rendering": "fast", "textures": "generated"},
    "dmc_background": {"rendering": "fast", "videos": "generated"},
}
PAPER = [(benchmark, task) for benchmark in OPTIONS for task in envs.tasks(benchmark)[:3]]


@pytest.mark.parametrize(("benchmark", "task"), PAPER)
def test_the_papers_tasks_keep_the_contract(benchmark, task):
    try:
        environment = envs.make(benchmark, task, 0, **OPTIONS[benchmark])
    except SimulatorMissing as missing:
        pytest.skip(str(missing))
    assert contract.violations(environment, seed=1, steps=6) == []
    first = contract.trajectory(environment, seed=2, steps=6)
    environment.close()
    worker = WorkerEnv(benchmark, task, 0, OPTIONS[benchmark])
    assert worker.provenance == environment.provenance
    assert set(worker.provenance) >= {"renderer", "deviations"}
    assert contract.trajectory(worker, seed=2, steps=6) == first, "not the same in a fresh process"
    worker.close()


@pytest.mark.parametrize("benchmark", OPTIONS)
def test_settings_and_adapter_name_the_same_tasks(benchmark):
    assert config.tasks(benchmark) == envs.tasks(benchmark)
