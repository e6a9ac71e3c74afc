"""Experiments: what a configuration file asks for, checked before anything starts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from analysis.errors import InputError

SCHEMA = Path(__file__).parents[1] / "workflow" / "schemas" / "config.schema.yaml"


@dataclass(frozen=True)
class RunName:
    """What names one run; `directory` is where it lives below the results directory."""

    benchmark: str
    task: str
    method: str
    variant: str
    seed: int

    @property
    def directory(self) -> str:
        return f"runs/{self.benchmark}/{self.task}/{self.method}/{self.variant}/seed_{self.seed}"


@dataclass(frozen=True)
class Experiment:
    """A figure and a table: the runs of one benchmark (tasks x methods x seeds) and how they are scored."""

    name: str
    title: str
    description: str
    benchmark: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    variant: str
    seeds: tuple[int, ...]
    score_rule: str
    episodes: int  # of the final evaluation
    videos: int
    planned: bool

    def runs(self) -> list[RunName]:
        """Every run, tasks first, seeds last."""
        return [
            RunName(self.benchmark, task, method, self.variant, seed)
            for task in self.tasks
            for method in self.methods
            for seed in self.seeds
        ]


def load(config: Mapping[str, Any], source: str) -> dict[str, Experiment]:
    """The experiments of a configuration read from `source`; InputError lists everything wrong with it."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    problems = [line for error in validator.iter_errors(_plain(config)) for line in _explain(error)]
    if problems:
        lines = "\n".join(f"  {line}" for line in sorted(problems))
        raise InputError(f"{source} cannot be used:\n{lines}\nEvery key is explained in config/README.md.")
    experiments = {name: _experiment(name, entry) for name, entry in config["experiments"].items()}
    _check_shared_runs(experiments.values(), source)
    return experiments


def _experiment(name: str, entry: Mapping[str, Any]) -> Experiment:
    return Experiment(
        name=name,
        title=entry["title"],
        description=entry.get("description", ""),
        benchmark=entry["benchmark"],
        tasks=tuple(entry["tasks"]),
        methods=tuple(entry["methods"]),
        variant=entry["variant"],
        seeds=tuple(entry["seeds"]),
        score_rule=entry["score_rule"],
        episodes=entry["final_evaluation"]["episodes"],
        videos=entry["final_evaluation"]["videos"],
        planned=entry.get("planned", False),
    )


def _check_shared_runs(experiments: Any, source: str) -> None:
    """A run has one final evaluation, so experiments that share the run must agree on it."""
    seen: dict[RunName, Experiment] = {}
    for experiment in experiments:
        for run in experiment.runs():
            other = seen.setdefault(run, experiment)
            if (other.episodes, other.videos) != (experiment.episodes, experiment.videos):
                raise InputError(
                    f"{source}: experiments.{experiment.name}.final_evaluation differs from that of {other.name}, "
                    f"which shares {run.directory}: make the two equal"
                )


def _plain(value: Any) -> Any:
    """Snakemake's configuration as plain dicts and lists, which is all that a JSON schema knows."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _explain(error: jsonschema.ValidationError) -> Iterator[str]:
    """One line for each thing wrong: key, value, what is allowed."""
    key = _dotted(error.absolute_path)
    allowed: Any = error.validator_value
    schema: Any = error.schema
    instance: Any = error.instance
    match error.validator:
        case "additionalProperties":
            known = list(schema["properties"])
            for name in sorted(set(instance) - set(known), key=str):
                yield f"{_join(key, name)}: unknown key{_nearest(name, known)}; allowed: {', '.join(known)}"
        case "required":
            for name in sorted(set(allowed) - set(instance)):
                yield f"{_join(key, name)}: missing; it is required"
        case "type":
            yield f"{key}: {instance!r} is not of type {allowed}"
        case "minimum" | "maximum":
            yield f"{key}: {instance!r} is outside what is allowed, the {error.validator} is {allowed}"
        case "pattern":
            yield f"{key or 'name'}: {instance!r} is not a name: lower-case letters, digits and _ only"
        case "minItems" | "minProperties" | "minLength":
            yield f"{key}: must not be empty"
        case "uniqueItems":
            yield f"{key}: {instance!r} has an entry twice"
        case _:
            yield f"{key}: {error.message}"


def _dotted(path: Any) -> str:
    key = ""
    for part in path:
        key = f"{key}[{part}]" if isinstance(part, int) else _join(key, part)
    return key


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


def _nearest(name: object, known: list[str]) -> str:
    near = get_close_matches(str(name), known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""
