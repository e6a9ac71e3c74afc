"""The parts of the objective against what the mathematics, NumPy and SciPy say."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar

from agent.behavior import lambda_return
from agent.distributions import MSE, Bernoulli, OneHot, TruncatedNormal
from agent.harmonizer import Objective
from agent.rssm import kl_losses
from agent.settings import BalancedKL, Harmonizer
from tests.agent.small import make

numbers = st.floats(-100, 100, width=32)
means, stds = st.floats(-1, 1), st.floats(0.1, 2.1)
uniform = st.floats(0, 1, exclude_max=True, width=32)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


@given(
    st.integers(1, 6).flatmap(
        lambda n: st.tuples(*(st.lists(numbers, min_size=n, max_size=n) for _ in range(2)),
                            st.lists(st.floats(0, 1), min_size=n, max_size=n))
    ),
    numbers, st.floats(0, 1),
)  # fmt: skip
def test_the_lambda_return_is_its_recursion(sequence, last, lambda_):
    reward, value, discount = map(np.array, sequence)
    value = np.append(value, last)
    expected, following = np.zeros(len(reward)), last
    for t in reversed(range(len(reward))):
        following = reward[t] + discount[t] * ((1 - lambda_) * value[t + 1] + lambda_ * following)
        expected[t] = following
    found = lambda_return(tensor(reward)[:, None], tensor(value)[:, None], tensor(discount)[:, None], lambda_)
    assert found.shape == (len(reward), 1)
    assert np.allclose(found[:, 0], expected, rtol=1e-9, atol=1e-9)


def test_the_lambda_return_spans_one_step_to_the_whole_sequence():
    reward, value, discount = (
        tensor([[1.0], [2.0], [3.0]]),
        tensor([[10.0], [20.0], [30.0], [40.0]]),
        tensor([[0.5]] * 3),
    )
    assert lambda_return(reward, value, discount, 0.0).flatten().tolist() == [11.0, 17.0, 23.0]
    assert lambda_return(reward, value, discount, 1.0).flatten().tolist() == [1 + 1 + 0.75 + 5, 2 + 1.5 + 10, 23.0]


@given(mean=means, std=stds, u=uniform)
@settings(max_examples=200)
def test_a_truncated_normal_samples_by_its_quantiles(mean, std, u):
    dist = TruncatedNormal(torch.tensor([mean]), torch.tensor([std]))
    mean, std = dist.mean.item(), dist.std.item()
    reference = stats.truncnorm((-1 - mean) / std, (1 - mean) / std, mean, std)
    sample = dist.sample(torch.tensor([u])).item()
    assert -1 < sample < 1
    # In float32 the quantile is off by some 1e-7; samples keep 1e-6 from the bounds.
    assert abs(reference.cdf(sample) - u) < 2e-6 + 1.1e-6 * reference.pdf(sample)
    assert dist.log_prob(torch.tensor([sample])).item() == pytest.approx(reference.logpdf(sample), abs=2e-4)
    assert dist.entropy().item() == pytest.approx(float(reference.entropy()), abs=2e-3)


precisions = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])


@pytest.fixture(scope="module")
def behavior():
    """One whose actor's first outputs for features (raw, spread, 0, ...) are these two."""
    made = make("dreamerv2", "behavior.actor={layers: 0, units: 1}").behavior
    for column, layer in enumerate((made.actor_net.out["out"], made.actor_net.out["std"])):
        layer.weight.data.zero_()
        layer.weight.data[0, column] = 1
    return made


@given(raw=st.floats(-10, 10, width=16), spread=st.floats(-10, 10, width=16), u=uniform, precision=precisions)
@settings(max_examples=400)
def test_a_continuous_action_is_inside_and_differentiable_in_every_precision(behavior, raw, spread, u, precision):
    """The actor's network may compute in half precision; an action out of bounds, or none, would end the run."""
    features = torch.zeros(1, behavior.actor_net.out["out"].in_features)
    features[0, :2] = torch.tensor([raw, spread])
    behavior.zero_grad()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        dist = behavior.actor(features)
        sample = dist.sample(torch.full((1, 2), u))
        (sample.sum() + dist.entropy() + dist.log_prob(sample.detach())).sum().backward()
    assert (sample.abs() < 1).all()
    assert (dist.mode.abs() <= 1).all()
    for layer in behavior.actor_net.out.values():
        assert layer.bias.grad.isfinite().all()


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=12), uniform)
def test_a_categorical_samples_by_its_cdf(logits, u):
    dist = OneHot(torch.tensor(logits))
    probs = np.exp(np.array(logits) - np.logaddexp.reduce(logits))
    sample = dist.sample(torch.tensor(u))
    index = int(sample.argmax())
    assert sample.detach().sum() == pytest.approx(1, abs=1e-5)
    below, above = probs[:index].sum(), probs[: index + 1].sum()
    assert below - 1e-6 <= u <= above + 1e-6
    assert dist.log_prob(sample).item() == pytest.approx(np.log(probs[index]), abs=1e-4)
    assert dist.entropy().item() == pytest.approx(stats.entropy(probs), abs=1e-4)
    assert dist.mode.sum() == 1
    assert probs[int(dist.mode.argmax())] == pytest.approx(probs.max(), rel=1e-5)


