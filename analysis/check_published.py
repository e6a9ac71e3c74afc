"""Recompute the paper's Atari 100k table from the authors' released curves: `python -m analysis.check_published`.

No run and no training is needed. Writes below --results: `tables/check_published.{csv,md,tex}`, the games behind it
`tables/check_published_games.csv`, other methods' aggregates `tables/published_methods.csv`, and the figures
`figures/check_published_{curve,profile}.{png,svg}`. All intervals follow one seed.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import bootstrap, curves, errors, profiles, published, scores, tables
from analysis.collected import PUBLISHED
from analysis.files import write_csv, write_text
from analysis.score_rules import get, score_matrix

BENCHMARK = "atari100k"
BASE, HARMONY = METHODS = ("dreamerv3", "harmony_dreamerv3")
PAPER_RULE = "last_evaluation_human_normalised"
RULES = (PAPER_RULE, "last_two_evaluations_human_normalised", "best_evaluation_human_normalised")
SEED = 0
CAPTION = (
    "Atari 100k from the authors' released curves: 26 games, 5 seeds, fractions of human; 95 % stratified bootstrap "
    f"intervals over seeds ({bootstrap.REPLICATES:,} replicates, seed {SEED}). Lower is better for the optimality gap."
)

Matrices = dict[tuple[str, str], pd.DataFrame]


def score_matrices(released: pd.DataFrame, tasks: list[str]) -> Matrices:
    """Human-normalised runs x tasks matrix of every (method, score rule)."""
    return {
        (method, rule): score_matrix(released[released["method"] == method], get(rule), BENCHMARK, tasks)
        for method in METHODS
        for rule in RULES
    }


def aggregate_table(matrices: Matrices) -> pd.DataFrame:
    """One row for each method, score rule and metric, in fractions of human, with a 95 % interval."""
    rows = []
    for rule in RULES:
        for method in METHODS:
            for metric, statistic in scores.STATISTICS.items():
                found = bootstrap.interval(matrices[method, rule].to_numpy(), statistic, seed=SEED)
                rows.append((method, rule, metric, found.value, found.low, found.high))
    return pd.DataFrame(rows, columns=["method", "score_rule", "metric", "value", "ci_low", "ci_high"])


def curve_table(released: pd.DataFrame, tasks: list[str]) -> pd.DataFrame:
    """Mean human-normalised score over all games at each evaluation: columns of analysis.curves."""
    rows = [
        row
        for method in METHODS
        for row in curves.aggregate(
            get(PAPER_RULE), BENCHMARK, tasks, method, PUBLISHED, released[released["method"] == method]
        )
    ]
    return pd.DataFrame(rows, columns=curves.COLUMNS)


def profile_table(matrices: Matrices) -> pd.DataFrame:
    """Performance profile of the paper's rule: columns of analysis.profiles."""
    final = {(method, PUBLISHED): matrices[method, PAPER_RULE] for method in METHODS}
    return profiles.profiles(final, get(PAPER_RULE).unit)


def games_table(matrices: Matrices) -> pd.DataFrame:
    """Per game under the paper's rule: both methods' scores and the game's share of the gain in the mean."""
    base, harmony = (matrices[method, PAPER_RULE].mean() for method in METHODS)
    gain = harmony - base
    table = pd.DataFrame({BASE: base, HARMONY: harmony, "gain": gain, "share_of_gain": gain / gain.sum()})
    return table.sort_values("gain", ascending=False).rename_axis("task").reset_index()


def methods_table(tasks: list[str]) -> pd.DataFrame:
    """Mean and median of other methods from their published per-game scores, beside the headline values they report."""
    per_game = published.read("task_scores.csv")
    per_game = per_game[per_game["benchmark"] == BENCHMARK]
    wide = per_game.pivot(index="method", columns="task", values="value").reindex(columns=tasks)
    wide = wide.dropna()  # methods known on a few games only have no aggregate; published.csv keeps their rows
    reference = published.human_reference(BENCHMARK, tasks)
    normalised = scores.normalise(wide, reference["random"], reference["human"])
    computed = pd.DataFrame({"mean": normalised.mean(axis=1), "median": np.median(normalised, axis=1)}, wide.index)
    reported = published.read("aggregates.csv")
    reported = reported[(reported["benchmark"] == BENCHMARK) & reported["metric"].isin(["mean", "median"])]
    headline = reported.pivot(index="method", columns="metric", values="value").add_prefix("reported_")
    how_sure = per_game.groupby("method")["confidence"].first()
    return computed.join(headline).join(how_sure).sort_values("mean", ascending=False).reset_index()


