import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis import plots, profiles, published, tables
from analysis.collected import ALL_TASKS, FAULTS, PUBLISHED, Collected
from analysis.curves import curves
from analysis.errors import InputError

RANDOM_PONG, HUMAN_PONG = -20.7, 14.6
RANDOM_BOXING, HUMAN_BOXING = 0.1, 12.1


def experiment(rule: str, tasks: list[str], methods: list[str] | None = None) -> Collected:
    return Collected(
        directory=Path(), name="x", title="50 % of A_B & C", description="", score_rule=rule, benchmark="atari100k",
        variant="quickstart", tasks=tasks, methods=methods or ["dreamerv2"], frames_per_step=4,
    )  # fmt: skip


def episodes(scores: dict[str, list[list[float]]], method: str = "dreamerv2") -> pd.DataFrame:
    """`scores`: for each task and seed the return at env frame 400, 800, ..., of two episodes around it."""
    rows = [
        (task, method, seed, 400 * (i + 1), value + noise)
        for task, seeds in scores.items()
        for seed, values in enumerate(seeds)
        for i, value in enumerate(values)
        for noise in (-1.0, 1.0)
    ]
    return pd.DataFrame(rows, columns=["task", "method", "seed", "env_frame", "return"])


def provenance(data: pd.DataFrame, **faults: int) -> pd.DataFrame:
    """A row for each run, with its faults, which are none unless given."""
    return data[["task", "method", "seed"]].drop_duplicates().assign(**dict.fromkeys(FAULTS, 0) | faults)


def test_a_curve_is_the_mean_over_episodes_and_seeds() -> None:
    table = curves(experiment("final_policy_return", ["pong"]), episodes({"pong": [[1, 2], [3, 6]]}))
    assert table[["task", "env_frame", "value", "seeds", "unit"]].to_numpy().tolist() == [
        ["pong", 400, 2, 2, "return"],
        ["pong", 800, 4, 2, "return"],
    ]
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["value"] <= table["ci_high"]).all()


def test_all_tasks_are_averaged_in_the_unit_of_the_score_rule() -> None:
    halfway = [[(RANDOM_PONG + HUMAN_PONG) / 2]], [[(RANDOM_BOXING + HUMAN_BOXING) / 2]]
    found = curves(
        experiment("final_policy_human_normalised", ["pong", "boxing"]),
        episodes({"pong": halfway[0], "boxing": halfway[1]}),
    )
    together = found[found["task"] == ALL_TASKS]
    assert together["value"].tolist() == pytest.approx([0.5])
    assert together["unit"].tolist() == ["fraction of human"]
    assert together["ci_low"].isna().all(), "one run has no interval"


def test_a_run_that_lacks_an_evaluation_is_named() -> None:
    data = episodes({"pong": [[1, 2], [3, 6], [5, 7]]})
    cut = data[(data["seed"] != 1) | (data["env_frame"] == 400)]
    with pytest.raises(InputError, match=r"seed 1: 0 rows at env_frame 800"):
        curves(experiment("final_policy_return", ["pong"]), cut)


def test_the_authors_curves_stand_beside_ours_where_the_method_has_the_same_name() -> None:
    mine = experiment("last_evaluation_human_normalised", ["pong", "boxing"], ["dreamerv2", "dreamerv3"])
    scores = {"pong": [[1.0, 2.0]], "boxing": [[1.0, 2.0]]}
    found = curves(mine, pd.concat([episodes(scores, method) for method in mine.methods]))
    theirs = found[found["source"] == PUBLISHED]
    assert set(theirs["method"]) == {"dreamerv3"}
    released = published.read("atari100k_curves.csv").query("method == 'dreamerv3' and env_frame == 400_000")
    means = released.groupby("task")["return"].mean()
    last = theirs[theirs["env_frame"] == 400_000].set_index("task")["value"]
    assert last["pong"] == pytest.approx(means["pong"])
    human = [
        (means[task] - low) / (high - low)
        for task, low, high in (("pong", RANDOM_PONG, HUMAN_PONG), ("boxing", RANDOM_BOXING, HUMAN_BOXING))
    ]
    assert last[ALL_TASKS] == pytest.approx(np.mean(human))
    labels = [text.get_text() for text in plots.curves(found).legends[0].get_texts()]
    assert labels == ["dreamerv2", "dreamerv3", "dreamerv3, published"]


@pytest.mark.parametrize("change", [{"benchmark": "distractor"}, {"score_rule": "last_evaluation_success"}])
def test_no_published_curve_of_another_benchmark_or_metric_is_drawn(change: dict[str, str]) -> None:
    mine = experiment("last_evaluation_return", ["pong"], ["dreamerv3"])
    assert not mine.released().empty
    assert dataclasses.replace(mine, **change).released().empty