def test_a_categorical_s_frequencies_are_its_probabilities():
    probs = torch.tensor([0.1, 0.0, 0.6, 0.3])
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    sample = OneHot(probs.log().expand(20_000, 4)).sample(u)
    counts = sample.sum(0)
    assert counts[1] == 0
    keep = probs > 0
    assert stats.chisquare(counts[keep].numpy(), (20_000 * probs[keep]).numpy(), sum_check=False).pvalue > 1e-3


def test_a_sample_hands_its_gradient_to_the_probabilities():
    logits = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 4.0])
    (OneHot(logits).sample(torch.tensor(0.5)) * weights).sum().backward()
    through_sample = logits.grad.clone()
    logits.grad = None
    (torch.softmax(logits, 0) * weights).sum().backward()
    assert torch.allclose(through_sample, logits.grad)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=8))
def test_the_kl_of_categoricals_is_scipy_s(pairs):
    p, q = (torch.tensor(logits) for logits in zip(*pairs, strict=True))
    expected = stats.entropy(torch.softmax(p.double(), 0), torch.softmax(q.double(), 0))
    assert OneHot(p).kl(OneHot(q)).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("free", [0.0, 100.0])
def test_the_balanced_kl_pulls_the_prior_harder_and_stops_below_the_free_nats(free):
    generator = torch.Generator().manual_seed(0)
    post, prior = (torch.randn(2, 3, 4, 5, generator=generator, requires_grad=True) for _ in range(2))
    losses, value = kl_losses(post, prior, BalancedKL(kind="balanced", free=free, balance=0.8))
    (loss,) = losses.values()
    loss.backward()
    plain_post, plain_prior = post.detach().requires_grad_(), prior.detach().requires_grad_()
    plain = OneHot(plain_post).kl(OneHot(plain_prior)).sum(-1)
    plain.mean().backward()
    assert torch.allclose(value, plain)
    share = 0.0 if free else 1.0
    assert torch.allclose(post.grad, share * 0.2 * plain_post.grad, atol=1e-7)
    assert torch.allclose(prior.grad, share * 0.8 * plain_prior.grad, atol=1e-7)
    assert loss.item() == pytest.approx(max(plain.mean().item(), free), rel=1e-5)


def objective(form, **scales):
    keys = ["reward", "image", "kl"]
    settings = Harmonizer(
        form=form,
        losses=keys if form != "none" else [],
        ignore_scales=False,
        drop_others=False,
        share_regulariser=False,
    )
    return Objective(keys, settings, scales)


@given(st.floats(1e-3, 1e4))
def test_the_rectified_loss_is_least_at_its_closed_form(loss):
    """sigma* = (L + sqrt(L^2 + 4 L)) / 2, the weight 1 / sigma* stays below 1 (HarmonyDream, section 3.2)."""
    module = objective("rectified")

    def total(s):
        module.s["image"].data.fill_(s)
        with torch.no_grad():
            return module({"reward": torch.zeros(()), "image": torch.tensor(loss), "kl": torch.zeros(())}).item()

    expected = (loss + np.sqrt(loss**2 + 4 * loss)) / 2
    at = np.log(expected)
    assert total(at) <= min(total(at - 0.1), total(at + 0.1))
    module.s["image"].data.fill_(at)
    module({"reward": torch.zeros(()), "image": torch.tensor(loss), "kl": torch.zeros(())}).backward()
    assert abs(module.s["image"].grad.item()) < 1e-4 * max(1, loss / expected)


@pytest.mark.parametrize("loss", [0.01, 1.0, 2500.0])
def test_the_least_rectified_loss_is_also_found_by_search(loss):
    def total(s):
        return loss * np.exp(-s) + np.log1p(np.exp(s))

    found = minimize_scalar(total, bounds=(-10, 12), method="bounded")
    assert np.exp(found.x) == pytest.approx((loss + np.sqrt(loss**2 + 4 * loss)) / 2, rel=1e-3)


@pytest.mark.parametrize(("form", "constant"), [("none", 0.0), ("rectified", 3 * np.log(2)), ("unrectified", 0.0)])
def test_an_objective_starts_as_the_sum_of_its_losses(form, constant):
    losses = {"reward": torch.tensor([1.0, 3.0]), "image": torch.tensor(5.0), "kl": torch.tensor(0.5)}
    assert objective(form)(losses).item() == pytest.approx(2 + 5 + 0.5 + constant)
    assert objective("none", image=0.0, reward=10.0)(losses).item() == pytest.approx(20.5)


def test_an_objective_takes_neither_more_nor_fewer_losses_than_it_weighs():
    losses = dict.fromkeys(("reward", "image"), torch.tensor(1.0))
    with pytest.raises(AssertionError, match="are not those weighed"):
        objective("none")(losses)
    with pytest.raises(AssertionError, match="are not those weighed"):
        objective("none")({**losses, "kl": torch.tensor(1.0), "proprio": torch.tensor(1.0)})


def test_heads_score_as_the_reference_does():
    """MSE is halved and without its constant; a Bernoulli takes soft targets."""
    value = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert MSE(torch.zeros(2, 2), event_dims=1).log_prob(value).tolist() == [-2.5, -17.0]
    logit, target = torch.tensor(0.7), torch.tensor(0.99)
    p = torch.sigmoid(logit)
    assert Bernoulli(logit).log_prob(target).item() == pytest.approx(
        (target * p.log() + (1 - target) * (1 - p).log()).item(), rel=1e-5
    )
