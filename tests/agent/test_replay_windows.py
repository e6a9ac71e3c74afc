"""Windows: stretches of rows as they came, drawn uniformly, over the ends of episodes and into the one under way."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from agent.replay import Replay
from agent.settings import Batch
from agent.settings import Replay as Settings

episodes = st.lists(st.integers(1, 20), max_size=6)  # agent steps of each
any_replay = {"max_examples": 40, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Makes a replay of windows; each in a directory of its own unless told."""

    def make_one(*, directory=None, size=3, length=6, seed=0, **changes):
        chosen = {"capacity": 10**6, "unit": "windows", "ongoing": True, "min_length": 1, "max_length": 6}
        chosen |= {"prioritize_ends": 0, "one_stream": False}
        directory = directory or tmp_path_factory.mktemp("windows")
        return Replay(directory, Settings(**(chosen | changes)), Batch(size=size, length=length), seed)

    return make_one


class Stream:
    """Feeds a replay with rows whose reward is their place among all rows that ever came, from 0."""

    def __init__(self, replay):
        self.replay, self.rows = replay, []

    def episode(self, steps, ends=True):
        for step in range(steps + 1):
            last = ends and step == steps
            row = {
                "image": np.full((1, 1, 3), step, np.uint8),
                "action": np.array([len(self.rows)], np.float32),
                "reward": np.float32(len(self.rows)),
                "is_first": np.float32(step == 0),
                "is_terminal": np.float32(last),
                "is_last": last,
            }
            self.rows.append(row)
            self.replay.add(row)

    def column(self, key):
        return np.array([row[key] for row in self.rows])


def fill(replay, lengths, ongoing=-1):
    """Episodes of these lengths and, from 0 on, `ongoing` steps of one that has not ended."""
    stream = Stream(replay)
    for steps in lengths:
        stream.episode(steps)
    if ongoing >= 0:
        stream.episode(ongoing, ends=False)
    return stream


@settings(**any_replay)
@given(lengths=episodes, ongoing=st.integers(-1, 20), length=st.integers(2, 15), size=st.integers(1, 4))
def test_a_window_is_a_stretch_of_the_rows_in_the_order_they_came(make, lengths, ongoing, length, size):
    replay = make(length=length, size=size)
    stream = fill(replay, lengths, ongoing)
    assert replay.ready == (len(stream.rows) >= length)
    if not replay.ready:
        return
    for _ in range(5):
        batch = replay.sample()
        assert batch["image"].shape == (size, length, 1, 1, 3)
        assert {str(values.dtype) for values in batch.values()} == {"uint8", "float32"}
        place = batch["reward"].astype(int)
        assert (np.diff(place) == 1).all()
        for key in ("image", "action", "is_terminal"):
            assert (batch[key] == stream.column(key)[place]).all()
        assert (batch["is_first"][:, 0] == 1).all(), "no state is carried into a window"
        assert (batch["is_first"][:, 1:] == stream.column("is_first")[place][:, 1:]).all()


@pytest.mark.parametrize("ongoing", [-1, 9])
def test_windows_are_uniform_over_all_starts(make, ongoing):
    """Not over episodes: short ones and the ends of all are drawn no more than what lies between."""
    replay = make(size=100, length=6)
    rows = len(fill(replay, [3, 14, 1, 8], ongoing).rows)
    starts = np.concatenate([replay.sample()["reward"][:, 0] for _ in range(100)])
    counts = np.bincount(starts.astype(int))
    assert len(counts) == rows - 6 + 1
    assert stats.chisquare(counts).pvalue > 1e-4


def test_the_episode_under_way_is_drawn_only_where_that_is_set(make):
    found = {}
    for ongoing in (True, False):
        replay = make(size=200, ongoing=ongoing)
        fill(replay, [9], 9)  # ten rows each
        found[ongoing] = replay.sample()["reward"].max()
    assert found == {True: 19, False: 9}


@settings(**any_replay)
@given(
    lengths=st.lists(st.integers(4, 20), min_size=1, max_size=5),
    ongoing=st.integers(-1, 12),
    more=episodes,
    capacity=st.integers(15, 60),
)
def test_a_restored_replay_goes_on_as_the_one_that_was_saved(make, tmp_path_factory, lengths, ongoing, more, capacity):
    shape = {"directory": tmp_path_factory.mktemp("saved"), "capacity": capacity, "length": 5}
    replay = make(**shape)
    stream = fill(replay, lengths, ongoing)
    replay.sample()
    state = replay.state()

    def go_on(replay):
        stream.replay, found = replay, [replay.sample()]
        for steps in more:
            stream.episode(steps)
            found.append(replay.sample())
        return found, replay.state()

    kept = list(stream.rows)
    expected, expected_state = go_on(replay)
    stream.rows = kept
    restored = make(**shape)
    restored.load_state(state)
    found, found_state = go_on(restored)
    assert found_state == expected_state
    for ours, theirs in zip(found, expected, strict=True):
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


def test_the_oldest_episode_is_evicted_once_those_after_it_hold_a_window(make):
    """An episode longer than the capacity is over it alone: a short one after it must not leave too little to draw."""
    replay = make(size=50, length=6, capacity=15)
    stream = fill(replay, [20])
    for steps, oldest_row in ((1, 0), (2, 0), (0, 21)):  # 2, 3 and 1 rows after the first episode's 21
        stream.episode(steps)
        assert replay.sample()["reward"].min() == pytest.approx(oldest_row, abs=3)
