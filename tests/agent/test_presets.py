"""The presets are the paper's, value by value, and they do not change by accident."""

import pytest

from agent.config import names, resolve, tasks
from tests.agent.paper_settings import TASKS, expected, flatten
from tests.agent.presets import ACCEPT, changes

# On which benchmarks the paper has which base method.
BASES = {
    "dreamerv2": ("metaworld", "dmc_remastered", "dmc_background", "rlbench"),
    "dreamerv3": ("atari100k", "metaworld"),
    "dreamerv3_torch": ("minecraft",),
}
GAMES = ("pong", "chopper_command")
PAPER = [(b, task, base) for base, benchmarks in BASES.items() for b in benchmarks for task in TASKS.get(b, GAMES)]


@pytest.mark.parametrize("prefix", ["", "harmony_"])
@pytest.mark.parametrize(("benchmark", "task", "base"), PAPER)
def test_preset_has_the_papers_values(benchmark: str, task: str, base: str, prefix: str) -> None:
    found = flatten(resolve(benchmark, task, prefix + base, "paper").as_dict())
    assert found == expected(benchmark, task, prefix + base)


@pytest.mark.parametrize("benchmark", TASKS)
def test_the_papers_tasks_come_first(benchmark: str) -> None:
    assert tasks(benchmark)[: len(TASKS[benchmark])] == TASKS[benchmark]


def test_every_atari_game_has_the_same_settings_but_one_episode_length() -> None:
    assert len(tasks("atari100k")) == 26
    like = resolve("atari100k", "pong", "dreamerv3", "paper")
    for task in tasks("atari100k"):
        preset = resolve("atari100k", task, "dreamerv3", "paper")
        env = {**like.env, "frame_cap": 5400} if task == "chopper_command" else like.env
        assert preset == like.model_copy(update={"task": task, "env": env})


@pytest.mark.parametrize("method", ["dreamerv2", "dreamerv3_torch"])
def test_other_methods_have_ataris_budget_and_evaluation_too(method: str) -> None:
    """The rest of their settings there is this suite's: the paper has DreamerV3 alone."""
    preset, paper = (resolve("atari100k", "pong", name, "paper") for name in (method, "dreamerv3"))
    assert preset.env_frames_per_step == 4
    assert preset.train.steps in (100_000, 101_000)
    for key in ("every", "episodes", "action"):
        assert getattr(preset.evaluation, key) == getattr(paper.evaluation, key)


def test_presets_are_frozen() -> None:
    assert not (found := changes()), "presets differ from tests/agent/presets.json: " + ACCEPT + "\n" + "\n".join(found)


# What is wrong in the released code, by base method, and where it shows.
BUGS = {
    "dreamerv2": {
        "behavior.soft_value_target": True,
        "replay.one_stream": True,
        "world_model.harmonizer.drop_others": True,
        "world_model.harmonizer.ignore_scales": True,
    },
    "dreamerv3": {
        "world_model.harmonizer.ignore_scales": True,
        "world_model.harmonizer.share_regulariser": True,
    },
    "dreamerv3_torch": {
        "behavior.policy.unimix_multi": 0.0,
        "replay.one_stream": True,
        "world_model.encoder.widen": False,
        "world_model.harmonizer.drop_others": True,
        "world_model.harmonizer.ignore_scales": True,
    },
}
WHOLE = {"behavior.policy.unimix_multi": 0.01, "world_model.encoder.widen": True}  # any other bug is off when false


@pytest.mark.parametrize("method", names("methods"))
def test_only_clean_methods_are_without_the_released_bugs(method: str) -> None:
    base = next(name for name in ("dreamerv3_torch", "dreamerv3", "dreamerv2") if name in method)
    flat = flatten(resolve("distractor", "reach", method, "paper").as_dict())
    clean = {bug: WHOLE.get(bug, False) for bug in BUGS[base]}
    assert {bug: flat[bug] for bug in BUGS[base]} == (clean if method.endswith("_clean") else BUGS[base])


@pytest.mark.parametrize("base", ["dreamerv2", "dreamerv3", "dreamerv3_torch"])
@pytest.mark.parametrize("prefix", ["", "harmony_"])
def test_clean_methods_differ_from_reproduction_methods_in_the_bugs_alone(base: str, prefix: str) -> None:
    clean, plain = (
        flatten(resolve("distractor", "reach", f"{prefix}{base}{suffix}", "paper").as_dict())
        for suffix in ("_clean", "")
    )
    assert {key for key in plain if plain[key] != clean[key]} == {*BUGS[base], "method"}


def test_rlbench_with_plain_networks_has_those_of_the_other_benchmarks() -> None:
    kernels = {"encoder": "[4, 4, 4, 4]", "decoder": "[5, 5, 6, 6]"}
    plain = "kind: plain, depth: 48, vector_layers: 4, vector_units: 400"
    overrides = [f"world_model.{part}={{{plain}, kernels: {value}}}" for part, value in kernels.items()]
    found = resolve("rlbench", "push_button", "dreamerv2", "paper", overrides).world_model
    like = resolve("metaworld", "hammer", "dreamerv2", "paper").world_model
    assert (found.encoder, found.decoder) == (like.encoder, like.decoder)


@pytest.mark.parametrize("base", ["dreamerv3", "dreamerv3_torch"])
def test_sizes_are_the_authors(base: str) -> None:
    """Deter, hidden and units, depth, layers; both code bases have the same four sizes."""
    sizes = {"s": (512, 512, 32, 2), "m": (1024, 640, 48, 3), "l": (2048, 768, 64, 4), "xl": (4096, 1024, 96, 5)}
    for name, (deter, units, depth, layers) in sizes.items():
        config = resolve("atari100k", "pong", base, f"size_{name}")
        model, behavior = config.world_model, config.behavior
        assert (model.rssm.deter, model.rssm.hidden) == (deter, units)
        assert model.encoder.depth == model.decoder.depth == depth
        for head in (model.reward_head, model.discount_head, behavior.actor, behavior.critic):
            assert (head.units, head.layers) == (units, layers)


def test_minecrafts_preset_is_the_large_one() -> None:
    paper, large = (resolve("minecraft", "hunt_cow", "dreamerv3_torch", variant) for variant in ("paper", "size_l"))
    assert large.model_copy(update={"variant": "paper"}) == paper