def findings(table: pd.DataFrame, games: pd.DataFrame, matrices: Matrices) -> list[str]:
    """What the table says about the printed headline, one sentence each."""
    values = table.set_index(["score_rule", "method", "metric"])["value"]
    reported = published.read("aggregates.csv").set_index(["benchmark", "method", "metric"])["value"]
    lines = []
    for metric in ("mean", "median"):
        value, printed = values[PAPER_RULE, HARMONY, metric], reported[BENCHMARK, HARMONY, metric]
        lines.append(
            f"{HARMONY}, {metric}: {value:.5f} recomputed, {printed} printed, {printed - value:+.5f} apart "
            "(the printed number is known from secondary sources only)."
        )
    top = games.iloc[0]
    others = games.iloc[1:4]["task"]
    lines.append(
        f"{top['task']} alone is {top['share_of_gain']:.0%} of the gain in the mean over {BASE} "
        f"({games['gain'].mean():+.3f}); next are {', '.join(others)}."
    )
    by_rule = ", ".join(f"{values[rule, HARMONY, 'mean']:.3f} by {rule}" for rule in RULES)
    lines.append(f"The score rule moves the mean of {HARMONY}: {by_rule}.")
    pair = matrices[HARMONY, PAPER_RULE].to_numpy(), matrices[BASE, PAPER_RULE].to_numpy()
    for name, statistic in scores.STATISTICS.items():
        found = bootstrap.difference(*pair, statistic, seed=SEED)
        lines.append(f"{HARMONY} minus {BASE}, {name}: {_with_interval(found)}.")
    better = bootstrap.joint_interval(pair, scores.probability_of_improvement, seed=SEED)
    lines.append(f"Probability that a run of {HARMONY} beats one of {BASE} on the same game: {_with_interval(better)}.")
    return lines


def _with_interval(found: bootstrap.Interval) -> str:
    return f"{found.value:.3f} (95 % interval {found.low:.3f} to {found.high:.3f})"


def _markdown(table: pd.DataFrame, lines: list[str], methods: pd.DataFrame, games: pd.DataFrame) -> str:
    rules = "\n".join(f"- `{name}`, version {get(name).version}" for name in RULES)
    return (
        "# Atari 100k, recomputed from the authors' released curves\n\n"
        f"{CAPTION}\n\n"
        f"{table.to_markdown(index=False, floatfmt='.5f')}\n\nScore rules (analysis/score_rules.yaml):\n\n{rules}\n\n"
        "## What it says\n\n" + "\n".join(f"- {line}" for line in lines) + "\n\n"
        "## Other methods, from their published per-game scores\n\n"
        f"{methods.astype(object).fillna('').to_markdown(index=False, floatfmt='.3f')}\n\n"
        f"## Games\n\n{games.to_markdown(index=False, floatfmt='.4f')}\n"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Recompute the paper's Atari 100k table without training.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results directory (default: results)")
    return parser.parse_args()


def main() -> None:
    """Write the tables and figures and print the findings."""
    from analysis import plots  # matplotlib takes longer to import than all else takes to run

    results = _arguments().results
    released = published.curves(BENCHMARK)
    reference = published.read("reference_scores.csv")
    tasks = sorted(reference[reference["benchmark"] == BENCHMARK]["task"].unique())
    matrices = score_matrices(released, tasks)
    table, games, methods = aggregate_table(matrices), games_table(matrices), methods_table(tasks)
    lines = findings(table, games, matrices)
    to, figures = results / "tables", results / "figures"
    write_csv(to / "check_published.csv", table)
    write_csv(to / "check_published_games.csv", games)
    write_csv(to / "published_methods.csv", methods)
    write_text(to / "check_published.md", _markdown(table, lines, methods, games))
    text = table.map(lambda value: f"{value:.5f}" if isinstance(value, float) else value)
    write_text(to / "check_published.tex", tables.latex(text, CAPTION, "check_published"))
    plots.write(plots.curves, curve_table(released, tasks), figures / "check_published_curve")
    plots.write(plots.profile, profile_table(matrices), figures / "check_published_profile")
    print(table[table["score_rule"] == PAPER_RULE].to_string(index=False, float_format="%.5f"))
    print("\n".join(lines))


if __name__ == "__main__":
    errors.run(main)
