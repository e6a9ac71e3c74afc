"""From the world model's losses to one objective: fixed weights, or HarmonyDream's learned ones.

HarmonyDream (ICML 2024) divides each loss by a learned sigma_i = exp(s_i), s_i = 0 at the start, and adds a
regulariser: rectified (equation 5) log(1 + sigma_i), unrectified (equation 4) log sigma_i. At the rectified optimum
sigma = (L + sqrt(L^2 + 4 L)) / 2. The s_i are parameters of the world model's optimiser, weight decay and clipping
included. Reference: wmlib-torch/wmlib/agents/dreamerv2.py, `WorldModel.loss`; dreamerv3-jax/dreamerv3/agent.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agent.settings import Harmonizer as HarmonizerSettings
from envs.errors import unknown

REGULARISERS = {"rectified": lambda s: F.softplus(s), "unrectified": lambda s: s}
GROUPS = {"dyn": "kl", "rep": "kl"}  # losses that share a harmonizer; any other has the one of its own name


class Objective(nn.Module):
    """Weighs the losses named `keys`; every key has a harmonizer, a fixed scale, or is dropped by name.

    Losses that share a harmonizer enter with their scales' shares of 1. The regulariser is added once, with the first
    of them; the released JAX code weighs it with that one's share, 5/6 (`share_regulariser`).
    """

    def __init__(self, keys: list[str], settings: HarmonizerSettings, scales: Mapping[str, float]):
        super().__init__()
        self.keys, self.form = list(keys), settings.form
        self.s = nn.ParameterDict({key: nn.Parameter(torch.zeros(())) for key in settings.losses})
        self.group = {key: group for key in keys if (group := GROUPS.get(key, key)) in self.s}
        _check_names(keys, [*self.s, *scales])
        # Released code's bug: with harmony on, only these losses enter the sum (docs/released_code_bugs.md).
        drops = settings.drop_others and settings.form != "none"
        self.dropped = [key for key in keys if drops and key not in (*self.group, "reward", "image", "kl", "discount")]
        self.scales = {key: float(scales.get(key, 1.0)) for key in keys}
        self.regulariser = {}
        for group, members in self._members().items():
            total = sum(self.scales[key] for key in members)
            share = self.scales[members[0]] / total if total else 0.0
            self.regulariser[members[0]] = share if settings.share_regulariser else 1.0
            if settings.ignore_scales:
                self.scales |= {key: self.scales[key] / total if len(members) > 1 else 1.0 for key in members}
            assert group in self.s

    def _members(self) -> dict[str, list[str]]:
        return {group: [key for key in self.keys if self.group.get(key) == group] for group in self.s}

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The scalar objective of `losses`, one tensor of any shape for each key; each is averaged first."""
        assert list(losses) == self.keys, f"losses {list(losses)} are not those weighed, {self.keys}"
        return torch.stack([self._term(key, losses[key].mean()) for key in self.keys if key not in self.dropped]).sum()

    def _term(self, key: str, loss: Tensor) -> Tensor:
        loss = loss * self.scales[key]
        if key not in self.group:
            return loss
        s = self.s[self.group[key]]
        loss = loss * torch.exp(-s)
        return loss + self.regulariser[key] * REGULARISERS[self.form](s) if key in self.regulariser else loss

    def metrics(self) -> dict[str, Tensor]:
        """Each harmonised loss's sigma = exp(s) and weight 1 / sigma, as they entered this update."""
        found = {}
        for key, s in self.s.items():
            found[f"harmony/{key}/sigma"] = s.detach().exp()
            found[f"harmony/{key}/weight"] = (-s.detach()).exp()
        return found


def _check_names(keys: list[str], named: list[str]) -> None:
    known = [*keys, *(GROUPS[key] for key in keys if key in GROUPS)]
    for key in named:
        if key not in known:
            raise unknown("loss", key, known, "world_model.harmonizer.losses and world_model.loss_scales")
