"""Replay draws the sequences it says it draws, and a restored one goes on as if nothing had happened."""

import json
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from agent.chunks import HEADER
from agent.replay import Replay
from agent.settings import Batch
from agent.settings import Replay as Settings
from envs.errors import UserError

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=8)


def row(episode, step, last):
    """A row that says where it is from: the reward is the episode's number, the action the step's."""
    return {
        "image": np.full((1, 1, 3), step % 256, np.uint8),
        "action": np.array([step], np.float32),
        "reward": np.float32(episode),
        "is_first": np.float32(step == 0),
        "is_terminal": np.float32(last),
        "is_last": last,
    }


def add_episode(replay, number, steps):
    for step in range(steps + 1):
        replay.add(row(number, step, step == steps))


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes a replay with episodes of the given lengths (agent steps), each in a directory of its own."""
    chunk_of_some_rows = mock.patch("agent.replay.BYTES_PER_CHUNK", 200)

    def make_one(lengths=(), *, directory=None, size=2, length=6, seed=0, **changes):
        chosen = {"capacity": 2000, "min_length": 1, "max_length": 6, "prioritize_ends": 0, "one_stream": True}
        chosen |= {"unit": "episodes", "ongoing": False}
        directory = directory or tmp_path_factory.mktemp("replay")
        replay = Replay(directory, Settings(**(chosen | changes)), Batch(size=size, length=length), seed)
        for number, steps in enumerate(lengths):
            add_episode(replay, number, steps)
        return replay

    with chunk_of_some_rows:
        yield make_one


def sequences(batch):
    """The (episode, steps) of the sequences in a batch, cut where is_first says so, and where a batch row begins."""
    found = []
    for episode, step, first in zip(batch["reward"], batch["action"][..., 0], batch["is_first"], strict=True):
        starts = sorted({0, *np.flatnonzero(first)})
        for begin, end in zip(starts, [*starts[1:], len(first)], strict=True):
            found.append((episode[begin:end], step[begin:end]))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    episodes=lengths, low=st.integers(1, 10), more=st.integers(0, 10), ends=st.integers(0, 50),
    length=st.integers(2, 12), size=st.integers(1, 4), one_stream=st.booleans(), seed=st.integers(0, 2**40),
)  # fmt: skip
def test_every_sequence_is_a_stretch_of_one_episode(make, episodes, low, more, ends, length, size, one_stream, seed):
    shape = {"size": size, "length": length, "seed": seed, "one_stream": one_stream, "prioritize_ends": ends}
    replay = make(min_length=low, max_length=low + more, **shape)
    for number, steps in enumerate(episodes):
        add_episode(replay, number, steps)
    usable = [number for number, steps in enumerate(episodes) if steps >= low]
    assert replay.steps == sum(episodes[number] for number in usable)
    if not usable:
        return
    for draw in range(3):
        batch = replay.sample()
        assert batch["image"].shape == (size, length, 1, 1, 3)
        assert batch["image"].dtype == np.uint8
        assert {values.dtype for key, values in batch.items() if key != "image"} == {np.dtype(np.float32)}
        assert (batch["image"][..., 0, 0, 0] == batch["action"][..., 0]).all(), "keys are cut alike"
        for number, steps in sequences(batch):
            assert len(set(number)) == 1
            assert (np.diff(steps) == 1).all()
            assert number[0] in usable
            assert 0 <= steps[0] <= steps[-1] <= episodes[int(number[0])]
            assert len(steps) <= low + more
        if draw == 0:
            assert batch["is_first"][0, 0] == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.integers(5, 60), low=st.integers(1, 9), more=st.integers(0, 9), one_stream=st.booleans())
def test_is_first_is_where_a_sequence_starts_and_nowhere_else(make, steps, low, more, one_stream):
    """Laid end to end, the rows of a stream are sequences of the lengths that were asked for."""
    low = min(low, steps)
    replay = make([steps], size=3, length=7, min_length=low, max_length=low + more, one_stream=one_stream)
    batches = [replay.sample() for _ in range(12)]
    rows = [[batch[key][i] for batch in batches] for key in ("is_first", "action") for i in range(3)]
    first, step = rows[:3], rows[3:]
    if one_stream:  # consecutive rows of a batch are one stream
        first, step = ([[r[t] for t in range(12) for r in part]] for part in (first, step))
    for starts, numbers in zip(map(np.concatenate, first), map(np.concatenate, step), strict=True):
        assert starts[0] == 1
        begins = np.flatnonzero(starts)
        drawn = np.diff(begins)  # whole sequences; the last one may still be under way
        assert (drawn >= low).all()
        assert (drawn <= min(steps + 1, low + more)).all()
        jumps = np.flatnonzero(np.diff(numbers[:, 0]) != 1) + 1
        assert set(jumps) <= set(begins)


def test_one_stream_fills_row_after_row_and_streams_of_their_own_go_on_from_batch_to_batch(make):
    """The released code cuts rows from one stream: a row's next batch is then not what followed it."""
    goes_on = {}
    for one_stream in (True, False):
        replay = make([40] * 4, size=4, length=5, min_length=12, max_length=12, one_stream=one_stream)
        before, after = replay.sample(), replay.sample()
        next_row = [(before["reward"][i, -1], before["action"][i, -1] + 1) for i in range(4)]
        continued = after["is_first"][:, 0] == 0
        same = [next_row[i] == (after["reward"][i, 0], after["action"][i, 0]) for i in range(4) if continued[i]]
        goes_on[one_stream] = (continued.sum(), sum(same))
        assert (before["is_first"][1:, 0] == 0).any() == one_stream, "a batch's rows are one after the other"
    assert goes_on[False] == (4, 4)
    assert goes_on[True][1] == 0


