"""Random numbers are a function of (seed, stream, number), and unlike for any two of these."""

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from agent.noise import Draw, Noise, stream_rng, stream_seed
from tests.agent.small import CPU

keys = st.tuples(st.integers(0, 2**63), st.sampled_from(["update", "train_policy", "replay"]), st.integers(0, 2**40))


@given(keys, keys)
def test_equal_keys_have_equal_seeds_and_no_others(first, second):
    assert (stream_seed(*first) == stream_seed(*second)) == (first == second)
    assert (stream_rng(*first).random() == stream_rng(*second).random()) == (first == second)


def test_a_draw_depends_on_its_key_and_not_on_what_was_drawn_before():
    draws = {"latent": Draw((3, 2)), "action": Draw((3, 2)), "normal": Draw((2000,), normal=True)}
    noise = Noise(1, CPU)
    first, other_number, other_stream = (noise.draw(s, n, draws) for s, n in (("a", 0), ("a", 1), ("b", 0)))
    again = Noise(1, CPU).draw("a", 0, draws)
    assert all(torch.equal(first[name], again[name]) for name in draws)
    unlike = [first, other_number, other_stream, Noise(2, CPU).draw("a", 0, draws)]
    assert not any(torch.equal(a["latent"], b["latent"]) for a, b in pairwise([*unlike, first]))
    assert not torch.equal(first["latent"], first["action"])
    assert first["normal"].min() < 0
    assert 0 <= first["latent"].min() <= first["latent"].max() < 1
    assert abs(first["normal"].std() - 1) < 0.1
