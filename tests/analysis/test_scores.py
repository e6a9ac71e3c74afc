"""The aggregate statistics and their intervals, against independent implementations and known truths."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from analysis import bootstrap, scores

STATISTICS = [scores.mean, scores.median, scores.iqm, scores.optimality_gap]
matrices = arrays(
    float, st.tuples(st.integers(2, 6), st.integers(1, 7)), elements=st.floats(-100, 100, allow_subnormal=False)
)


@settings(deadline=None)
@given(matrices)
def test_iqm_is_scipys_trimmed_mean(m):
    assert scores.iqm(m) == pytest.approx(stats.trim_mean(m, 0.25, axis=None), abs=1e-9)


@settings(deadline=None)
@given(matrices, st.sampled_from(STATISTICS))
def test_a_batch_gives_each_matrix_its_own_value(m, statistic):
    batch = np.stack([m, m + 1, -m])
    assert statistic(batch) == pytest.approx([float(statistic(x)) for x in batch], abs=1e-9)


def test_known_values():
    m = np.array([[0.0, 2.0, 4.0], [1.0, 2.0, 9.0]])
    assert scores.mean(m) == 3.0
    assert scores.median(m) == 2.0
    assert scores.optimality_gap(m) == pytest.approx(1 / 6)
    assert scores.probability_of_improvement(m, m) == 0.5
    assert scores.probability_of_improvement(m, np.array([[0.5, 1.0, 5.0]])) == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert scores.performance_profile(m, [-1, 0, 3, 9]).tolist() == [1, 5 / 6, 2 / 6, 0]
    assert scores.normalise([[10.0, 5.0]], [0.0, 5.0], [20.0, 6.0]).tolist() == [[0.5, 0.0]]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_score_is_refused(statistic, bad):
    m = np.ones((3, 4))
    m[1, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        statistic(m)


def test_a_normaliser_without_scale_is_refused():
    with pytest.raises(ValueError, match="equal"):
        scores.normalise([[1.0]], [3.0], [3.0])


@settings(deadline=None)
@given(st.floats(-10, 10), st.sampled_from(STATISTICS))
def test_a_constant_matrix_has_a_zero_width_interval(value, statistic):
    found = bootstrap.interval(np.full((5, 3), value), statistic, replicates=50)
    assert found.low == found.value == found.high


@settings(deadline=None)
@given(matrices, st.sampled_from(STATISTICS), st.randoms(use_true_random=False))
def test_permuting_the_seeds_of_a_task_changes_nothing(m, statistic, random):
    permuted = np.array([random.sample(list(column), len(column)) for column in m.T]).T
    found = [bootstrap.interval(x, statistic, replicates=50) for x in (m, permuted)]
    assert found[0] == found[1]


def test_the_seed_decides_the_interval():
    m = np.random.default_rng(0).normal(size=(5, 26))
    same = [bootstrap.interval(m, scores.iqm, replicates=200, seed=7) for _ in range(2)]
    other = bootstrap.interval(m, scores.iqm, replicates=200, seed=8)
    assert same[0] == same[1]
    assert other.value == same[0].value
    assert other != same[0]


def test_one_run_per_task_has_no_interval():
    found = bootstrap.interval([[1.0, 2.0]], scores.mean)
    assert found.value == 1.5
    assert np.isnan([found.low, found.high]).all()


def test_runs_are_resampled_within_their_task():
    m = np.array([[0.0, 100.0]] * 5)  # tasks differ, runs do not: resampling across tasks would give a width
    m[0, 0] = 1e-6
    found = bootstrap.interval(m, scores.mean, replicates=200)
    assert found.high - found.low < 1e-5


@pytest.mark.parametrize(("runs", "tasks"), [(5, 26), (5, 3), (10, 1)])
@pytest.mark.parametrize("statistic", [scores.mean, scores.iqm])
def test_intervals_cover_the_truth_in_about_95_of_100_experiments(runs, tasks, statistic):
    rng = np.random.default_rng(3)
    trials = 300
    found = [
        bootstrap.interval(rng.normal(size=(runs, tasks)), statistic, replicates=500, seed=i) for i in range(trials)
    ]
    covered = np.mean([i.low <= 0 <= i.high for i in found])
    assert 0.91 <= covered <= 0.985  # 95 % +- 3 standard errors of 300 trials


def test_a_difference_covers_the_truth_in_about_95_of_100_experiments():
    rng = np.random.default_rng(4)
    found = [
        bootstrap.difference(rng.normal(1, 1, (5, 6)), rng.normal(0, 2, (8, 6)), scores.mean, replicates=500, seed=i)
        for i in range(300)
    ]
    assert 0.91 <= np.mean([i.low <= 1 <= i.high for i in found]) <= 0.985


def test_fifty_thousand_replicates_of_26_games_take_seconds():
    m = np.random.default_rng(5).normal(size=(5, 26))
    start = time.process_time()
    for statistic in STATISTICS:
        bootstrap.interval(m, statistic, replicates=50_000)
    assert time.process_time() - start < 8
