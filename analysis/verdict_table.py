"""A verdict for every published number that finished experiments can speak to: `python -m analysis.verdict_table`.

Writes `--out` as CSV, Markdown and LaTeX: one row per aggregate, gain and score cell, compared as analysis/verdicts.py
says. Numbers that nothing was run for, experiments that the paper has no number for, and comparisons that would mix
unlike things (`refused`) have a row with the reason.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_type_hints

import pandas as pd

from analysis import claims, collected, errors, tables, verdicts
from analysis.claims import Claim
from analysis.collected import FAULTS, FAULTS_NOTE, FAULTS_SHORT, Collected
from analysis.comparison import Row, compare
from analysis.errors import InputError
from analysis.files import write_csv, write_text

COLUMNS = list(Row.__dataclass_fields__)
REASONS = "deviations and reasons"
CAPTION = (
    "Our runs against published numbers. A difference counts as none within the margin of the score rule; "
    "intervals are 95 % stratified bootstraps over seeds, without correction for the number of verdicts. "
    f"{FAULTS_NOTE}"
)


def build(found: Sequence[Collected]) -> pd.DataFrame:
    """The fields of Row, one line for each verdict, from the published claims and the collected experiments."""
    known, unavoidable = claims.load()
    rows: list[Row] = []
    for claim in known:
        its = [experiment for experiment in found if claim.concerns(experiment.name, experiment.benchmark)]
        compared = [row for e in its for row in compare(claim, e, unavoidable.get(e.benchmark))]
        rows += compared or [_not_compared(claim, its)]
    spoken_of = {row.experiment for row in rows}
    rows += [_without_number(experiment) for experiment in found if experiment.name not in spoken_of]
    return pd.DataFrame(rows, columns=COLUMNS)


def read(path: Path) -> pd.DataFrame:
    """The CSV file that the command writes, as `build` made it."""
    numbers = [name for name, kind in get_type_hints(Row).items() if kind is not str]
    try:
        table = pd.read_csv(path, dtype={name: float if name in numbers else str for name in COLUMNS})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run `python -m analysis.verdict_table` first") from None
    texts = [name for name in COLUMNS if name not in numbers]
    return table.fillna(dict.fromkeys(texts, ""))


def _not_compared(claim: Claim, its: Sequence[Collected]) -> Row:
    if claim.published:
        verdict = "not run"
        reason = f"snakemake --cores all {' '.join(claim.experiments)} --configfile config/paper.yaml"
    else:
        verdict = "no published number"
        reason = claim.why_none or "not available: where the paper shows it could not be seen"
    names = [experiment.name for experiment in its if experiment.name in claim.experiments] or claim.experiments
    return Row(claim=claim.id, experiment=", ".join(names), benchmark=claim.benchmark, verdict=verdict, reason=reason)


def _without_number(experiment: Collected) -> Row:
    return Row(
        experiment=experiment.name,
        benchmark=experiment.benchmark,
        method=", ".join(experiment.methods),
        verdict="no published number",
        reason="the paper has none for these methods on this benchmark",
    )


def for_reading(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that a reader needs, intervals in one cell, as text."""

    def joined(value: str, low: str, high: str) -> list[str]:
        cells = table[[value, low, high]].astype(float).to_numpy()
        return ["" if pd.isna(cell[0]) else tables.cell(*cell) for cell in cells]

    return pd.DataFrame(
        {
            "task": table["task"],
            "verdict": (table["verdict"] + " " + table["direction"]).str.strip(),
            "method": table["method"],
            "quantity": table["quantity"],
            "ours": joined("ours", "ours_low", "ours_high"),
            "published": joined("published", "published_low", "published_high"),
            "difference": joined("difference", "difference_low", "difference_high"),
            "margin": ["" if pd.isna(x) else tables.number(x) for x in table["margin"]],
            "runs": _counts(table["runs"]),
            FAULTS_SHORT: collected.joined_faults(table[list(FAULTS)]),
            "further seeds": _counts(table["further_seeds"]),
            "claim": table["claim"].where(table["claim"] != "", table["experiment"]),
            REASONS: ["; ".join(filter(None, pair)) for pair in zip(table["deviations"], table["reason"], strict=True)],
        }
    )


def _latex(compared: pd.DataFrame, name: str) -> str:
    seeds = compared["further seeds"].map(lambda n: f" ({n} more)" if n else "")
    short = compared.drop(columns=["claim", "margin", "further seeds", REASONS]).assign(
        verdict=compared["verdict"] + seeds, method=compared["method"].str.split(" - ").str[0]
    )
    caption = (
        f"{CAPTION} A gain is over the method without harmonizers. In parentheses: further seeds per task that would "
        f"decide it. Margins, deviations from the paper's setting, and claims not compared are in {name}.csv."
    )
    return tables.long_latex(short, caption, "verdicts")


def _counts(column: pd.Series) -> list[str]:
    return ["" if pd.isna(value) else str(int(value)) for value in column]


def main() -> None:
    """Write the table and print how many verdicts of each kind it has."""
    parser = argparse.ArgumentParser(prog="python -m analysis.verdict_table", description=__doc__)
    parser.add_argument("--out", required=True, type=Path, help="file to write, without its suffix")
    parser.add_argument("collected", nargs="*", type=Path, help="directories written by analysis.collect")
    args = parser.parse_args()
    table = build([collected.load(directory) for directory in args.collected])
    lines = for_reading(table)
    write_csv(args.out.with_suffix(".csv"), table)
    write_text(args.out.with_suffix(".md"), f"{CAPTION}\n\n{verdicts.RULE}\n{tables.markdown(lines)}")
    write_text(args.out.with_suffix(".tex"), _latex(lines[table["ours"].notna()], args.out.name))
    print(table["verdict"].value_counts().to_string())


if __name__ == "__main__":
    errors.run(main)
