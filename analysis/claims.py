"""What the paper claims: results/published/paper_claims.yaml, checked against results/published/schema.yaml."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd
import yaml

from analysis import published
from analysis.errors import InputError


@dataclass(frozen=True)
class Claim:
    """One figure, table or sentence of the paper; paper_claims.yaml explains the fields."""

    id: str
    paper: str
    shows: str
    confidence: str
    benchmark: str
    experiments: list[str]
    code_base: str
    published: list[dict[str, Any]]  # numbers; none where they are not available
    why_none: str = ""
    protocol: dict[str, int] = field(default_factory=dict)  # env_frames, episodes of an evaluation

    def concerns(self, experiment: str, benchmark: str) -> bool:
        """Whether an experiment's runs can say something about this claim: its own, or of numbers' benchmark."""
        return experiment in self.experiments or (bool(self.published) and benchmark == self.benchmark)


def load(directory: Path = published.DIRECTORY) -> tuple[list[Claim], dict[str, str]]:
    """The claims, and by benchmark what this suite cannot but do otherwise; InputError where the file is damaged."""
    path = directory / "paper_claims.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(published.schema()[path.name])
    error = jsonschema.exceptions.best_match(validator.iter_errors(content))
    if error:
        raise InputError(f"{path}: {error.json_path.removeprefix('$.')}: {error.message}")
    numbers = [{**entry, "published": _numbers(entry["published"])} for entry in content["claims"]]
    return [Claim(**entry) for entry in numbers], content["deviations"]


def _numbers(entry: Any) -> list[dict[str, Any]]:
    return [] if entry == "not available" else entry


def authors_runs(number: dict[str, Any], directory: Path = published.DIRECTORY) -> pd.DataFrame:
    """The evaluations behind a number of kind `runs`: columns method, task, seed, env_frame, return."""
    return published.read(number["file"], directory)