@given(arrays(float, st.tuples(st.integers(2, 4), st.integers(2, 3)), elements=st.floats(-1, 9)))
@settings(max_examples=20, deadline=None)
def test_a_profile_is_the_fraction_above(scores: np.ndarray) -> None:
    found = profiles.profiles({("dreamerv2", "ours"): pd.DataFrame(scores)}, "return")
    assert found["value"].tolist() == [(scores > threshold).mean() for threshold in found["threshold"]]
    assert found["threshold"].is_monotonic_increasing
    assert (found["ci_low"] <= found["value"]).all()
    assert (found["ci_high"] >= found["value"]).all()


@pytest.mark.parametrize(("last_frame", "sources"), [(400_000, {"ours", PUBLISHED}), (300_000, {"ours"})])
def test_profiles_of_unlike_budgets_are_not_put_together(tmp_path: Path, last_frame: int, sources: set[str]) -> None:
    data = episodes({"pong": [[1.0], [2.0]], "boxing": [[3.0], [4.0]]}, "dreamerv3").assign(env_frame=last_frame)
    data.to_csv(tmp_path / "evaluations.csv")
    mine = experiment("last_evaluation_human_normalised", ["pong", "boxing"], ["dreamerv3"])
    found = profiles.matrices(dataclasses.replace(mine, directory=tmp_path))
    assert {source for _, source in found} == sources


def test_the_score_table() -> None:
    data = episodes({"pong": [[HUMAN_PONG], [HUMAN_PONG]], "boxing": [[RANDOM_BOXING], [RANDOM_BOXING]]})
    table = tables.score_table(experiment("final_policy_human_normalised", ["pong", "boxing"]), data, provenance(data))
    values = table.set_index(["task", "statistic"])["value"]
    assert values["pong", "mean"] == pytest.approx(HUMAN_PONG)
    assert values[ALL_TASKS, "mean"] == pytest.approx(0.5)
    assert values[ALL_TASKS, "optimality_gap"] == pytest.approx(0.5)
    assert set(table["seeds"]) == {2}
    assert set(table["score_rule"]) == {"final_policy_human_normalised"}


def test_every_row_of_a_table_tells_what_its_runs_suffered() -> None:
    scores = {"pong": [[1.0], [1.0]], "boxing": [[2.0], [2.0]]}
    data = pd.concat([episodes(scores, method) for method in ("zeta", "alpha")])
    runs = provenance(data, skipped_updates=2, env_restarts=3)
    runs.loc[runs["task"] == "pong", "inexact_resumes"] = 1
    table = tables.score_table(experiment("final_policy_return", ["pong", "boxing"], ["zeta", "alpha"]), data, runs)
    counts = table.set_index(["task", "statistic", "method"])[list(FAULTS)]
    assert counts.loc["boxing", "mean", "zeta"].tolist() == [4, 6, 0], "two seeds"
    assert counts.loc["pong", "mean", "alpha"].tolist() == [4, 6, 2]
    assert counts.loc[ALL_TASKS, "iqm", "alpha"].tolist() == [8, 12, 2]
    assert tables.wide(table)["s/r/i"].tolist() == ["8/12/4", "8/12/0", "16/24/4", "16/24/4"], "of both methods"


def test_tables_for_reading_keep_the_order_of_the_experiment() -> None:
    scores = {"pong": [[1.0], [1.0]], "boxing": [[2.0], [2.0]]}
    data = pd.concat([episodes(scores, method) for method in ("zeta", "alpha")])
    lines = tables.wide(
        tables.score_table(
            experiment("final_policy_return", ["pong", "boxing"], ["zeta", "alpha"]), data, provenance(data)
        )
    )
    assert lines.columns.tolist() == ["task", "unit", "seeds", "zeta", "alpha", "s/r/i"]
    assert lines["task"].tolist() == ["pong", "boxing", "all tasks: mean", "all tasks: IQM"]
    assert lines["alpha"].tolist()[0] == "1.00 [1.00, 1.00]"
    markdown = tables.markdown(lines).splitlines()
    assert markdown[0] == "| task | unit | seeds | zeta | alpha | s/r/i |"
    assert len({line.count("|") for line in markdown}) == 1


def test_latex_is_escaped_and_has_booktabs() -> None:
    lines = pd.DataFrame({"task": ["kung_fu"], "a_b": ["1 & 2"]})
    text = tables.latex(lines, "50 % of A_B", "x")
    assert r"kung\_fu & 1 \& 2 \\" in text
    assert r"\caption{50 \% of A\_B}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


@given(st.floats(-1e7, 1e7))
def test_a_number_keeps_three_digits(value: float) -> None:
    shown = float(tables.number(value).replace(",", ""))
    assert shown == pytest.approx(value, rel=5.1e-3, abs=5.1e-4)
    assert tables.number(value) != "-0.000"
    assert np.isfinite(shown)
