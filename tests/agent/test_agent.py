"""One agent for every action space and observation, whose state begins and ends with its episodes."""

import gymnasium
import numpy as np
import pytest
import torch

from agent.agent import Agent
from agent.config import resolve
from agent.noise import Noise
from agent.rollout import Actor
from envs.errors import UserError
from tests.agent.small import (
    BOX,
    CPU,
    DISCRETE,
    IMAGE,
    MULTI,
    changed,
    make,
    parameters,
    random_batch,
    random_carry,
    update,
)


@pytest.mark.parametrize(
    ("space", "size", "gradient"), [(BOX, 2, "dynamics"), (DISCRETE, 5, "reinforce"), (MULTI, 9, "reinforce")]
)
@pytest.mark.parametrize("mode", ["sample", "mode"])
@pytest.mark.parametrize("method", ["harmony_dreamerv2", "harmony_dreamerv3", "harmony_dreamerv3_torch"])
def test_every_action_space_acts_and_learns(method, space, size, gradient, mode):
    agent = make(method, action=space)
    assert (agent.kind.size, agent.behavior.gradient) == (size, gradient)
    actor = Actor(agent, Noise(0, CPU), "policy")
    row = {"image": np.zeros((32, 32, 3), np.uint8), "is_first": np.float32(1)}
    for number in range(20):
        action = agent.kind.to_env(actor.act(row, number, mode))
        assert space.contains(action if isinstance(space, gymnasium.spaces.Discrete) else np.asarray(action))
        drawn = agent.kind.random(np.random.default_rng(number))
        assert drawn.shape == (size,)
        assert space.contains(agent.kind.to_env(drawn))
    before = parameters(agent)
    update(agent, random_batch(agent))
    for part in ("world_model.encoder", "world_model.rssm", "behavior.actor_net", "behavior.critic"):
        assert any(name.startswith(part) for name in changed(before, parameters(agent))), part


def test_the_parts_of_a_multi_discrete_action_are_independent_and_follow_the_actor():
    agent = make(action=MULTI)
    logits = torch.log(torch.tensor([0.5, 0.5, 1e-9, 1e-9, 1e-9, 1.0, 1e-9, 0.25, 0.75]))
    dist = agent.kind.distribution({"out": logits.expand(4000, 9)})
    sample = dist.sample(torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)))
    frequencies = sample.mean(0)
    assert torch.allclose(frequencies, torch.tensor([0.5, 0.5, 0, 0, 0, 1, 0, 0.25, 0.75]), atol=0.03)
    assert abs(torch.corrcoef(sample[:, [0, 7]].T)[0, 1]) < 0.06
    assert dist.log_prob(sample)[0] == pytest.approx(np.log(0.5) + np.log(0.25 if sample[0, 7] else 0.75), abs=1e-4)


def test_an_action_space_of_another_kind_is_told():
    with pytest.raises(UserError, match="none of Box, Discrete and MultiDiscrete"):
        make(action=gymnasium.spaces.MultiBinary(3))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"pixels": IMAGE}, "no key 'image', only pixels"),
        ({"image": IMAGE, "depth": gymnasium.spaces.Box(0, 1, (32, 32))}, r"key 'depth' .*\(32, 32\).*\(N,\)"),
        ({"image": IMAGE, "goal": gymnasium.spaces.Discrete(3)}, r"key 'goal' .*Discrete\(3\).*\(N,\)"),
    ],
)
def test_an_observation_that_no_network_takes_is_told(space, said):
    with pytest.raises(UserError, match=said):
        Agent(resolve("distractor", "reach", "dreamerv2", "smoke"), gymnasium.spaces.Dict(space), BOX)


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        ("dreamerv2", True),
        ("harmony_dreamerv2", False),  # the released code drops it
        ("harmony_dreamerv2_clean", True),
        ("dreamerv2_clean", True),
    ],
)
def test_a_vector_is_encoded_and_decoded_unless_the_released_code_drops_it(method, trained):
    agent = make(method, proprio=4)
    assert agent.world_model.objective.dropped == ([] if trained else ["proprio"])
    before, batch = parameters(agent), random_batch(agent)
    _, metrics = update(agent, batch)
    different = changed(before, parameters(agent))
    # Weight decay moves weights without a gradient by 1e-6 of themselves; biases start at zero and show the gradient.
    assert ("world_model.heads.decoder.vector.out.proprio.bias" in different) == trained
    assert "world_model.encoder.vector.dense.0.bias" in different
    assert metrics["loss/proprio"] > 0, "it is reported all the same"
    other = make(method, proprio=4)
    batch["proprio"] = batch["proprio"] + 1
    update(other, batch)
    assert "world_model.rssm.obs_out.weight" in changed(parameters(agent), parameters(other)), "it is seen"


