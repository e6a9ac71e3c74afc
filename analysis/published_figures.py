"""Figures of the authors' released curves: aggregate learning curve and performance profile, each with 95 % bands."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis import bootstrap, scores
from analysis.files import replacing

REPLICATES = 2_000  # a band has tens of intervals
LABELS = {"dreamerv3": "DreamerV3", "harmony_dreamerv3": "Harmony DreamerV3"}


def aggregate_curve(matrices: Mapping[str, Mapping[int, pd.DataFrame]], seed: int, stem: Path) -> None:
    """Mean human-normalised score against env frames; `matrices[method][env_frame]` is runs x tasks."""
    bands = {
        method: {frame: _interval(m, scores.mean, seed) for frame, m in at.items()} for method, at in matrices.items()
    }
    _draw(
        bands, "env frames", "mean human-normalised score, 26 games", "Atari 100k: the authors' released curves", stem
    )


def performance_profile(matrices: Mapping[str, pd.DataFrame], seed: int, stem: Path) -> None:
    """Fraction of runs x tasks that score above each threshold; `matrices[method]` is runs x tasks."""
    thresholds = np.concatenate([np.linspace(0, 2, 41), np.linspace(2.25, 8, 24)])
    bands = {
        method: {t: _interval(m, partial(_fraction_above, threshold=t), seed) for t in thresholds}
        for method, m in matrices.items()
    }
    _draw(bands, "human-normalised score τ", "fraction of runs above τ", "Performance profile at 400k env frames", stem)


def _fraction_above(m: scores.Floats, threshold: float) -> scores.Floats:
    return scores.performance_profile(m, [threshold])[..., 0]


def _interval(m: pd.DataFrame, statistic: Callable[[scores.Floats], scores.Floats], seed: int) -> bootstrap.Interval:
    return bootstrap.interval(m.to_numpy(), statistic, replicates=REPLICATES, seed=seed)


def _draw(
    bands: Mapping[str, dict[int, bootstrap.Interval] | dict[float, bootstrap.Interval]],
    x_label: str,
    y_label: str,
    title: str,
    stem: Path,
) -> None:
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for method, band in bands.items():
        x = list(band)
        (line,) = axes.plot(x, [i.value for i in band.values()], label=LABELS[method])
        low, high = [i.low for i in band.values()], [i.high for i in band.values()]
        axes.fill_between(x, low, high, alpha=0.2, color=line.get_color(), linewidth=0)
    axes.set(xlabel=x_label, ylabel=y_label, title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    for suffix in (".png", ".svg"):
        with replacing(stem.with_suffix(suffix)) as temporary:
            # Neither time nor random ids in the file: the same data give the same bytes.
            plt.rcParams["svg.hashsalt"] = stem.name
            figure.savefig(temporary, dpi=150, metadata={"Date": None} if suffix == ".svg" else None)
    plt.close(figure)
