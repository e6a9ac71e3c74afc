"""Score rules: what a run's evaluations become, and what is refused instead of averaged over."""

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from analysis.errors import InputError
from analysis.score_rules import ScoreRule, get, load, score_matrix

TASKS = ["boxing", "pong"]
RULE = get("last_evaluation_return")
# A rule's meaning may only change together with its version: then its entry here changes too.
FROZEN = {
    "final_policy_return": (1, "bf9265d60f6f"),
    "final_policy_success": (1, "ce7da2f078e1"),
    "final_policy_human_normalised": (1, "f78463292b0d"),
    "last_evaluation_return": (1, "8e16bda8de64"),
    "last_evaluation_success": (1, "75cead6db72a"),
    "last_evaluation_human_normalised": (1, "d937a252c1d2"),
    "last_two_evaluations_human_normalised": (1, "dde40d8c70a4"),
    "best_evaluation_human_normalised": (1, "3354e33890ec"),
}


def evaluations(seeds: int = 3) -> pd.DataFrame:
    """Two tasks, `seeds` runs, 2 episodes at each of 3 points; return is 100 task + 10 seed + point + episode."""
    return pd.DataFrame(
        [
            {"task": task, "seed": seed, "env_frame": 1000 * point, "return": 100.0 * t + 10 * seed + point + episode}
            for t, task in enumerate(TASKS)
            for seed in range(seeds)
            for point in (1, 2, 3)
            for episode in (0, 1)
        ]
    )


def test_each_rule_takes_the_evaluations_it_names():
    run = pd.DataFrame({"env_frame": [3, 1, 2, 2], "return": [4.0, 1.0, 9.0, 11.0]})  # points: 1.0, 10.0, 4.0
    assert dataclasses.replace(RULE, evaluations=1).run_score(run) == 4
    assert dataclasses.replace(RULE, evaluations=2).run_score(run) == 7
    assert dataclasses.replace(RULE, evaluations="all", reduction="max").run_score(run) == 10


def test_the_matrix_has_a_row_for_each_run_and_a_column_for_each_task():
    m = score_matrix(evaluations(), RULE, "atari100k", TASKS)
    assert m.columns.tolist() == TASKS
    assert m.to_numpy().tolist() == [[3.5, 103.5], [13.5, 113.5], [23.5, 123.5]]


def test_the_order_of_rows_does_not_matter():
    shuffled = evaluations().sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(
        score_matrix(shuffled, RULE, "atari100k", TASKS), score_matrix(evaluations(), RULE, "atari100k", TASKS)
    )


def test_human_normalised_scores_are_0_for_random_and_1_for_human():
    table = evaluations(2)
    ends = {("pong", 0): -20.7, ("pong", 1): 14.6, ("boxing", 0): 0.1, ("boxing", 1): 12.1}
    table["return"] = [ends[task, seed] for task, seed in zip(table["task"], table["seed"], strict=True)]
    m = score_matrix(table, get("last_evaluation_human_normalised"), "atari100k", TASKS)
    np.testing.assert_allclose(m, [[0, 0], [1, 1]], atol=1e-12)


def test_a_task_without_human_reference_is_refused():
    with pytest.raises(InputError, match=r"no random and human score of distractor/boxing, pong"):
        score_matrix(evaluations(), get("last_evaluation_human_normalised"), "distractor", TASKS)


def without(table: pd.DataFrame, **where: object) -> pd.DataFrame:
    return table[~np.logical_and.reduce([table[key] == value for key, value in where.items()])]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: without(t, task="pong"), "no evaluations of pong"),
        (lambda t: t.replace({"task": {"pong": "breakout"}}), "no evaluations of pong"),
        (lambda t: without(t, task="pong", seed=2), "pong has 2"),
        (lambda t: without(t, task="pong", seed=1, env_frame=3000), "task pong, seed 1: 0 rows at env_frame 3000"),
        (lambda t: t.drop(t.index[-1]), "task pong, seed 2: 1 rows at env_frame 3000 where the other runs have 2"),
        (lambda t: t.assign(env_frame=t["env_frame"].where(t["seed"] != 1, 7000)), "seed 1"),
        (lambda t: t.assign(**{"return": t["return"].where(t["seed"] != 2)}), "task boxing, seed 2: return at"),
    ],
    ids=[
        "missing task",
        "other task",
        "unequal seeds",
        "cut between evaluations",
        "cut between episodes",
        "steps",
        "NaN",
    ],
)
def test_uneven_evaluations_are_refused_by_name(damage, message):
    with pytest.raises(InputError) as refused:
        score_matrix(damage(evaluations()), RULE, "atari100k", TASKS)
    assert message in str(refused.value)


def test_an_unknown_rule_is_refused_with_those_that_exist():
    with pytest.raises(InputError, match="final_policy_success"):
        get("best_of_the_best")


def _fingerprint(rule: ScoreRule) -> str:
    return hashlib.sha256(json.dumps(dataclasses.asdict(rule), sort_keys=True).encode()).hexdigest()[:12]


def test_a_changed_rule_has_a_new_version():
    assert {name: (rule.version, _fingerprint(rule)) for name, rule in load().items()} == FROZEN
