"""The presets as they are frozen: `python -m tests.agent.presets --write` accepts a change that is meant.

A run's digest names its settings: when a preset's digest changes, runs that were finished under the old one are stale,
and the workflow trains them again.
"""

import json
import sys
from pathlib import Path

from agent.config import names, resolve, tasks
from envs.errors import UserError

FROZEN = Path(__file__).with_name("presets.json")
METHODS = (
    "dreamerv2", "harmony_dreamerv2",
    "dreamerv3", "harmony_dreamerv3",
    "dreamerv3_torch", "harmony_dreamerv3_torch",
)  # fmt: skip
ACCEPT = "if the change is meant, run `python -m tests.agent.presets --write` and commit it with the reason"


def current() -> dict[str, str]:
    """`benchmark/task/method` to the digest of its settings at the paper's scale, for all that can be resolved."""
    found = {}
    for benchmark in names("benchmarks"):
        for task in tasks(benchmark):
            for method in METHODS:
                try:
                    found[f"{benchmark}/{task}/{method}"] = resolve(benchmark, task, method, "paper").digest
                except UserError as error:
                    if "has no settings" not in str(error):  # a benchmark of other base methods only
                        raise
    return found


def changes() -> list[str]:
    """What differs from the frozen digests, one line each."""
    frozen, now = json.loads(FROZEN.read_text()), current()
    words = {(True, True): "changed", (True, False): "gone", (False, True): "new"}
    return [
        f"{key}: {words[key in frozen, key in now]}"
        for key in sorted(frozen | now)
        if frozen.get(key) != now.get(key)
    ]  # fmt: skip


if __name__ == "__main__":
    print("\n".join(changes()) or "nothing has changed")
    if "--write" in sys.argv[1:]:
        FROZEN.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")
