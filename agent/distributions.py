"""Distributions of the heads, the latent state and the actor. Sampling maps noise given from outside.

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
    """A squared error: log_prob = -scale * (x - mean)^2, summed over the last `event_dims` dimensions.

    With scale 1/2 it is a unit normal without its constant (torch code); the JAX code does not halve.
    """

    def __init__(self, mean: Tensor, event_dims: int = 0, scale: float = 0.5):
        self.mean = mean
        self._dims, self._scale = tuple(range(-event_dims, 0)), scale

    def log_prob(self, value: Tensor) -> Tensor:
        error = -self._scale * (value - self.mean) ** 2
        return error.sum(self._dims) if self._dims else error


def symlog(x: Tensor) -> Tensor:
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    return x.sign() * x.abs().expm1()


class SymlogMSE:
    """A squared error in symlog space, summed over the last dimension; errors below 1e-8 count as none."""

    def __init__(self, mean: Tensor):
        self._mean = mean

    @property
    def mean(self) -> Tensor:
        return symexp(self._mean)

    def log_prob(self, value: Tensor) -> Tensor:
        error = (self._mean - symlog(value)) ** 2
        return -torch.where(error < 1e-8, 0.0, error).sum(-1)


class TwoHot:
    """A categorical over 255 bins of symlog space, -20 to 20, trained on two-hot targets; logits (..., 255).

    DreamerV3 (Hafner et al. 2023), section "symlog predictions"; reference: `DiscDist` of both code bases.
    """

    BINS, LOW, HIGH = 255, -20.0, 20.0

    def __init__(self, logits: Tensor):
        self.logits = logits.float()

    @functools.cached_property
    def bins(self) -> Tensor:
        return torch.linspace(self.LOW, self.HIGH, self.logits.shape[-1], device=self.logits.device)

    @functools.cached_property
    def mean(self) -> Tensor:
        return symexp((F.softmax(self.logits, -1) * self.bins).sum(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Cross-entropy with the target (...) spread over its two neighbouring bins."""
        x = symlog(value.float()).unsqueeze(-1)  # (..., 1)
        last = self.bins.shape[0] - 1
        below = ((self.bins <= x).sum(-1, keepdim=True) - 1).clamp(0, last)
        above = (last + 1 - (self.bins > x).sum(-1, keepdim=True)).clamp(0, last)
        equal = below == above
        to_below = torch.where(equal, 1.0, (self.bins[below] - x).abs())
        to_above = torch.where(equal, 1.0, (self.bins[above] - x).abs())
        total = to_below + to_above
        log_prob = self.logits - self.logits.logsumexp(-1, keepdim=True)
        spread = log_prob.gather(-1, below) * (to_above / total) + log_prob.gather(-1, above) * (to_below / total)
        return spread.squeeze(-1)


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
        return _one_hot(self.logits.argmax(-1), self.logits)

    def sample(self, u: Tensor) -> Tensor:
        """Invert the CDF at `u` in [0, 1), shape (...): the class k with cdf(k - 1) <= u < cdf(k), one-hot (..., K)."""
        probs = self.probs
        below = (probs.detach().cumsum(-1) <= u.unsqueeze(-1)).sum(-1)
        index = below.clamp(max=probs.shape[-1] - 1)  # rounding can leave the last cdf below u
        return _one_hot(index, probs) + (probs - probs.detach())

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits.gather(-1, value.argmax(-1, keepdim=True)).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.probs * self.logits).sum(-1)

    def kl(self, other: "OneHot") -> Tensor:
        """KL(self || other), shape (...)."""
        return (self.probs * (self.logits - other.logits)).sum(-1)


def _one_hot(index: Tensor, like: Tensor) -> Tensor:
    """Index (...) as one-hot vectors of the shape (..., K) of `like`; torch's own looks at the index first."""
    return torch.zeros_like(like).scatter_(-1, index.unsqueeze(-1), 1.0)


def unimix(logits: Tensor, fraction: float) -> Tensor:
    """Logits of the categorical mixed with `fraction` of the uniform one; (..., K)."""
    if not fraction:
        return logits
    return ((1 - fraction) * F.softmax(logits, -1) + fraction / logits.shape[-1]).log()


class MultiOneHot:
    """Independent categoricals side by side: logits (..., sum(sizes)); `u` has one column for each."""

    def __init__(self, logits: Tensor, sizes: Sequence[int], uniform: float = 0.0):
        self._sizes = list(sizes)
        self._parts = [OneHot(unimix(part, uniform)) for part in logits.split(self._sizes, -1)]

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
        # Rounding can take it to the ends, where the inverse is infinite.
        signed = (2 * quantile - 1).clamp(eps - 1, 1 - eps)
        sample = math.sqrt(2) * torch.erfinv(signed) * self.std + self.mean
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


class Normal:
    """Independent normals in the last dimension's components; mean and std (..., A)."""

    def __init__(self, mean: Tensor, std: Tensor):
        self._normal = torch.distributions.Normal(mean, std, validate_args=False)

    @property
    def mode(self) -> Tensor:
        return self._normal.mean

    def sample(self, z: Tensor) -> Tensor:
        """Scale and shift standard normal noise (..., A)."""
        return self._normal.mean + self._normal.stddev * z

    def log_prob(self, value: Tensor) -> Tensor:
        return self._normal.log_prob(value).sum(-1)

    def entropy(self) -> Tensor:
        return self._normal.entropy().sum(-1)


def _normal_pdf(x: Tensor) -> Tensor:
    return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))
