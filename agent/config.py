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
from envs.declared import SettingsLoader
from envs.errors import UserError, unknown

CONFIG = Path(__file__).parent.parent / "config"
Tree = dict[str, Any]

# What a file may hold beside settings, True where it must; a method's other keys are settings.
KEYS = {
    "benchmarks": {
        "description": False, "score": True, "deterministic": False, "tasks": True, "env": True, "worker": False,
        "frames_per_step": True, "methods": True,
    },
    "methods": {"description": False, "extends": False, **dict.fromkeys(RunConfig.model_fields, False)},
    "variants": {"description": False, "all": False, "benchmarks": False},
}  # fmt: skip
NAMES = ("benchmark", "task", "method", "variant")


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
    return checked(merged, origin)


def checked(tree: Tree, origin: Mapping[str, str]) -> RunConfig:
    """The settings in `tree`; `origin` says where a key's value is from. Raises UserError for what is wrong in it."""
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(e, tree, origin) for e in error.errors()]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


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
    yield str(_file("methods", base)), _settings(_load("methods", base))
    for key in ("score", "env", "worker", "frames_per_step"):
        yield str(_file("benchmarks", benchmark)), {key: bench[key]} if key in bench else {}
    yield str(_file("benchmarks", benchmark)), bench["methods"][base]
    yield str(_file("benchmarks", benchmark)), bench["tasks"][task] or {}
    for name in derived:
        yield str(_file("methods", name)), _settings(_load("methods", name))
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
        loaded = yaml.load(_file(kind, name).read_text(), SettingsLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{_file(kind, name)} is not valid YAML: {error}") from None
    _check_file(kind, loaded, str(_file(kind, name)))
    return loaded


def _check_file(kind: str, tree: Any, path: str) -> None:
    if not isinstance(tree, dict):
        raise UserError(f"{path} must hold keys and values, like the other files in {CONFIG / kind}, not {tree!r}")
    for key in tree:
        if key not in KEYS[kind]:
            raise unknown("key", key, KEYS[kind], path)
    for key, needed in KEYS[kind].items():
        if needed and key not in tree:
            raise UserError(f"key {key} is missing in {path}")


def _file(kind: str, name: str) -> Path:
    return CONFIG / kind / f"{name}.yaml"


def _settings(method: Tree) -> Tree:
    return {key: value for key, value in method.items() if key not in ("description", "extends")}


def _parse_override(item: str) -> Tree:
    key, separator, text = item.partition("=")
    if not separator or not key:
        raise UserError(f"--set takes key=value, for example --set batch.size=8, not {item!r}")
    try:
        tree: Any = yaml.load(text, SettingsLoader)
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
            if not isinstance(into.get(key), dict):
                into[key] = {}
            _merge(into[key], value, source, origin, f"{where}.")
        else:
            into[key] = value
        origin[where] = source


def _changes_kind(old: object, new: Mapping[str, Any]) -> bool:
    return isinstance(old, Mapping) and "kind" in new and old.get("kind") != new["kind"]


def _check_known(path: str, source: str) -> None:
    if path in NAMES:
        raise UserError(f"key {path} is no setting (see {source}): a run's {path} is chosen with --{path}")
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


def _explain(error: ErrorDetails, merged: Tree, origin: Mapping[str, str]) -> str:
    parts = _path(error, merged)
    key = ".".join(parts)
    if error["type"] == "missing":
        return f"key {key} is missing"
    candidates = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    where = next((f" (set by {origin[key]})" for key in candidates if key in origin), "")
    got = "" if error["type"] == "value_error" else f", got {error['input']!r}"
    return f"key {key}: {error['msg'].removeprefix('Value error, ')}{got}{where}"


def _path(error: ErrorDetails, merged: Tree) -> list[str]:
    """The key that an error is about, without the names that pydantic gives to the members of a union."""
    node: Any = merged
    parts: list[str] = []
    for part in error["loc"]:
        inside = part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int)
        if inside:
            node = node[part]
            parts.append(str(part))
    return [*parts, str(error["loc"][-1])] if error["type"] == "missing" else parts
