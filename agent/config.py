"""From names to settings: base method < benchmark < derived methods < variant < `--set key=value`, later wins.

The base method is the one that the method's chain of `extends` ends in; a benchmark holds, for each base method, what
the paper changes. This module imports neither torch nor a simulator: planning hundreds of runs takes milliseconds.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent.settings import RunConfig
from envs.errors import UserError, unknown

CONFIG = Path(__file__).parent.parent / "config"
KINDS = ("benchmarks", "methods", "variants")
Tree = dict[str, Any]


def names(kind: str) -> tuple[str, ...]:
    """The ids that may be given for `kind`: benchmarks, methods or variants."""
    return tuple(sorted(path.stem for path in (CONFIG / kind).glob("*.yaml")))


def resolve(benchmark: str, task: str, method: str, variant: str, overrides: Sequence[str] = ()) -> RunConfig:
    """The checked settings of a run. Raises UserError naming key, value, what is allowed and where."""
    merged: Tree = {}
    origin: dict[str, str] = {}
    for source, layer in _layers(benchmark, task, method, variant, overrides):
        _merge(merged, layer, source, origin)
    merged |= {"benchmark": benchmark, "task": task, "method": method, "variant": variant}
    try:
        return RunConfig.model_validate(merged)
    except ValidationError as error:
        raise UserError("\n".join(_explain(e, origin) for e in error.errors())) from None


def tasks(benchmark: str) -> tuple[str, ...]:
    """The tasks of the benchmark's file, in its order."""
    return tuple(_load("benchmarks", benchmark)["tasks"])


def describe(kind: str, name: str) -> str:
    """The one-line description that a file of the configuration gives of itself."""
    return str(_load(kind, name).get("description", ""))


def _layers(
    benchmark: str, task: str, method: str, variant: str, overrides: Sequence[str]
) -> Iterator[tuple[str, Tree]]:
    bench, scale = _load("benchmarks", benchmark), _load("variants", variant)
    if task not in bench["tasks"]:
        raise unknown(f"task of {benchmark}", task, bench["tasks"], str(_file("benchmarks", benchmark)))
    base, *derived = _lineage(method)
    if base not in bench["methods"]:
        raise UserError(
            f"method {method!r} builds on {base!r}, for which benchmark {benchmark!r} has no settings; "
            f"it has them for {', '.join(bench['methods'])}: {_file('benchmarks', benchmark)}"
        )
    yield str(_file("methods", base)), _settings(_load("methods", base), "description")
    for key in ("score", "env", "frames_per_step"):
        yield str(_file("benchmarks", benchmark)), {key: bench[key]}
    yield str(_file("benchmarks", benchmark)), bench["methods"][base]
    yield str(_file("benchmarks", benchmark)), bench["tasks"][task]
    for name in derived:
        yield str(_file("methods", name)), _settings(_load("methods", name), "description", "extends")
    yield str(_file("variants", variant)), scale.get("all", {})
    yield str(_file("variants", variant)), scale.get("benchmarks", {}).get(benchmark, {})
    for item in overrides:
        yield f"--set {item}", _parse_override(item)


def _lineage(method: str) -> list[str]:
    """The chain of `extends` from the base method to `method`."""
    chain = [method]
    while (parent := _load("methods", chain[0]).get("extends")) is not None:
        if parent in chain:
            raise UserError(f"method {method!r} extends itself through {parent!r}: {_file('methods', chain[0])}")
        chain.insert(0, parent)
    return chain


@functools.cache
def _load(kind: str, name: str) -> Tree:
    if name not in names(kind):
        raise unknown(kind.removesuffix("s"), name, names(kind), str(CONFIG / kind))
    try:
        loaded = yaml.safe_load(_file(kind, name).read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{_file(kind, name)} is not valid YAML: {error}") from None
    return loaded


def _file(kind: str, name: str) -> Path:
    return CONFIG / kind / f"{name}.yaml"


def _settings(tree: Tree, *without: str) -> Tree:
    return {key: value for key, value in tree.items() if key not in without}


def _parse_override(item: str) -> Tree:
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise UserError(f"--set takes key=value, for example --set batch.size=8, not {item!r}")
    try:
        tree: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {item}: {text!r} is not a YAML value") from None
    for part in reversed(key.split(".")):
        tree = {part: tree}
    return tree


def _merge(into: Tree, layer: Mapping[str, Any], source: str, origin: dict[str, str], path: str = "") -> None:
    """Merge `layer` into `into`, noting for each leaf which file it came from; an unknown key is refused at once."""
    for key, value in layer.items():
        where = f"{path}{key}"
        _check_known(where, source)
        replaces = path == "" and key == "env" and key not in into
        if isinstance(value, Mapping) and not replaces and _changes_kind(into.get(key), value):
            into[key] = {}  # another kind of network: none of the old kind's keys carry over
        if isinstance(value, Mapping):
            _merge(into.setdefault(key, {}), value, source, origin, f"{where}.")
        else:
            into[key] = value
        origin[where] = source


def _changes_kind(old: object, new: Mapping[str, Any]) -> bool:
    return isinstance(old, Mapping) and "kind" in new and old.get("kind") != new["kind"]


def _check_known(path: str, source: str) -> None:
    models: list[type[BaseModel]] = [RunConfig]
    for part in path.split("."):
        if not models:  # inside a free mapping: `env` is checked by the adapter, `loss_scales` by the agent
            return
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        if part not in fields:
            raise unknown("key", path, _siblings(path, fields), source)
        models = [
            model for m in models if part in m.model_fields for model in _models_of(m.model_fields[part].annotation)
        ]


def _siblings(path: str, fields: Mapping[str, Any]) -> list[str]:
    head = path.rpartition(".")[0]
    return [f"{head}.{name}" if head else name for name in fields]


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_of(argument)]


def _explain(error: ErrorDetails, origin: Mapping[str, str]) -> str:
    parts = [str(part) for part in error["loc"]]
    candidates = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    where = next((f" (set by {origin[key]})" for key in candidates if key in origin), "")
    if error["type"] == "missing":
        return f"key {'.'.join(parts)} is missing"
    return f"key {'.'.join(parts)}: {error['msg']}, got {error['input']!r}{where}"
