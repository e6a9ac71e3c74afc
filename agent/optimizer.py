"""Adam with L2 weight decay, after clipping by the global norm; steps with non-finite gradients are skipped.

All of it stays on the device: nothing here waits for it. Reference: wmlib-torch/wmlib/core/torch_utils.py, `Optimizer`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from agent.settings import Optimizer as OptimizerSettings


class Optimizer:
    def __init__(self, name: str, parameters: Iterable[nn.Parameter], settings: OptimizerSettings, scaled: bool):
        """`scaled`: scale the loss, as float16 needs. Weight decay is L2 (coupled) and reaches every parameter."""
        self.name = name
        self.parameters = list(parameters)
        self.clip = settings.clip
        self.adam = torch.optim.Adam(
            self.parameters, settings.lr, eps=settings.eps, weight_decay=settings.weight_decay, fused=True
        )
        self.scaler = torch.amp.GradScaler(self.parameters[0].device.type, enabled=scaled)

    def step(self, loss: Tensor) -> dict[str, Tensor]:
        """One update; returns the gradients' global norm before clipping, and whether the update was skipped (0, 1)."""
        self.adam.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.adam)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        skipped = (~torch.isfinite(norm)).to(torch.float32)
        self.adam.found_inf = skipped  # type: ignore[attr-defined]  # fused Adam then leaves everything as it was
        self.scaler.step(self.adam)
        self.scaler.update()
        return {f"{self.name}/grad_norm": norm.detach(), f"{self.name}/skipped": skipped}
