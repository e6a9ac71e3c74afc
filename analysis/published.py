"""The published numbers of results/published, each file checked against results/published/schema.yaml when read."""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from analysis import strict_csv
from analysis.errors import InputError

DIRECTORY = Path(__file__).parents[1] / "results" / "published"


def read(name: str, directory: Path = DIRECTORY) -> pd.DataFrame:
    """One of the CSV files; InputError names file, line and value of a row that the schema does not allow."""
    entry = schema()[name]
    return strict_csv.read(directory / name, entry["columns"], entry["key"])


def curves(benchmark: str, directory: Path = DIRECTORY) -> pd.DataFrame:
    """The authors' released evaluations: task, method, seed, env_frame and a metric; empty where there are none."""
    name = f"{benchmark}_curves.csv"
    return read(name, directory) if name in schema() else pd.DataFrame(columns=["task", "method", "seed", "env_frame"])


def files() -> list[str]:
    """The names that `read` takes."""
    return [name for name in schema() if name.endswith(".csv")]


def human_reference(benchmark: str, tasks: list[str], directory: Path = DIRECTORY) -> pd.DataFrame:
    """Index `tasks`, columns `random` and `human`: mean returns of the two ends of the human-normalised scale."""
    table = read("reference_scores.csv", directory)
    wide = table[table["benchmark"] == benchmark].pivot(index="task", columns="reference", values="value")
    wide = wide.reindex(index=tasks, columns=["random", "human"])
    missing = wide.index[wide.isna().any(axis=1)].tolist()
    if missing:
        raise InputError(
            f"{directory / 'reference_scores.csv'}: no random and human score of {benchmark}/{', '.join(missing)}, "
            "so no human-normalised score: choose a score rule without normaliser"
        )
    return wide


@cache
def schema() -> dict[str, Any]:
    """schema.yaml, by the name of the file that an entry describes."""
    return yaml.safe_load((DIRECTORY / "schema.yaml").read_text(encoding="utf-8"))
