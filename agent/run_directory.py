"""A run's directory: live files in `checkpoint/`, results that appear together when the run is finished."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from agent.files import sync, write_text
from agent.lock import Lock
from agent.settings import RunConfig
from envs.errors import UserError

RESULTS = ("config.yaml", "metrics.jsonl", "evaluations.csv", "policy.safetensors", "provenance.json")
# While a run is under way: what it finds does not depend on them.
MAY_CHANGE = (".limits", ".worker", ".train.checkpoint_every")
KEPT_BESIDE = ("train.log", "tensorboard", "skipped")  # worth keeping, but no declared result


class RunDirectory:
    def __init__(self, path: Path):
        self.path, self.live = path, path / "checkpoint"
        self._failure = self.live / "failed.json"

    @property
    def finished(self) -> bool:
        """Whether every result is there; provenance.json comes last."""
        return all((self.path / name).exists() for name in RESULTS)

    def check(self, config: RunConfig, seed: int) -> None:
        """Check that the directory belongs to these settings, or to none yet. Raises UserError."""
        stored = next((p for p in (self.path / "config.yaml", self.live / "config.yaml") if p.exists()), None)
        if stored is None or self._never_began:
            return
        if differing := _differences(yaml.safe_load(stored.read_text()), describe(config, seed)):
            raise UserError(
                f"run directory {self.path} belongs to another configuration: {'; '.join(differing[:5])} "
                f"(stored in {stored}). Give another --run-dir, or remove this one to start anew."
            )

    def claim(self, config: RunConfig, seed: int) -> None:
        """Make the directory, for these settings. Raises UserError if it cannot be written."""
        try:
            self.live.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(describe(config, seed), sort_keys=False)
            stored = self.live / "config.yaml"
            if not stored.exists() or stored.read_text() != text:
                write_text(stored, text)
        except OSError as error:
            raise UserError(f"cannot write the run directory {self.path}: {error}") from None

    @property
    def _never_began(self) -> bool:
        """Whether a user's mistake ended the only attempts before the first checkpoint: another may take the place."""
        return self._failure.exists() and not (self.live / "state").exists()

    def lock(self) -> Lock:
        """What must be held by who writes there."""
        return Lock(self.live / "lock")

    def finish(self, policy: bytes, provenance: dict[str, Any]) -> None:
        """Move the results into place, provenance.json last, and remove what was live."""
        (self.live / "policy.safetensors").write_bytes(policy)
        (self.live / "evaluations.csv").touch()
        (self.live / "metrics.jsonl").touch()
        for name in RESULTS[:-1]:
            sync(self.live / name)
        write_text(self.live / RESULTS[-1], json.dumps(provenance, indent=2) + "\n")
        self.move_results()

    def move_results(self) -> None:
        """The last part of `finish`, which can be done again if it was cut short."""
        for name in (*KEPT_BESIDE, *RESULTS):
            if (self.live / name).exists():
                if (self.path / name).is_dir():  # of a run whose results were removed; a file is replaced
                    shutil.rmtree(self.path / name)
                (self.live / name).rename(self.path / name)
        sync(self.path)
        self.remove_live()

    def remove_live(self) -> None:
        """Remove what only a run under way needs."""
        shutil.rmtree(self.live)

    @property
    def nearly_finished(self) -> bool:
        """Whether a process was stopped while it moved the results."""
        return (self.live / "provenance.json").exists()

    def note_failure(self, message: str) -> None:
        """Leave a marker that no retry can help."""
        if self.live.is_dir():
            write_text(self._failure, json.dumps({"error": message}))

    def permanent_failure(self) -> str | None:
        return json.loads(self._failure.read_text())["error"] if self._failure.exists() else None

    def forget_failure(self) -> None:
        self._failure.unlink(missing_ok=True)


def describe(config: RunConfig, seed: int) -> dict[str, Any]:
    """The contents of config.yaml."""
    settings = config.as_dict()
    names = {key: settings.pop(key) for key in ("benchmark", "task", "method", "variant")}
    return {**names, "seed": seed, "digest": config.digest, **settings}


def _differences(stored: Any, wanted: Any, path: str = "") -> list[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = [key for key in {**stored, **wanted} if f"{path}.{key}" not in (".digest", *MAY_CHANGE)]
        return [text for key in keys for text in _differences(stored.get(key), wanted.get(key), f"{path}.{key}")]
    return [] if stored == wanted else [f"{path[1:]} is {stored!r} there, {wanted!r} was asked for"]
