"""Sizes of the networks from the settings alone: parameters, and the numbers that an update keeps for its gradients.

Written beside the networks (agent/nets.py, rssm.py, convolutions.py, behavior.py) and held against them by the tests.
Assumed, since only the environment knows: pictures of three channels and no vectors, ACTIONS numbers to an action.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import log2

from agent.settings import MLP, Head, Layers, PlainCNN, ResNet, RunConfig, SamePad

ACTIONS = 18  # the most that Atari has; a hundredth of what a layer takes
BINS = 255  # of a two-hot output
DISCRETE = ("atari100k", "crafter", "minecraft")  # benchmarks whose actions are: no gradient goes through the model
IMAGE_SIDES = {"minecraft": 128}  # where it is not 64, and no option of the environment
CHANNELS = 3


@dataclass(frozen=True)
class Size:
    """Of a part: parameters, floats kept for one input, and floats of its output."""

    parameters: int = 0
    floats: int = 0
    output: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.parameters + other.parameters, self.floats + other.floats, other.output)


@dataclass(frozen=True)
class Network:
    """Of an agent: all parameters, those that are trained, and floats that its two updates keep at most."""

    parameters: int
    trained: int
    world_model_floats: int
    behavior_floats: int


def image_side(config: RunConfig) -> int:
    """Pixels along a side of the picture."""
    size = config.env.get("size", IMAGE_SIDES.get(config.benchmark, 64))
    assert isinstance(size, int)
    return size


def network(config: RunConfig) -> Network:
    model, behavior, layers = config.world_model, config.behavior, config.layers
    side, rssm = image_side(config), config.world_model.rssm
    pixels = CHANNELS * side**2
    encoder = encoder_size(side, model.encoder, layers)
    latent = rssm.stoch * rssm.classes
    features = latent + rssm.deter
    prior, posterior, first = _rssm(config, encoder.output)
    decoder = decoder_size(features, side, model.decoder, layers)
    heads = [model.reward_head] + ([model.discount_head] if model.predict_discount else [])
    scalars = [_head(features, head, layers) for head in heads]
    actor = dense(features, behavior.actor, layers) + linear(behavior.actor.units, ACTIONS)
    critic = _head(features, behavior.critic, layers)
    world = encoder.parameters + prior.parameters + posterior.parameters + first + decoder.parameters
    trained = world + sum(x.parameters for x in scalars) + actor.parameters + critic.parameters
    batch = config.batch.size * config.batch.length
    step = encoder.floats + prior.floats + posterior.floats + decoder.floats + sum(x.floats for x in scalars)
    imagined = actor.floats + critic.floats + 3 * features
    if behavior.gradient == "dynamics" or (behavior.gradient == "auto" and config.benchmark not in DISCRETE):
        imagined += prior.floats + sum(x.floats for x in scalars) + critic.floats
    return Network(
        parameters=trained + critic.parameters,
        trained=trained,
        world_model_floats=batch * (step + 6 * pixels + 4 * features),
        behavior_floats=batch * (behavior.horizon + 1) * imagined,
    )


def linear(inputs: int, outputs: int, bias: bool = True) -> Size:
    return Size(inputs * outputs + bias * outputs, outputs, outputs)


def dense(inputs: int, settings: MLP, layers: Layers) -> Size:
    """Hidden layers; each keeps its product, the norm's and the activation's result."""
    total = Size()
    for a, b in pairwise([inputs] + [settings.units] * settings.layers):
        total += _hidden(a, b, layers)
    return total


def _hidden(inputs: int, units: int, layers: Layers) -> Size:
    norm = layers.norm == "layer"
    return Size(inputs * units + layers.bias * units + norm * 2 * units, (2 + norm) * units, units)


def _head(features: int, settings: Head, layers: Layers) -> Size:
    outputs = BINS if settings.output == "two_hot" else 1
    hidden = dense(features, settings, layers)
    return hidden + Size(settings.units * outputs + outputs, 4 * outputs, outputs)


def _rssm(config: RunConfig, embed: int) -> tuple[Size, Size, int]:
    """The prior's step (cell included), the posterior's, and the parameters of the first state."""
    rssm, layers = config.world_model.rssm, config.layers
    latent, deter, units = rssm.stoch * rssm.classes, rssm.deter, rssm.hidden
    cell = Size((units + deter) * 3 * deter + layers.bias * 3 * deter + 6 * deter, units + 14 * deter, deter)
    logits = Size(units * latent + latent, 8 * latent, latent)
    prior = _hidden(latent + ACTIONS, units, layers) + cell + _hidden(deter, units, layers) + logits
    posterior = _hidden(deter + embed, units, layers) + logits
    return prior, posterior, rssm.learned_initial * deter


def encoder_size(side: int, settings: PlainCNN | ResNet | SamePad, layers: Layers) -> Size:
    if isinstance(settings, PlainCNN):
        depths = [CHANNELS] + [settings.depth * 2**i for i in range(len(settings.kernels))]
        total = Size()
        for (a, b), kernel in zip(pairwise(depths), settings.kernels, strict=True):
            side = (side - kernel) // 2 + 1
            total += _conv(a, b, kernel, side, copies=2)
        return total
    if isinstance(settings, ResNet):
        total, side = _conv(CHANNELS, settings.depth, 3, side // 2, copies=2), side // 2
        for a, b in pairwise([settings.depth] + [settings.depth * 2**i for i in range(settings.stages)]):
            for i in range(settings.layers):
                total += _residual(a if i == 0 else b, b, side)
            side //= 2
        return Size(total.parameters, total.floats, b * side**2)
    stages = _stages(side, settings)
    depths = [CHANNELS] + [settings.depth * (2**i if settings.widen else 1) for i in range(stages)]
    total = Size()
    for a, b in pairwise(depths):
        side //= 2
        total += _same_pad(a, b, side, settings, layers)
    return total


def decoder_size(features: int, side: int, settings: PlainCNN | ResNet | SamePad, layers: Layers) -> Size:
    if isinstance(settings, PlainCNN):
        stages = len(settings.kernels)
        depths = [32 * settings.depth] + [settings.depth * 2 ** (stages - i - 2) for i in range(stages - 1)]
        total, at = linear(features, depths[0]), 1
        for (a, b), kernel in zip(pairwise([*depths, CHANNELS]), settings.kernels, strict=True):
            at = (at - 1) * 2 + kernel
            total += _conv(a, b, kernel, at, copies=2)
        return total
    if isinstance(settings, ResNet):
        depth, at = settings.depth * 2 ** (settings.stages - 1), side // 2 ** (settings.stages + 1)
        total = linear(features, depth * at**2)
        for a, b in pairwise([depth // 2**i for i in range(settings.stages + 1)]):
            at *= 2
            for i in range(settings.layers):
                total += _residual(a, b if i == settings.layers - 1 else a, at)
        return total + _conv(b, CHANNELS, 3, side, copies=1)
    stages, at = _stages(side, settings), settings.min_resolution
    depths = [settings.depth * 2 ** (stages - 1 - i) for i in range(stages)]
    total = linear(features, depths[0] * at**2)
    for a, b in pairwise(depths):
        at *= 2
        total += _same_pad(a, b, at, settings, layers)
    return total + _conv(depths[-1], CHANNELS, 4, side, copies=1)


def _conv(inputs: int, outputs: int, kernel: int, side: int, copies: int, bias: bool = True) -> Size:
    """A convolution to `side` pixels; `copies` of its result are kept."""
    result = outputs * side**2
    return Size(inputs * outputs * kernel**2 + bias * outputs, copies * result, result)


def _residual(inputs: int, outputs: int, side: int) -> Size:
    """Two 3x3 convolutions, each with batch normalisation, and where the channels change a 1x1 one beside them."""
    skip = Size(inputs * outputs + 2 * outputs, 2 * outputs * side**2) if inputs != outputs else Size()
    norms = Size(4 * outputs, 4 * outputs * side**2)
    first = _conv(inputs, outputs, 3, side, copies=1, bias=False)
    return skip + norms + first + _conv(outputs, outputs, 3, side, copies=1, bias=False)


def _same_pad(inputs: int, outputs: int, side: int, settings: SamePad, layers: Layers) -> Size:
    norm = 2 * outputs * (1 if settings.norm == "channel" else side**2)
    return Size(norm) + _conv(inputs, outputs, 4, side, copies=4, bias=layers.bias)


def _stages(side: int, settings: SamePad) -> int:
    return int(log2(side) - log2(settings.min_resolution))
