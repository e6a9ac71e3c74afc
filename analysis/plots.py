"""Figures, each as PNG and SVG: learning curves, performance profiles, the weights of the harmonised losses."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: no display is needed

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, StrMethodFormatter

from analysis import errors
from analysis.collected import PUBLISHED
from analysis.errors import InputError
from analysis.files import replacing

# Told apart by colour-blind readers; the line styles help in grey print.
COLOURS = seaborn.color_palette("colorblind")
STYLES = ("-", "--", "-.", ":")
COLUMNS = 3
PANEL = (3.1, 2.4)  # inches
LONE_PANEL = (5.0, 3.2)
CHARACTERS = 13  # of a legend, to an inch
SETTINGS: Any = {  # of matplotlib
    **seaborn.axes_style("whitegrid"),
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "harmonydream",  # equal data give equal files
}
Draw = Callable[[Axes, pd.DataFrame], None]
Kind = Callable[[pd.DataFrame], Figure]


def curves(table: pd.DataFrame) -> Figure:
    """Learning curves, one panel for each task: the columns of `analysis.curves`, methods as lines."""
    methods = list(dict.fromkeys(table["method"]))

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        _methods(axes, rows, methods, "env_frame")
        axes.set_ylabel(_sentence(rows["unit"].iloc[0]))
        _frames(axes)

    return _panels(table, ["task"], draw)


def profile(table: pd.DataFrame) -> Figure:
    """Performance profile over all tasks: the columns of `analysis.profiles`, methods as lines."""
    methods = list(dict.fromkeys(table["method"]))

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        _methods(axes, rows, methods, "threshold")
        axes.set(ylabel="Fraction of runs above", xlabel=_sentence(rows["unit"].iloc[0]), ylim=(0, 1))

    return _panels(table.assign(task=table["tasks"].astype(str) + " tasks"), ["task"], draw)


def coefficients(table: pd.DataFrame) -> Figure:
    """Weight of each harmonised loss, one panel for each task and method: mean and range over seeds."""
    losses = list(dict.fromkeys(table["loss"]))

    def draw(axes: Axes, rows: pd.DataFrame) -> None:
        for i, loss in enumerate(losses):
            weights = rows[rows["loss"] == loss].groupby("env_frame")["weight"].agg(["mean", "min", "max"])
            _line(axes, i, loss, weights.index, weights["mean"], weights["min"], weights["max"])
        _scale_of_ratios(axes, rows["weight"])
        axes.set_ylabel("Loss weight 1/σ")
        _frames(axes)

    return _panels(table, ["task", "method"], draw)


def _panels(table: pd.DataFrame, by: list[str], draw: Draw) -> Figure:
    """One panel for each value of `by`, in the order of the table, and one legend for all."""
    groups = list(table.groupby(by, sort=False))
    columns = min(COLUMNS, len(groups))
    lines = math.ceil(len(groups) / columns)
    width, height = PANEL if len(groups) > 1 else LONE_PANEL
    figure, grid = plt.subplots(
        lines, columns, figsize=(width * columns, height * lines + 0.4), squeeze=False, layout="constrained"
    )
    for axes, (names, rows) in zip(grid.flat, groups, strict=False):
        draw(axes, rows)
        first, *others = map(str, names)
        axes.set_title("\n".join([_sentence(first), *others]), fontweight="bold", fontsize=9)
    for axes in grid.flat[len(groups) :]:
        axes.set_visible(False)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    fit = int(CHARACTERS * width * columns / (max(map(len, labels)) + 8))  # a label needs 8 more, for its line
    figure.legend(handles, labels, loc="outside upper center", ncols=max(1, min(len(labels), COLUMNS, fit)))
    return figure


def _methods(axes: Axes, rows: pd.DataFrame, methods: list[str], x: str) -> None:
    """A line for each method; published runs thin and pale in the same colour, behind ours."""
    both = rows["source"].nunique() > 1
    for (source, method), its in rows.groupby(["source", "method"], sort=False):
        published = source == PUBLISHED
        label = f"{method}, published" if published else str(method)
        band = its["ci_low"], its["ci_high"]
        _line(axes, methods.index(str(method)), label, its[x], its["value"], *band, pale=published and both)


def _frames(axes: Axes) -> None:
    axes.set_xlabel("Env frames")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _line(
    axes: Axes, i: int, label: str, x: pd.Series | pd.Index, y: pd.Series, low: pd.Series, high: pd.Series,
    *, pale: bool = False,
) -> None:  # fmt: skip
    colour = COLOURS[i % len(COLOURS)]
    marker = "o" if len(x) < 12 else None  # few evaluations: show where they are
    faint: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.7, "zorder": 1} if pale else {}
    axes.plot(x, y, color=colour, linestyle=STYLES[i % len(STYLES)], label=label, marker=marker, markersize=3, **faint)
    if np.isfinite(low).all():
        axes.fill_between(np.asarray(x), low, high, color=colour, alpha=0.07 if pale else 0.15, linewidth=0)


def _scale_of_ratios(axes: Axes, values: pd.Series) -> None:
    """A logarithmic y axis with ticks enough to read it; linear where the range would hold hardly one."""
    decades = math.log10(values.max() / values.min())
    if decades < math.log10(2):
        axes.ticklabel_format(axis="y", useOffset=False)
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(
        LogLocator(subs=(1,) if decades > 2 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 5, 7))
    )
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _sentence(text: str) -> str:
    return text.replace("_", " ").capitalize()


def write(kind: Kind, table: pd.DataFrame, stem: Path) -> None:
    """Draw a figure and write it as <stem>.png and <stem>.svg."""
    with matplotlib.rc_context(SETTINGS):
        figure = kind(table)
        for suffix, options in ((".png", {"dpi": 150}), (".svg", {"metadata": {"Date": None}})):
            with replacing(stem.with_suffix(suffix)) as temporary:
                figure.savefig(temporary, **options)  # type: ignore[arg-type]
        plt.close(figure)


KINDS: dict[str, Kind] = {"curves": curves, "profile": profile, "coefficients": coefficients}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m analysis.plots", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--table", required=True, type=Path, help="CSV of analysis.{curves,profiles,collect}")
    parser.add_argument("--out", required=True, type=Path, help="figure to write, without its suffix")
    args = parser.parse_args()
    if not args.table.exists():
        raise InputError(f"{args.table}: no such file; run the whole workflow first")
    table = pd.read_csv(args.table)
    if table.empty:
        raise InputError(f"{args.table}: has no rows, so there is nothing to draw")
    write(KINDS[args.kind], table, args.out)


if __name__ == "__main__":
    errors.run(main)
