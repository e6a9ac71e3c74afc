"""Each of the released code's bugs has a setting, which changes what it says and nothing else."""

import numpy as np
import pytest
import torch

from agent.config import resolve
from envs.errors import UserError
from tests.agent.small import BOX, DISCRETE, make, random_batch, update


def losses(*overrides, method="harmony_dreamerv2", action=BOX, **vectors):
    agent = make(method, *overrides, action=action, **vectors)
    return update(agent, random_batch(agent))[1]


def differing(first, second):
    """The metrics that differ between two updates of equal agents, gradient norms left out."""
    assert first.keys() == second.keys()
    return {key for key in first if not torch.equal(first[key], second[key]) and "grad_norm" not in key}


def test_a_soft_value_target_changes_the_critic_s_loss_and_nothing_else():
    found = differing(losses(), losses("behavior.soft_value_target=false"))
    assert found == {"loss/critic", "behavior/target"}
    hard = losses("behavior.soft_value_target=false", action=DISCRETE)
    assert differing(losses(action=DISCRETE), hard) == set(), "REINFORCE has no such bug"


def test_ignored_scales_are_those_of_harmonised_losses_and_of_no_other():
    scaled = ("world_model.loss_scales={reward: 10, kl: 0.1, image: 3}",)
    heeds = ("world_model.harmonizer.ignore_scales=false",)
    assert differing(losses(), losses(*scaled)) == set()
    assert differing(losses(*heeds), losses(*scaled, *heeds)) >= {"loss/model"}
    assert differing(losses(), losses(*heeds)) == set(), "without scales there is nothing to ignore"
    partly = losses(*scaled, "world_model.harmonizer.losses=[image, kl]")
    weighed = 10 * partly["loss/reward"] + partly["loss/image"] + partly["loss/kl"] + 2 * np.log(2)
    assert torch.isclose(partly["loss/model"], weighed)
    plain = losses(*scaled, method="dreamerv2")
    weighed = 10 * plain["loss/reward"] + 3 * plain["loss/image"] + 0.1 * plain["loss/kl"]
    assert torch.isclose(plain["loss/model"], weighed)


def test_dropped_losses_are_those_of_further_keys_and_only_under_harmony():
    keeps = ("world_model.harmonizer.drop_others=false",)
    both = losses(proprio=4), losses(*keeps, proprio=4)
    assert "loss/model" in differing(*both)
    assert torch.isclose(both[1]["loss/model"] - both[0]["loss/model"], both[0]["loss/proprio"], rtol=1e-4)
    assert differing(losses(), losses(*keeps)) == set(), "without further keys there is nothing to drop"
    plain = losses(method="dreamerv2", proprio=4), losses(*keeps, method="dreamerv2", proprio=4)
    assert differing(*plain) == set()


@pytest.mark.parametrize("method", ["dreamerv2", "harmony_dreamerv2"])
def test_a_clean_method_differs_in_the_named_bugs_alone(method):
    with_bugs, clean = (
        resolve("metaworld", "hammer", name, "paper").model_dump() for name in (method, f"{method}_clean")
    )
    for path in (
        ("replay", "one_stream"),
        ("world_model", "harmonizer", "ignore_scales"),
        ("world_model", "harmonizer", "drop_others"),
        ("behavior", "soft_value_target"),
    ):
        first, second = with_bugs, clean
        for part in path[:-1]:
            first, second = first[part], second[part]
        assert (first.pop(path[-1]), second.pop(path[-1])) == (True, False)
    assert with_bugs.pop("method") != clean.pop("method")
    assert with_bugs == clean


def test_a_scale_of_a_loss_that_is_not_there_is_told():
    with pytest.raises(UserError, match=r"unknown loss 'rewards'\. Did you mean 'reward'"):
        make("dreamerv2", "world_model.loss_scales.rewards=2")
