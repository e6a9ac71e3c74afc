"""Updates that were skipped because a loss or gradient was not finite: evidence of them, and when they are too many."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from agent.files import replaced

KEPT = 3  # files, the newest
GRACE = 100  # optimiser steps of a run that may always be skipped: float16 finds the scale of its loss in this way


class TooManySkipped(Exception):  # noqa: N818
    """A run that no longer learns; to go on from its last checkpoint would only skip the same updates again."""


class Evidence:
    """The inputs of the first update that was skipped since the last `write`.

    They are chosen on the device, so that no update waits for it; the memory is that of one batch.
    """

    def __init__(self, directory: Path):
        """`directory` is made when there is something to keep."""
        self._directory = directory
        self._inputs: dict[str, Tensor] = {}
        self._number = torch.tensor(-1)

    def note(self, number: int, inputs: Mapping[str, Tensor], metrics: Mapping[str, Tensor]) -> None:
        """Update `number` had these inputs; `metrics` tell which optimisers skipped it (`<optimiser>/skipped`)."""
        skipped = torch.stack([value for name, value in metrics.items() if name.endswith("/skipped")]).amax() > 0
        if not self._inputs:
            self._inputs = {name: torch.empty_like(value) for name, value in inputs.items()}
            self._number = self._number.to(skipped.device)
        first = skipped & (self._number < 0)
        for name, kept in self._inputs.items():
            torch.where(first, inputs[name], kept, out=kept)
        self._number = torch.where(first, number, self._number)

    def write(self) -> Path | None:
        """Write what was kept to `update_<number>.safetensors` and begin anew; None if no update was skipped."""
        if (number := int(self._number)) < 0:
            return None
        self._number.fill_(-1)
        self._directory.mkdir(exist_ok=True)
        path = self._directory / f"update_{number:09d}.safetensors"
        tensors = {name: value.cpu().contiguous() for name, value in self._inputs.items()}
        with replaced(path) as temporary:
            temporary.write_bytes(save(tensors, {"update": str(number)}))
        for old in sorted(self._directory.glob("update_*"))[:-KEPT]:
            old.unlink()
        return path


def check(skipped: int, steps: int, share: float, evidence: Path | None) -> None:
    """Raise TooManySkipped if more than `share` of all optimiser steps so far, and more than GRACE, were skipped."""
    if skipped <= max(GRACE, share * steps):
        return
    where = f"; the batch of such an update is in {evidence}" if evidence else ""
    raise TooManySkipped(
        f"{skipped:,} of {steps:,} optimiser steps were skipped because loss or gradient was not finite, more than "
        f"limits.skipped_share = {share} allows{where}. Look for rewards or observations of absurd size in it; else "
        "train a new run with smaller learning rates or in float32, or raise the limit and run this command again"
    )
