"""From the world model's losses to one objective: fixed weights, or HarmonyDream's learned ones.

HarmonyDream (ICML 2024) divides each loss by a learned sigma_i = exp(s_i), s_i = 0 at the start, and adds a regulariser:
rectified (equation 5) log(1 + sigma_i), unrectified (equation 4) log sigma_i. At the rectified optimum
sigma = (L + sqrt(L^2 + 4 L)) / 2. The s_i are parameters of the world model's optimiser, weight decay and clipping
included. Reference: wmlib-torch/wmlib/agents/dreamerv2.py, `WorldModel.loss`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.settings import Harmonizer as HarmonizerSettings
from envs.errors import unknown

REGULARISERS = {"rectified": lambda s: F.softplus(s), "unrectified": lambda s: s}


class Objective(nn.Module):
    """Weighs the losses named `keys`; every key has a harmonizer, a fixed scale, or is dropped by name."""

    def __init__(self, keys: list[str], settings: HarmonizerSettings, scales: Mapping[str, float]):
        super().__init__()
        self.keys, self.form = list(keys), settings.form
        self.s = nn.ParameterDict({key: nn.Parameter(torch.zeros(())) for key in settings.losses})
        for key in [*self.s, *scales]:
            if key not in keys:
                raise unknown("loss", key, keys, "world_model.harmonizer.losses and world_model.loss_scales")
        # Released code's bug: with harmony on, only these four losses enter the sum (docs/released_code_bugs.md).
        drops = settings.drop_others and settings.form != "none"
        self.dropped = [key for key in keys if drops and key not in ("reward", "image", "kl", "discount")]
        scaled = [key for key in keys if key not in self.s or not settings.ignore_scales]
        self.scales = {key: float(scales.get(key, 1.0)) if key in scaled else 1.0 for key in keys}

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The scalar objective of `losses`, one tensor of any shape for each key; each is averaged first."""
        assert list(losses) == self.keys, f"losses {list(losses)} are not those weighed, {self.keys}"
        total = torch.stack([self._term(key, losses[key].mean()) for key in self.keys if key not in self.dropped]).sum()
        return total

    def _term(self, key: str, loss: Tensor) -> Tensor:
        loss = loss * self.scales[key]
        if key not in self.s:
            return loss
        s = self.s[key]
        return loss * torch.exp(-s) + REGULARISERS[self.form](s)

    def metrics(self) -> dict[str, Tensor]:
        """Each harmonised loss's sigma = exp(s) and weight 1 / sigma, as they entered this update."""
        found = {}
        for key, s in self.s.items():
            found[f"harmony/{key}/sigma"] = s.detach().exp()
            found[f"harmony/{key}/weight"] = (-s.detach()).exp()
        return found
