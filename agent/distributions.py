"""Distributions of the heads, the latent state and the actor. Sampling maps uniform noise given from outside.

Each has what its user needs of `log_prob(x)`, `mode`, `mean`, `sample(u)` and `entropy()`; the batch shape is written
`(...)`. Reference: wmlib-torch/wmlib/core/dists.py. Nothing here waits for the device.
"""

import functools
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F


class ActionDistribution(Protocol):
    """What an actor returns: actions are (..., A) vectors, discrete ones one-hot."""

    @property
    def mode(self) -> Tensor: ...
    def sample(self, u: Tensor) -> Tensor: ...
    def log_prob(self, value: Tensor) -> Tensor: ...
    def entropy(self) -> Tensor: ...


class MSE:
    """Unit normal without its constant: log_prob = -(x - mean)^2 / 2, summed over the last `event_dims` dimensions."""

    def __init__(self, mean: Tensor, event_dims: int = 0):
        self.mean = self.mode = mean
        self._dims = tuple(range(-event_dims, 0))

    def log_prob(self, value: Tensor) -> Tensor:
        error = -((value - self.mean) ** 2) / 2
        return error.sum(self._dims) if self._dims else error


class Bernoulli:
    """A binary head; log_prob takes soft targets, as binary cross-entropy does."""

    def __init__(self, logits: Tensor):
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def log_prob(self, target: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(self.logits, target, reduction="none")


class OneHot:
    """A categorical over one-hot vectors with straight-through gradients; logits (..., K)."""

    def __init__(self, logits: Tensor):
        self.logits = logits - logits.logsumexp(-1, keepdim=True)  # log-probabilities

    @functools.cached_property
    def probs(self) -> Tensor:
        return F.softmax(self.logits, -1)

    @property
    def mode(self) -> Tensor:
        return F.one_hot(self.logits.argmax(-1), self.logits.shape[-1]).to(self.logits.dtype)

    def sample(self, u: Tensor) -> Tensor:
        """Invert the CDF at `u` in [0, 1), shape (...): the class k with cdf(k - 1) <= u < cdf(k), one-hot (..., K)."""
        probs = self.probs
        below = (probs.detach().cumsum(-1) <= u.unsqueeze(-1)).sum(-1)
        index = below.clamp(max=probs.shape[-1] - 1)  # rounding can leave the last cdf below u
        one_hot = torch.zeros_like(probs).scatter_(-1, index.unsqueeze(-1), 1.0)
        return one_hot + (probs - probs.detach())

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits.gather(-1, value.argmax(-1, keepdim=True)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.probs * self.logits).sum(-1)

    def kl(self, other: "OneHot") -> Tensor:
        """KL(self || other), shape (...)."""
        return (self.probs * (self.logits - other.logits)).sum(-1)


class MultiOneHot:
    """Independent categoricals side by side: logits (..., sum(sizes)); `u` has one column for each."""

    def __init__(self, logits: Tensor, sizes: Sequence[int]):
        self._sizes = list(sizes)
        self._parts = [OneHot(part) for part in logits.split(self._sizes, -1)]

    @property
    def mode(self) -> Tensor:
        return torch.cat([part.mode for part in self._parts], -1)

    def sample(self, u: Tensor) -> Tensor:
        return torch.cat([part.sample(u[..., i]) for i, part in enumerate(self._parts)], -1)

    def log_prob(self, value: Tensor) -> Tensor:
        values = value.split(self._sizes, -1)
        return torch.stack([part.log_prob(v) for part, v in zip(self._parts, values, strict=True)], -1).sum(-1)

    def entropy(self) -> Tensor:
        return torch.stack([part.entropy() for part in self._parts], -1).sum(-1)


class TruncatedNormal:
    """A normal truncated to [-1, 1] in each of the last dimension's components; mean and std (..., A).

    Formulas: https://people.sc.fsu.edu/~jburkardt/presentations/truncated_normal.pdf
    """

    CLIP = 1e-6  # samples keep this distance from the bounds, straight through

    def __init__(self, mean: Tensor, std: Tensor):
        self.mean, self.std = mean, std
        self._low, self._high = (-1 - mean) / std, (1 - mean) / std
        self._cdf_low = _normal_cdf(self._low)
        self._mass = (_normal_cdf(self._high) - self._cdf_low).clamp_min(torch.finfo(mean.dtype).eps)

    @property
    def mode(self) -> Tensor:
        return self.mean.clamp(-1, 1)

    def sample(self, u: Tensor) -> Tensor:
        """Invert the CDF at `u` in [0, 1), shape (..., A); differentiable in mean and std."""
        eps = torch.finfo(u.dtype).eps
        quantile = self._cdf_low + u.clamp(eps, 1 - eps) * self._mass
        sample = math.sqrt(2) * torch.erfinv(2 * quantile - 1) * self.std + self.mean
        clipped = sample.clamp(-1 + self.CLIP, 1 - self.CLIP)
        return sample + (clipped - sample).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.mean) / self.std
        log_prob = -0.5 * math.log(2 * math.pi) - self._mass.log() - standard**2 / 2 - self.std.log()
        return log_prob.sum(-1)

    def entropy(self) -> Tensor:
        slope = (_normal_pdf(self._high) * self._high - _normal_pdf(self._low) * self._low) / self._mass
        entropy = 0.5 * math.log(2 * math.pi * math.e) + self._mass.log() - slope / 2 + self.std.log()
        return entropy.sum(-1)


def _normal_pdf(x: Tensor) -> Tensor:
    return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))