def test_the_two_settings_of_one_stream_agree_where_each_sequence_fills_a_row(make):
    batches = [
        make([20] * 3, min_length=6, max_length=6, one_stream=one_stream).sample() for one_stream in (True, False)
    ]
    for key in batches[0]:
        assert np.array_equal(batches[0][key], batches[1][key])


def starts(replay, count):
    """Episode and first step of `count` sequences, drawn one to a row."""
    found = []
    while len(found) < count:
        batch = replay.sample()
        found += zip(batch["reward"][:, 0], batch["action"][:, 0, 0], strict=True)
    return np.array(found[:count])


def test_sequences_are_uniform_over_episodes_not_over_steps(make):
    replay = make([6, 10, 60, 200], size=100, length=6, min_length=6, max_length=6)
    counts = np.bincount(starts(replay, 8000)[:, 0].astype(int))
    assert stats.chisquare(counts).pvalue > 1e-4


def test_starts_are_uniform_within_an_episode(make):
    replay = make([20], size=100, length=6, min_length=6, max_length=6)
    counts = np.bincount(starts(replay, 8000)[:, 1].astype(int), minlength=16)
    assert len(counts) == 16, "21 rows hold 16 sequences of 6"
    assert stats.chisquare(counts).pvalue > 1e-4


def test_prioritised_ends_have_the_mass_of_the_released_code(make):
    """An episode of 500 steps has 501 rows: sequences of 50 end with it in 51 of 502 draws, 10.2 %."""
    replay = make([500], size=200, length=50, min_length=50, max_length=50, prioritize_ends=50)
    at_end = (starts(replay, 20000)[:, 1] == 451).sum()
    expected = 51 / (501 - 50 + 1 + 50)
    assert expected == pytest.approx(0.1016, abs=1e-4)
    assert stats.binomtest(int(at_end), 20000, expected).pvalue > 1e-4


def test_lengths_vary_below_the_longest_when_the_shortest_is_shorter(make):
    """length = longest - randint(shortest), as in the released code: min_length 4 and max_length 6 give 4 to 6."""
    replay = make([30], size=200, length=60, min_length=4, max_length=6)
    drawn = np.diff(np.flatnonzero(replay.sample()["is_first"].ravel()))
    found, counts = np.unique(drawn, return_counts=True)
    assert found.tolist() == [4, 5, 6]
    assert stats.chisquare(counts, np.array([0.5, 0.25, 0.25]) * counts.sum()).pvalue > 1e-4


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(episodes=lengths, capacity=st.integers(1, 100))
def test_the_oldest_whole_episodes_are_evicted_beyond_the_capacity(make, episodes, capacity):
    replay = make(episodes, capacity=capacity)
    kept = [n for n in range(len(episodes)) if sum(episodes[n:]) <= capacity or n == len(episodes) - 1]
    assert [number for number, *_ in replay.state()["episodes"]] == kept
    assert replay.steps == sum(episodes[n] for n in kept)
    assert set(starts(replay, 20)[:, 0]) <= set(kept)


def test_a_stream_in_an_evicted_episode_begins_anew(make):
    replay = make([30], size=1, length=5, min_length=20, max_length=20, capacity=40)
    replay.sample()
    add_episode(replay, 1, 39)
    batch = replay.sample()
    assert batch["is_first"][0, 0] == 1
    assert (batch["reward"] == 1).all()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    episodes=lengths, later=lengths, ongoing=st.integers(0, 12), one_stream=st.booleans(),
    capacity=st.integers(30, 100), unit=st.sampled_from(["episodes", "windows"]), draws_ongoing=st.booleans(),
)  # fmt: skip
def test_a_restored_replay_goes_on_as_the_one_that_was_saved(
    make, tmp_path_factory, episodes, later, ongoing, one_stream, capacity, unit, draws_ongoing
):
    directory = tmp_path_factory.mktemp("saved")
    shape = {"directory": directory, "capacity": capacity, "one_stream": one_stream, "length": 5, "seed": 7}
    shape |= {"unit": unit, "ongoing": draws_ongoing}
    replay = make([4, *episodes], **shape)
    for step in range(ongoing):
        replay.add(row(99, step, False))
    replay.sample()
    state = json.loads(json.dumps(replay.state()))

    def go_on(replay):
        found = [replay.sample()]
        replay.add(row(99, ongoing, True))
        for number, steps in enumerate(later, start=100):
            add_episode(replay, number, steps)
            found.append(replay.sample())
        return found, replay.state()

    expected, expected_state = go_on(replay)  # also writes rows that the restored one must write over
    restored = make(**shape)
    assert restored.load_state(state) == (0, True)
    found, found_state = go_on(restored)

    assert found_state == expected_state
    for ours, theirs in zip(found, expected, strict=True):
        for key in theirs:
            assert np.array_equal(ours[key], theirs[key])
            assert ours[key].dtype == theirs[key].dtype


