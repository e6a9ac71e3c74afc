"""One page with everything that the experiments gave: tables, figures, videos, commands and provenance.

The page is a single file that needs no network: images and videos are in it.
"""

import argparse
import base64
import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from analysis import collected, errors, tables, verdict_table, verdicts
from analysis.collected import Collected
from analysis.errors import InputError
from analysis.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
MEDIA = {".svg": "image/svg+xml", ".mp4": "video/mp4"}


@dataclass(frozen=True)
class Cell:
    """A field of a sortable table: what is shown, and what it is sorted by."""

    text: str
    key: float | str


@dataclass(frozen=True)
class Table:
    """A sortable table."""

    columns: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Video:
    """One episode of a final policy."""

    caption: str
    data: str


@dataclass(frozen=True)
class Section:
    """What the report shows of one experiment."""

    experiment: Collected
    runs: int
    budget: str
    scores: Table
    curves: str
    published: bool  # whether the curves of the authors' runs are in the figure, too
    profile: str | None
    coefficients: str | None
    videos: list[Video]
    warnings: list[str]
    provenance: Table
    libraries: list[str]
    commands: list[str]


@dataclass(frozen=True)
class Verdicts:
    """What our runs say about published numbers: those compared, and those not with the reason."""

    compared: Table
    others: Table
    rule: str


def read_verdicts(path: Path) -> Verdicts:
    """The table that `analysis.verdict_table` writes."""
    table = verdict_table.read(path)
    lines = verdict_table.for_reading(table)
    compared = table["ours"].notna()
    others = lines.loc[~compared, ["claim", "method", "verdict", "deviations and reasons"]]
    return Verdicts(_table(lines[compared]), _table(others), verdicts.RULE)


def section(results: Path, name: str) -> Section:
    """Gather one experiment from the results directory; InputError names a file that is not there."""
    experiment = collected.load(results / "collected" / name)
    provenance = experiment.table("provenance")
    figure = results / "figures" / name
    return Section(
        experiment=experiment,
        runs=len(provenance),
        budget=_budget(provenance),
        scores=_scores(_read(results / "tables" / f"{name}.csv")),
        curves=_embed(figure.with_suffix(".svg")),
        published=not experiment.released().empty,
        profile=_embed(figure.with_name(f"{name}_profile.svg")) if len(experiment.tasks) > 1 else None,
        coefficients=None
        if experiment.table("coefficients").empty
        else _embed(figure.with_name(f"{name}_coefficients.svg")),
        videos=list(_videos(experiment, provenance)),
        warnings=list(_warnings(provenance)),
        provenance=_provenance(provenance),
        libraries=sorted(provenance["libraries"].unique()),
        commands=list(provenance["command"]),
    )


def render(sections: list[Section], found: Verdicts, command: str) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    variants = sorted({section.experiment.variant for section in sections} - {"paper"})
    made = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return environment.get_template("report.html.jinja").render(
        sections=sections, verdicts=found, command=command, variants=variants, made=made
    )


def _budget(provenance: pd.DataFrame) -> str:
    """Agent steps and env frames of the runs, and the time they took together."""
    parts = []
    for column, unit in (("agent_steps", "agent steps"), ("env_frames", "env frames")):
        low, high = provenance[column].min(), provenance[column].max()
        parts.append(f"{low:,.0f} {unit}" if low == high else f"{low:,.0f} to {high:,.0f} {unit}")
    return f"{parts[0]} ({parts[1]}) a run, {_duration(provenance['wall_seconds'].sum())} of training in all"


def _scores(table: pd.DataFrame) -> Table:
    lines = tables.wide(table)
    values = table.set_index("method")["value"]
    rows = []
    for i, line in enumerate(lines.itertuples(index=False)):
        keys = {method: float(values[[method]].iloc[i]) for method in values.index.unique()}
        rows.append([_cell(text, keys.get(name)) for name, text in zip(lines.columns, line, strict=True)])
    return Table(list(lines.columns), rows)


def _table(lines: pd.DataFrame) -> Table:
    return Table(list(lines.columns), [[_cell(text) for text in row] for row in lines.to_numpy().tolist()])


def _provenance(runs: pd.DataFrame) -> Table:
    rows = [[cell(run) for cell in PROVENANCE.values()] for run in runs.to_dict("records")]
    return Table(list(PROVENANCE), rows)