def test_vectors_of_double_precision_are_taken():
    agent = make(proprio=4)
    batch = random_batch(agent)
    batch["proprio"] = batch["proprio"].double()
    _, metrics = update(agent, batch)
    assert metrics["loss/proprio"].isfinite()
    row = {"image": np.zeros((32, 32, 3), np.uint8), "proprio": np.ones(4), "is_first": np.float32(1)}
    assert Actor(agent, Noise(0, CPU), "policy").act(row, 0, "mode").dtype == np.float32


def test_a_first_step_forgets_state_and_action_before_it():
    """Even a state that is not finite: zero times infinity is no zero."""
    agent = make()
    batch = random_batch(agent)
    batch["is_first"][:, 0] = 1
    noise = Noise(0, CPU).draw("update", 0, agent.update_noise())
    fresh = agent.world_model.loss(batch, agent.initial_carry(2), noise["posterior"])
    unrelated = random_carry(agent)
    unrelated.deter[0] = torch.inf
    batch["action"][1, 0] = 100.0
    other = agent.world_model.loss(batch, unrelated, noise["posterior"])
    for ours, theirs in zip(fresh.posterior, other.posterior, strict=True):
        assert torch.equal(ours, theirs)


def test_a_first_step_within_a_sequence_forgets_too_and_any_other_remembers():
    agent = make()
    batch, noise = random_batch(agent), Noise(0, CPU).draw("update", 0, agent.update_noise())
    batch["is_first"][:] = 0
    batch["is_first"][0, 1] = 1
    carries = agent.initial_carry(2), random_carry(agent)
    first, second = (agent.world_model.loss(batch, carry, noise["posterior"]).posterior.deter for carry in carries)
    same = (first == second).all(-1)
    assert same.tolist() == [[False, True, True], [False, False, False]]


def test_the_carry_is_the_state_after_the_batch():
    agent = make()
    batch = random_batch(agent)
    noise = Noise(0, CPU).draw("update", 0, agent.update_noise())
    posterior = agent.world_model.loss(batch, random_carry(agent), noise["posterior"]).posterior
    carry, _ = agent.update(batch, random_carry(agent), noise)
    for ours, theirs in zip(carry, posterior, strict=True):
        assert torch.equal(ours, theirs[:, -1])
        assert not ours.requires_grad


def test_an_update_is_a_function_of_what_goes_in():
    agents = [make() for _ in range(2)]
    found = []
    for agent in agents:
        torch.rand(7)  # the global generator plays no part
        update(agent, random_batch(agent))
        found.append(parameters(agent))
    assert changed(*found) == set()


def test_the_policy_steps_as_the_world_model_does():
    """Acting step by step passes through the states that training on the same sequence passes through."""
    agent = make()
    batch = random_batch(agent)
    batch["is_first"][:, 0] = 1
    u = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0))
    expected = agent.world_model.loss(batch, agent.initial_carry(2), u).posterior
    carry = agent.initial_policy_carry(2)
    for t in range(3):
        obs = {"image": batch["image"][:, t], "is_first": batch["is_first"][:, t]}
        noise = {"latent": u[:, t], "action": torch.rand(2, 2)}
        carry = carry._replace(action=batch["action"][:, t])
        _, carry = agent.policy(obs, carry, noise, "sample")
        assert torch.allclose(carry.state.deter, expected.deter[:, t], atol=1e-6)
        assert torch.allclose(carry.state.stoch, expected.stoch[:, t], atol=1e-6)
