import copy

import pytest
import yaml

from analysis import experiments
from analysis.errors import InputError
from analysis.experiments import RunName

GOOD = yaml.safe_load(
    """
    experiments:
      one:
        {title: One, benchmark: b, tasks: [t, u], methods: [m], variant: v, seeds: [0, 1], score_rule: r,
         final_evaluation: {episodes: 3, videos: 1}}
    """
)


def changed(**keys: object) -> dict:
    config = copy.deepcopy(GOOD)
    config["experiments"]["one"].update(keys)
    return config


def test_the_runs_of_an_experiment() -> None:
    (experiment,) = experiments.load(GOOD, "file").values()
    assert experiment.runs() == [RunName("b", task, "m", "v", seed) for task in "tu" for seed in (0, 1)]
    assert experiment.runs()[1].directory == "runs/b/t/m/v/seed_1"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "experiments: missing"),
        ({"experiments": {}}, "experiments: must not be empty"),
        ({"experiment": {}, **GOOD}, "experiment: unknown key (did you mean experiments?)"),
        ({"experiments": {"a; rm": GOOD["experiments"]["one"]}}, "'a; rm' is not a name"),
        (changed(tasks="t"), "experiments.one.tasks: 't' is not of type array"),
        (changed(tasks=["../t"]), "experiments.one.tasks[0]: '../t' is not a name"),
        (changed(seeds=[0, 0]), "experiments.one.seeds: [0, 0] has an entry twice"),
        (changed(seeds=[-1]), "experiments.one.seeds[0]: -1 is outside what is allowed, the minimum is 0"),
        (changed(seeds=[1.5]), "experiments.one.seeds[0]: 1.5 is not of type integer"),
        (changed(seeds=[]), "experiments.one.seeds: must not be empty"),
        (changed(final_evaluation={"episodes": 0, "videos": 1}), "experiments.one.final_evaluation.episodes: 0"),
        (changed(final_evaluation={"videos": 1}), "experiments.one.final_evaluation.episodes: missing"),
    ],
)
def test_what_is_wrong_is_named(config: dict, message: str) -> None:
    with pytest.raises(InputError) as raised:
        experiments.load(config, "config/mine.yaml")
    assert message in str(raised.value)
    assert str(raised.value).startswith("config/mine.yaml")


def test_every_mistake_is_told_at_once() -> None:
    with pytest.raises(InputError) as raised:
        experiments.load(changed(seeds=[-1], variant="V!"), "file")
    assert "seeds[0]" in str(raised.value)
    assert "variant" in str(raised.value)


def test_experiments_that_share_a_run_agree_on_its_evaluation() -> None:
    config = copy.deepcopy(GOOD)
    config["experiments"]["two"] = {**GOOD["experiments"]["one"], "final_evaluation": {"episodes": 4, "videos": 1}}
    with pytest.raises(InputError, match="shares runs/b/t/m/v/seed_0"):
        experiments.load(config, "file")
