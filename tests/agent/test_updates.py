"""Updates wait for nothing, break on nothing, and are the same wherever and whenever they are done."""

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from agent.config import names
from agent.noise import Noise
from tests.agent.small import BOX, CPU, DISCRETE, MULTI, changed, make, parameters, random_batch, random_carry, update

METHODS = [name for name in names("methods") if not ("dreamerv3" in name and name.endswith("_clean"))]


WAITING = {
    "_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "_unique2", "bincount",
    "repeat_interleave", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__array__",
}  # fmt: skip


class Operations(TorchDispatchMode):
    """Counts the operations, optimisers' included, whose values go to the host or decide about shapes."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        indexed_by_mask = name == "index" and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITING or indexed_by_mask:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


class Calls(TorchFunctionMode):
    """Counts the methods that read a tensor on the host: where it lies in the host's memory, no operation shows it."""

    def __init__(self, found):
        super().__init__()
        self.found = found

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if (name := getattr(function, "__name__", "")) in WAITING:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def synchronisations():
    """Counts what waits for the device to hand over a value."""
    found = Counter()
    with Operations(found), Calls(found):
        yield found


@pytest.mark.parametrize("method", ["harmony_dreamerv2", "harmony_dreamerv3", "harmony_dreamerv3_torch"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("action", [BOX, DISCRETE, MULTI], ids=["box", "discrete", "multi_discrete"])
def test_an_update_never_waits_for_the_device(method, action, precision):
    settings = (f"precision={precision}", "world_model.predict_discount=true")
    agent = make(method, *settings, action=action, proprio=3)
    batch = random_batch(agent)
    for number in range(2):  # the first makes the optimisers' state
        noise, carry = Noise(0, CPU).draw("update", number, agent.update_noise()), random_carry(agent)
        with synchronisations() as found:
            agent.update(batch, carry, noise)
        assert found == {}


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: torch.nonzero(x),
        lambda x: x.tolist(),
        lambda x: x.numpy(),
        lambda x: float(x.sum()),
    ],
)
def test_the_count_finds_what_waits(wait, monkeypatch):
    agent = make()
    forward = agent.world_model.loss

    def waiting(*arguments):
        out = forward(*arguments)
        wait(out.kl)
        return out

    monkeypatch.setattr(agent.world_model, "loss", waiting)
    batch, carry = random_batch(agent), random_carry(agent)
    noise = Noise(0, CPU).draw("update", 0, agent.update_noise())
    with synchronisations() as found:
        agent.update(batch, carry, noise)
    assert found.total() >= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_cuda_agrees_that_an_update_never_waits(precision):
    agent = make("harmony_dreamerv2", f"precision={precision}", device=torch.device("cuda"))
    batch, carry = random_batch(agent), random_carry(agent)
    noise = Noise(0, agent.device)
    for number in range(3):
        drawn = noise.draw("update", number, agent.update_noise())
        torch.cuda.set_sync_debug_mode("error" if number else "default")
        try:
            carry, _ = agent.update(batch, carry, drawn)
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", ["harmony_dreamerv2", "harmony_dreamerv3"])
@pytest.mark.parametrize("key", ["reward", "action"])
def test_a_batch_that_is_not_finite_changes_no_parameter_and_is_counted(method, key):
    agent = make(method)
    good, bad = random_batch(agent), random_batch(agent)
    carry, metrics = update(agent, good, agent.initial_carry(2))
    assert metrics["model/skipped"] == 0
    before, moments = parameters(agent), agent.optimizers["model"].adam.state_dict()["state"][0]
    moments = {name: value.clone() for name, value in moments.items()}
    bad[key][0, 1] = torch.nan

    carry, metrics = update(agent, bad, carry, number=1)

    assert metrics["model/skipped"] == 1
    model = {name for name in changed(before, parameters(agent)) if name.startswith("world_model")}
    assert model == set()
    after = agent.optimizers["model"].adam.state_dict()["state"][0]
    assert all(torch.equal(after[name], value) for name, value in moments.items()), "nor does Adam remember it"
    if key == "action":  # everything imagined is not finite either
        assert metrics["actor/skipped"] == metrics["critic/skipped"] == 1
        assert changed(before, parameters(agent)) == set()
    good["is_first"][:, 0] = 1
    _, metrics = update(agent, good, carry, number=2)
    for name in agent.optimizers:
        assert metrics[f"{name}/skipped"] == 0, "a new episode forgets it"
    assert all(value.isfinite().all() for value in parameters(agent).values())


@pytest.mark.parametrize("method", ["harmony_dreamerv2", "harmony_dreamerv3"])
@pytest.mark.parametrize("action", [BOX, DISCRETE], ids=["box", "discrete"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_stays_finite_and_near_float32(precision, action, method):
    exact, agent = (make(method, f"precision={p}", action=action) for p in ("float32", precision))
    batch, before = random_batch(agent), parameters(agent)
    carry = agent.initial_carry(2)
    for number in range(12):  # float16 first finds its loss scale
        carry, metrics = update(agent, batch, carry, number)
        if number == 0:
            expected = update(exact, batch, exact.initial_carry(2), 0)[1]
            for key in ("loss/image", "loss/reward", "loss/model"):
                assert metrics[key].item() == pytest.approx(expected[key].item(), rel=0.03)
    values = [*parameters(agent).values(), *carry, *(metrics[key] for key in metrics if "grad_norm" not in key)]
    assert all(value.isfinite().all() for value in values)
    assert all(metrics[f"{name}/skipped"] == 0 for name in agent.optimizers)
    assert {value.dtype for value in parameters(agent).values()} == {torch.float32}
    assert len(changed(before, parameters(agent))) > 30


@pytest.mark.parametrize("method", METHODS)
def test_two_hundred_updates_of_each_method_stay_finite(method):
    agent = make(method, "batch.length=2", "replay.min_length=2", "replay.max_length=2")
    carry, found = agent.initial_carry(2), []
    for number in range(200):
        carry, metrics = update(agent, random_batch(agent, number % 8), carry, number)
        found.append(torch.stack([value.float() for value in metrics.values()]))
    assert torch.stack(found).isfinite().all()
    assert all(value.isfinite().all() for value in parameters(agent).values())
    assert found[-1][list(metrics).index("loss/model")] < found[0][list(metrics).index("loss/model")]