def test_an_episode_under_way_is_drawn_from_if_the_settings_say_so(make):
    for ongoing in (False, True):
        replay = make([10], ongoing=ongoing, size=50, length=4, min_length=4, max_length=4)
        for step in range(6):
            replay.add(row(1, step, False))
        assert set(replay.sample()["reward"].ravel()) == ({0.0, 1.0} if ongoing else {0.0})


def test_a_stream_in_a_dropped_episode_begins_anew(make):
    replay = make(size=1, length=5, min_length=20, max_length=20, ongoing=True)
    for step in range(40):
        replay.add(row(0, step, False))
    replay.sample()
    replay.drop_ongoing()
    for step in range(21):
        replay.add(row(1, step, False))
    batch = replay.sample()
    assert batch["is_first"][0, 0] == 1
    assert (batch["reward"] == 1).all()


def test_the_seed_decides_what_is_drawn(make):
    first, same, other = (make([30] * 5, length=6, seed=seed).sample() for seed in (1, 1, 2))
    assert np.array_equal(first["action"], same["action"])
    assert not np.array_equal(first["action"], other["action"])


def test_a_dropped_episode_leaves_nothing(make):
    replay = make([10], size=100)
    replay.add(row(1, 0, False))
    replay.drop_ongoing()
    add_episode(replay, 2, 8)
    assert replay.steps == 18
    assert set(starts(replay, 100)[:, 0]) == {0, 2}


def test_an_environment_whose_episodes_are_all_too_short_is_told(make):
    replay = make([9] * 19, min_length=10, max_length=10)
    with pytest.raises(UserError, match=r"all of the first 20 episodes .* replay\.min_length = 10 agent steps"):
        add_episode(replay, 19, 9)


def test_files_that_two_checkpoints_can_do_without_are_removed(make, tmp_path):
    """What was evicted may still be named by the last checkpoint and by the one before it."""
    replay = make(directory=tmp_path, capacity=30)
    sizes, states = [], []
    for number in range(40):
        add_episode(replay, number, 9)
        states.append(replay.state())
        sizes.append(len(list(tmp_path.iterdir())))
        replay.saved()
    rows_per_chunk = 200 // 23
    assert max(sizes[10:]) <= 5 * 10 / rows_per_chunk + 3
    for state in states[:-3:-1]:
        restored = make(directory=tmp_path, capacity=30)
        assert restored.load_state(state) == (0, True)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(episodes=lengths, ongoing=st.integers(0, 20), chunk=st.integers(0, 100), at=st.integers(0, 200))
def test_a_damaged_chunk_costs_the_episodes_that_lie_in_it(make, tmp_path_factory, episodes, ongoing, chunk, at):
    directory = tmp_path_factory.mktemp("damaged")
    replay = make([12, *episodes], directory=directory, size=100, length=4, ongoing=True)
    for step in range(ongoing):
        replay.add(row(99, step, False))
    state = replay.state()
    paths = sorted(directory.iterdir())
    path = paths[chunk % len(paths)]
    flip(path, at)
    damaged_from = int(path.stem.removeprefix("rows_"))
    damaged = set(range(damaged_from, damaged_from + 200 // 23))

    restored = make(directory=directory, size=100, length=4, ongoing=True)
    count, whole = restored.load_state(state)
    assert count == 1
    assert not path.exists()
    assert path.with_name(path.name + ".damaged").exists()
    kept = [number for number, start, stop in state["episodes"] if not damaged & set(range(start, stop))]
    assert list(number for number, *_ in restored.state()["episodes"]) == kept
    assert whole == (not damaged & set(range(state["begin"], state["chunks"]["rows"])))
    if not whole:
        restored.drop_ongoing()
    add_episode(restored, 50, 15)
    assert set(restored.sample()["reward"].ravel()) <= {*kept, 50, 99 if whole else 50}


def flip(path, at):
    """Change one bit of a row, or of the header's text."""
    data = bytearray(path.read_bytes())
    at = at % (len(data) - HEADER + 100)
    data[HEADER - 100 + at if at >= 100 else at] ^= 16
    path.write_bytes(bytes(data))