def _warnings(runs: pd.DataFrame) -> Iterator[str]:
    """What makes the runs of an experiment unlike each other or unlike what was asked for."""
    for column, what in (
        ("code_revision", "revisions of the code"),
        ("image_digest", "images"),
        ("device", "devices"),
        ("renderer", "renderers"),
    ):
        if (kinds := runs[column].map(_text).unique()).size > 1:
            yield f"The runs come from different {what}: {', '.join(sorted(_short(kind) for kind in kinds))}."
    if dirty := int(runs["code_revision"].astype(str).str.endswith("-dirty").sum()):
        yield f"{dirty} of {len(runs)} runs come from code with changes that were not committed."
    for text in collected.deviations(runs):
        yield f"Unlike the paper: {text}."
    words = ("skipped updates", "restarts of an environment", "resumes that were not exact")
    for column, what in zip(collected.FAULTS, words, strict=True):
        if (count := int(runs[column].fillna(0).sum())) > 0:
            yield f"{count} {what} in {int((runs[column] > 0).sum())} of {len(runs)} runs."


def _videos(experiment: Collected, runs: pd.DataFrame) -> Iterator[Video]:
    """The first video of the first seed, for each task and method."""
    episodes = experiment.table("final_evaluations").set_index(["task", "method", "seed", "episode"])["return"]
    for run in runs.drop_duplicates(["task", "method"]).to_dict("records"):
        found = sorted(Path(run["directory"], "videos").glob("episode_*.mp4"))
        if not found:
            raise InputError(f"{run['directory']}/videos: no episode_<i>.mp4; run `python -m agent.evaluate` again")
        episode = int(found[0].stem.removeprefix("episode_"))
        score = tables.number(episodes[run["task"], run["method"], run["seed"], episode])
        yield Video(f"{run['task']}, {run['method']}, seed {run['seed']}: return {score}", _embed(found[0]))


def _embed(path: Path) -> str:
    """The file as a data URI."""
    try:
        data = base64.b64encode(path.read_bytes()).decode()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the whole workflow first") from None
    return f"data:{MEDIA[path.suffix]};base64,{data}"


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise InputError(f"{path}: no such file; run the whole workflow first")
    return pd.read_csv(path)


def _cell(value: object, key: float | str | None = None) -> Cell:
    return Cell(str(value), key if key is not None else value if isinstance(value, int | float) else str(value))


def _short(value: Any) -> str:
    """The start of a digest, with what says that it is not the whole truth."""
    text = _text(value).removeprefix("sha256:")
    return text[:10] + ("-dirty" if text.endswith("-dirty") else "")


def _text(value: Any) -> str:
    return "none" if pd.isna(value) else str(value)


def _count(value: float) -> int | str:
    return "none" if pd.isna(value) else int(value)


def _megabytes(value: float) -> Cell:
    return _cell("none", -1) if pd.isna(value) else _cell(f"{value:,.0f} MB", value)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


PROVENANCE: dict[str, Callable[[dict[Any, Any]], Cell]] = {
    "task": lambda run: _cell(run["task"]),
    "method": lambda run: _cell(run["method"]),
    "seed": lambda run: _cell(run["seed"]),
    "code": lambda run: _cell(_short(run["code_revision"])),
    "settings": lambda run: _cell(_short(run["config_digest"])),
    "image": lambda run: _cell(_short(run["image_digest"])),
    "agent steps": lambda run: _cell(f"{run['agent_steps']:,}", run["agent_steps"]),
    "env frames": lambda run: _cell(f"{run['env_frames']:,}", run["env_frames"]),
    "training time": lambda run: _cell(_duration(run["wall_seconds"]), run["wall_seconds"]),
    "memory": lambda run: _megabytes(run["peak_memory_mb"]),
    "GPU memory": lambda run: _megabytes(run["peak_gpu_memory_mb"]),
    "hardware": lambda run: _cell(_text(run["cpu"] if run["device"] == "cpu" else run["gpu"])),
    "threads": lambda run: _cell(_count(run["threads"])),
    "restarts": lambda run: _cell(_count(run["env_restarts"])),
    "skipped updates": lambda run: _cell(_count(run["skipped_updates"])),
    "inexact resumes": lambda run: _cell(_count(run["inexact_resumes"])),
    "started": lambda run: _cell(_text(run["started"])),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=__doc__)
    parser.add_argument("--results", required=True, type=Path, help="the results directory")
    parser.add_argument("--command", required=True, help="the command that makes all of it, to show")
    parser.add_argument("--out", required=True, type=Path, help="HTML file to write")
    parser.add_argument("experiments", nargs="+", help="names of experiments, in the order of the page")
    args = parser.parse_args()
    sections = [section(args.results, name) for name in args.experiments]
    write_text(args.out, render(sections, read_verdicts(args.results / "tables" / "verdicts.csv"), args.command))


if __name__ == "__main__":
    errors.run(main)
