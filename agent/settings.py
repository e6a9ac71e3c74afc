"""The resolved settings of a run, typed and checked. What each means: the comments of config/methods/dreamerv2.yaml.

Counts are agent steps unless a name says otherwise. Nothing here has a default: a method that extends no other gives
every key, so that its file is the full table of hyperparameters.
"""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
HeadName = Literal["decoder", "reward", "discount"]
Scalar = bool | int | float | str | list[int] | list[float] | list[str]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())


class Optimizer(Settings):
    lr: Annotated[float, Field(gt=0)]
    eps: Annotated[float, Field(gt=0)]
    clip: Annotated[float, Field(gt=0)]
    weight_decay: Fraction


class Layers(Settings):
    """What all dense and convolutional layers of an agent have in common, output layers aside."""

    activation: Literal["elu", "silu"]
    norm: Literal["none", "layer"]
    bias: bool
    init: Literal["glorot", "truncated_normal"]


class RSSM(Settings):
    deter: Positive
    hidden: Positive
    stoch: Positive
    classes: Annotated[int, Field(ge=2)]
    unimix: Fraction
    learned_initial: bool
    clip_actions: bool


class PlainCNN(Settings):
    kind: Literal["plain"]
    depth: Positive
    kernels: Annotated[list[Positive], Field(min_length=1)]
    vector_layers: Positive
    vector_units: Positive


class ResNet(Settings):
    kind: Literal["resnet"]
    depth: Positive
    stages: Positive
    layers: Positive
    vector_layers: Positive
    vector_units: Positive


class SamePad(Settings):
    kind: Literal["same_pad"]
    depth: Positive
    min_resolution: Positive
    norm: Literal["channel", "joint"]
    widen: bool
    vector_layers: Positive
    vector_units: Positive


ImageNet = Annotated[PlainCNN | ResNet | SamePad, Field(discriminator="kind")]


class MLP(Settings):
    layers: Count
    units: Positive


class Head(MLP):
    output: Literal["mse", "two_hot", "binary"]


class BalancedKL(Settings):
    kind: Literal["balanced"]
    free: NonNegative
    balance: Annotated[float, Field(gt=0, lt=1)]


class SeparateKL(Settings):
    kind: Literal["separate"]
    free: NonNegative


KL = Annotated[BalancedKL | SeparateKL, Field(discriminator="kind")]


class Harmonizer(Settings):
    form: Literal["none", "rectified", "unrectified"]
    losses: list[Literal["reward", "image", "kl"]]
    ignore_scales: bool
    drop_others: bool
    share_regulariser: bool

    @model_validator(mode="after")
    def _losses_need_a_form(self) -> "Harmonizer":
        if (self.form == "none") != (not self.losses):
            raise ValueError(f"`losses` is {self.losses}, but must be empty exactly when `form` is none")
        if len(set(self.losses)) < len(self.losses):
            raise ValueError(f"`losses` is {self.losses}, but may name each loss only once")
        return self


class WorldModel(Settings):
    reward_transform: Literal["identity", "sign", "tanh"] | Annotated[float, Field(gt=0)]
    discount: Fraction
    predict_discount: bool
    hard_continues: bool
    halve_squared_error: bool
    symlog_vectors: bool
    gradient_heads: list[HeadName]
    rssm: RSSM
    encoder: ImageNet
    decoder: ImageNet
    reward_head: Head
    discount_head: Head
    kl: KL
    loss_scales: dict[str, NonNegative]
    harmonizer: Harmonizer
    optimizer: Optimizer


class SlowCritic(Settings):
    every: Positive
    fraction: Fraction
    regulariser: NonNegative


class Percentiles(Settings):
    decay: Fraction
    low: Fraction
    high: Fraction


class Policy(Settings):
    continuous: Literal["truncated_normal", "normal"]
    unimix: Fraction
    unimix_multi: Fraction


class Behavior(Settings):
    horizon: Annotated[int, Field(ge=3)]
    return_lambda: Fraction
    gradient: Literal["auto", "dynamics", "reinforce"]
    entropy: NonNegative
    soft_value_target: bool
    alignment: Literal["arrival", "departure"]
    returns_from: Literal["slow", "fast"]
    baseline_from: Literal["slow", "fast"]
    normalise_returns: Percentiles | None
    policy: Policy
    actor: MLP
    critic: Head
    slow_critic: SlowCritic
    actor_optimizer: Optimizer
    critic_optimizer: Optimizer


class Train(Settings):
    steps: Positive
    prefill: Positive
    pretrain: Count
    every: Positive
    log_every: Positive
    checkpoint_every: Positive

    @model_validator(mode="after")
    def _prefill_fits(self) -> "Train":
        if self.prefill > self.steps:
            raise ValueError(f"prefill {self.prefill} must not exceed steps {self.steps}")
        return self


class Evaluation(Settings):
    every: Positive
    episodes: Positive
    action: Literal["mode", "sample"]
    initial: bool
    from_start: bool
    env: dict[str, Scalar]

    def first(self, prefilled: int) -> int:
        """The agent step of the first evaluation, if the prefill ended at `prefilled`."""
        return prefilled if self.initial else self.after(prefilled)

    def after(self, step: int) -> int:
        """The agent step of the evaluation that follows one at `step`."""
        return step + self.every - (step % self.every if self.from_start else 0)


class Replay(Settings):
    capacity: Positive
    unit: Literal["episodes", "windows"]
    ongoing: bool
    min_length: Positive
    max_length: Positive
    prioritize_ends: Count
    one_stream: bool

    @model_validator(mode="after")
    def _lengths_are_ordered(self) -> "Replay":
        if self.min_length > self.max_length:
            raise ValueError(f"min_length {self.min_length} must not exceed max_length {self.max_length}")
        return self


class Batch(Settings):
    size: Positive
    length: Annotated[int, Field(ge=2)]


class Limits(Settings):
    """When a run is given up. They decide whether a run ends, not what it finds, so that no digest counts them."""

    env_restarts: Count
    skipped_share: Annotated[float, Field(ge=0, lt=1)]


class Worker(Settings):
    """Of the processes that environments live in. What they find does not depend on it, so that no digest counts it."""

    python: str | None
    timeout: Annotated[float, Field(gt=0)]


class RunConfig(Settings):
    """All settings of one run but its seed."""

    benchmark: str
    task: str
    method: str
    variant: str
    score: Literal["return", "success"]
    frames_per_step: Positive
    env: dict[str, Scalar]
    train: Train
    evaluation: Evaluation
    replay: Replay
    batch: Batch
    precision: Literal["float32", "bfloat16", "float16"]
    threads: Positive
    layers: Layers
    world_model: WorldModel
    behavior: Behavior
    limits: Limits
    worker: Worker

    @property
    def env_frames_per_step(self) -> int:
        """Env frames that one agent step takes, the action repeat."""
        return self.frames_per_step

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the settings: equal digests, equal runs up to the seed."""
        without: Any = {"limits": True, "worker": True, "train": {"checkpoint_every"}}
        if not self.evaluation.env:  # nothing is chosen for evaluations: no reason to tell runs apart
            without["evaluation"] = {"env"}
        return hashlib.sha256(json.dumps(self.model_dump(exclude=without), sort_keys=True).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return self.model_dump()
