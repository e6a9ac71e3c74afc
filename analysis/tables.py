"""The table of an experiment: final score per task and method, and over all tasks, with 95 % intervals.

Writes CSV (every digit), Markdown, and LaTeX (booktabs).
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
from pandas.io.formats.style import Styler

from analysis import bootstrap, collected, errors, score_rules, scores
from analysis.collected import ALL_TASKS, FAULTS, FAULTS_NOTE, FAULTS_SHORT, Collected
from analysis.files import write_csv, write_text
from analysis.score_rules import ScoreRule
from analysis.scores import Floats

LABELS = {"iqm": "IQM", "optimality_gap": "optimality gap"}
STATISTICS: dict[str, Callable[[Floats], Floats]] = {
    "mean": scores.mean,
    "median": scores.median,
    "iqm": scores.iqm,
    "optimality_gap": scores.optimality_gap,
}
LATEX = str.maketrans(
    {c: f"\\{c}" for c in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
)
COLUMNS = [
    "task", "statistic", "unit", "method", "value", "ci_low", "ci_high", "seeds", *FAULTS, "score_rule", "version",
]  # fmt: skip


def score_table(experiment: Collected, evaluations: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """One row for each task or statistic over ALL_TASKS, and method: COLUMNS. `runs` is the provenance table.

    Tasks are in the metric's own unit, statistics over tasks in that of the score rule. The optimality gap is given
    where 1 means human, the only scale on which it has a meaning here. Faults are summed over a row's runs.
    """
    rows = []
    for method in experiment.methods:
        its_runs = runs[runs["method"] == method]
        for row in _rows(experiment, method, evaluations[evaluations["method"] == method]):
            of_row = its_runs if row["task"] == ALL_TASKS else its_runs[its_runs["task"] == row["task"]]
            rows.append(row | collected.faults(of_row))
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(experiment: Collected, method: str, evaluations: pd.DataFrame) -> Iterator[dict[str, object]]:
    rule, raw = experiment.rule, experiment.task_rule
    matrix = score_rules.score_matrix(evaluations, raw, experiment.benchmark, experiment.tasks)
    for task in experiment.tasks:
        yield _row(task, "mean", method, matrix[[task]], raw)
    if len(experiment.tasks) > 1:
        matrix = score_rules.score_matrix(evaluations, rule, experiment.benchmark, experiment.tasks)
        for statistic in STATISTICS if rule.normaliser == "human" else ("mean", "iqm"):
            yield _row(ALL_TASKS, statistic, method, matrix, rule)


def _row(task: str, statistic: str, method: str, matrix: pd.DataFrame, rule: ScoreRule) -> dict[str, object]:
    found = bootstrap.interval(matrix.to_numpy(), STATISTICS[statistic])
    return {
        "task": task, "statistic": statistic, "unit": rule.unit, "method": method, "value": found.value,
        "ci_low": found.low, "ci_high": found.high, "seeds": len(matrix), "score_rule": rule.name,
        "version": rule.version,
    }  # fmt: skip


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """For reading: one line per task or statistic with the seeds, `mean [low, high]` of each method, and all faults."""
    label = table["task"].where(table["task"] != ALL_TASKS, ALL_TASKS + ": " + table["statistic"].replace(LABELS))
    cells = table.assign(row=label, cell=[cell(*row) for row in table[["value", "ci_low", "ci_high"]].to_numpy()])
    lines = cells.pivot(index=["row", "unit", "seeds"], columns="method", values="cell")
    lines[FAULTS_SHORT] = collected.joined_faults(cells.groupby(["row", "unit", "seeds"])[list(FAULTS)].sum())
    order = cells[["row", "unit", "seeds"]].drop_duplicates().itertuples(index=False, name=None)
    lines = lines.loc[list(order), [*dict.fromkeys(table["method"]), FAULTS_SHORT]].reset_index()
    return lines.rename(columns={"row": "task"}).rename_axis(columns=None)


def cell(value: float, low: float, high: float) -> str:
    """`mean [low, high]`, to three digits or whole numbers above; the mean alone where one run gives no interval."""
    if pd.isna(low):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Three significant digits, but never fewer than the whole number, and no minus sign on zero."""
    digits = max(0, 2 - len(str(int(abs(value)))) + 1) if abs(value) >= 1 else 3
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def markdown(lines: pd.DataFrame) -> str:
    """A Markdown table."""
    rows = [list(lines.columns), ["---"] * len(lines.columns), *lines.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def latex(lines: pd.DataFrame, caption: str, label: str) -> str:
    """A LaTeX table, made smaller where it would be wider than the text."""
    tabular = _styled(lines).to_latex(hrules=True, column_format="l" * lines.shape[1])
    return (
        "% Needs \\usepackage{booktabs,graphicx}.\n"
        f"\\begin{{table}}\n\\centering\n\\caption{{{_escape(caption)}}}\n\\label{{tab:{label}}}\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"{tabular}}}\n\\end{{table}}\n"
    )


def long_latex(lines: pd.DataFrame, caption: str, label: str) -> str:
    """A LaTeX table across the page, in small print, that may be longer than a page."""
    table = _styled(lines).to_latex(
        hrules=True, environment="longtable", caption=_escape(caption), label=f"tab:{label}",
        column_format="@{}" + "l" * lines.shape[1] + "@{}",
    )  # fmt: skip
    return (
        "% Needs \\usepackage{booktabs,longtable,lscape}.\n"
        f"\\begin{{landscape}}\n\\scriptsize\\setlength{{\\tabcolsep}}{{2pt}}\n{table}\\end{{landscape}}\n"
    )


def _styled(lines: pd.DataFrame) -> Styler:
    return lines.astype(str).map(_escape).rename(columns=_escape).style.hide(axis="index")


def _escape(text: str) -> str:
    return text.translate(LATEX)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m analysis.tables", description=__doc__)
    parser.add_argument("--collected", required=True, type=Path, help="directory written by analysis.collect")
    parser.add_argument("--out", required=True, type=Path, help="file to write, without its suffix")
    args = parser.parse_args()
    experiment = collected.load(args.collected)
    table = score_table(experiment, experiment.table(Path(experiment.rule.file).stem), experiment.table("provenance"))
    lines = wide(table)
    rule = experiment.rule
    score = f"Score rule {rule.name} (version {rule.version}), mean over runs [95 % interval]"
    caption = f"{experiment.title}. {score}. {FAULTS_NOTE}"
    write_csv(args.out.with_suffix(".csv"), table)
    write_text(args.out.with_suffix(".md"), f"{caption}\n\n{markdown(lines)}")
    write_text(args.out.with_suffix(".tex"), latex(lines, caption, experiment.name))


if __name__ == "__main__":
    errors.run(main)
