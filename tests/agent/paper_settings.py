"""The paper's settings, key by key: written from the authors' settings and from how their code uses them.

Sources: wmlib-torch/configs/dreamerv2.yaml (DreamerV2, and its option `dreamerv3`) and
dreamerv3-jax/dreamerv3/configs.yaml; not this suite's own files. Counts are agent steps.
"""

from typing import Any

TASKS = {
    "metaworld": ("lever_pull", "handle_pull_side", "hammer"),
    "dmc_remastered": ("cheetah_run", "hopper_stand", "walker_run"),
    "dmc_background": ("cheetah_run", "hopper_stand", "walker_run"),
    "rlbench": ("push_button", "reach_target"),
    "minecraft": ("hunt_cow",),
}
ABSENT = object()
# One value for all, or one for each of Meta-world, the two DMC benchmarks, and RLBench.
DREAMERV2_COLUMNS = {"metaworld": 0, "dmc_remastered": 1, "dmc_background": 1, "rlbench": 2}
DREAMERV2: dict[str, Any] = {
    "score": ("success", "return", "success"),
    "frames_per_step": (1, 2, 2),
    # Meta-world stops at stop_steps = 255000, the others at steps.
    "train.steps": (255_000, 502_000, 502_000),
    "train.prefill": (5_000, 1_000, 10_000),
    "train.pretrain": (100, 100, 1),
    "train.every": 5,
    "evaluation.every": (10_000, 10_000, 5_000),
    "evaluation.episodes": (10, 10, 5),
    "evaluation.action": "mode",
    "evaluation.initial": True,
    "evaluation.from_start": False,
    "replay.unit": "episodes",
    "replay.ongoing": False,
    "replay.capacity": (1_000_000, 2_000_000, 2_000_000),
    "replay.min_length": (50, 50, 1),
    "replay.max_length": 50,
    "replay.prioritize_ends": (50, 0, 50),
    "replay.one_stream": True,
    "batch.size": (50, 16, 50),
    "batch.length": 50,
    "threads": 1,
    "layers.activation": "elu",
    "layers.norm": "none",
    "layers.bias": True,
    "layers.init": "glorot",
    "world_model.reward_transform": ("identity", "identity", "tanh"),
    "world_model.discount": 0.99,
    "world_model.predict_discount": (False, False, True),
    "world_model.hard_continues": False,
    "world_model.halve_squared_error": True,
    "world_model.symlog_vectors": False,
    "world_model.gradient_heads": (
        ["decoder", "reward"],
        ["decoder", "reward"],
        ["decoder", "reward", "discount"],
    ),
    "world_model.rssm.deter": 1024,
    "world_model.rssm.hidden": 1024,
    "world_model.rssm.stoch": 32,
    "world_model.rssm.classes": 32,
    "world_model.rssm.unimix": 0.0,
    "world_model.rssm.learned_initial": False,
    "world_model.rssm.clip_actions": False,
    "world_model.encoder.kind": ("plain", "plain", "resnet"),
    "world_model.encoder.depth": 48,
    "world_model.encoder.kernels": ([4, 4, 4, 4], [4, 4, 4, 4], ABSENT),
    "world_model.encoder.stages": (ABSENT, ABSENT, 3),
    "world_model.encoder.layers": (ABSENT, ABSENT, 2),
    "world_model.encoder.vector_layers": 4,
    "world_model.encoder.vector_units": 400,
    "world_model.decoder.kind": ("plain", "plain", "resnet"),
    "world_model.decoder.depth": 48,
    "world_model.decoder.kernels": ([5, 5, 6, 6], [5, 5, 6, 6], ABSENT),
    "world_model.decoder.stages": (ABSENT, ABSENT, 3),
    "world_model.decoder.layers": (ABSENT, ABSENT, 2),
    "world_model.decoder.vector_layers": 4,
    "world_model.decoder.vector_units": 400,
    "world_model.reward_head.layers": 4,
    "world_model.reward_head.units": 400,
    "world_model.reward_head.output": "mse",
    "world_model.discount_head.layers": 4,
    "world_model.discount_head.units": 400,
    "world_model.discount_head.output": "binary",
    "world_model.kl.kind": "balanced",
    "world_model.kl.free": (0.0, 1.0, 1.0),
    "world_model.kl.balance": 0.8,
    "world_model.loss_scales": ({}, {}, ABSENT),
    "world_model.loss_scales.kl": (ABSENT, ABSENT, 0.1),
    "world_model.harmonizer.ignore_scales": True,
    "world_model.harmonizer.drop_others": True,
    "world_model.harmonizer.share_regulariser": True,
    "world_model.optimizer.lr": (3e-4, 3e-4, 1e-4),
    "world_model.optimizer.eps": 1e-5,
    "world_model.optimizer.clip": 100.0,
    "world_model.optimizer.weight_decay": 1e-6,
    "behavior.horizon": 15,
    "behavior.return_lambda": 0.95,
    "behavior.gradient": "auto",
    "behavior.entropy": (1e-4, 1e-4, 2e-3),
    "behavior.soft_value_target": True,
    "behavior.alignment": "arrival",
    "behavior.returns_from": "slow",
    "behavior.baseline_from": "slow",
    "behavior.normalise_returns": None,
    "behavior.policy.continuous": "truncated_normal",
    "behavior.policy.unimix": 0.0,
    "behavior.policy.unimix_multi": 0.0,
    "behavior.actor.layers": 4,
    "behavior.actor.units": 400,
    "behavior.critic.layers": 4,
    "behavior.critic.units": 400,
    "behavior.critic.output": "mse",
    "behavior.slow_critic.every": 100,
    "behavior.slow_critic.fraction": 1.0,
    "behavior.slow_critic.regulariser": 0.0,
    "behavior.actor_optimizer.lr": 8e-5,
    "behavior.actor_optimizer.eps": 1e-5,
    "behavior.actor_optimizer.clip": 100.0,
    "behavior.actor_optimizer.weight_decay": 1e-6,
    "behavior.critic_optimizer.lr": (8e-5, 8e-5, 2e-4),
    "behavior.critic_optimizer.eps": 1e-5,
    "behavior.critic_optimizer.clip": 100.0,
    "behavior.critic_optimizer.weight_decay": 1e-6,
}
# One value for all, or one for each of `atari100k` and `metaworld` of the JAX code, and the torch code's `minecraft
# dreamerv3 large eval_hard`.
DREAMERV3_COLUMNS = {"atari100k": 0, "metaworld": 1, "minecraft": 2}
DREAMERV3: dict[str, Any] = {
    "score": ("return", "success", "success"),
    "frames_per_step": (4, 1, 1),
    "train.steps": (101_000, 255_000, 1_002_000),
    # JAX fills until the replay holds 1,024 windows of 64 rows (1,087 rows), or 5,000 windows of 50 in each of five
    # environments' streams together (5,245 rows), in blocks of 100.
    "train.prefill": (1_100, 5_300, 2_000),
    "train.pretrain": (0, 0, 100),
    # JAX: train_ratio / (batch_size * batch_length) is 1024 / 1024 and 500 / 2500.
    "train.every": (1, 5, 5),
    "evaluation.every": (5_000, 10_000, 10_000),
    "evaluation.episodes": (100, 10, 10),
    "evaluation.action": ("sample", "sample", "mode"),
    "evaluation.initial": (False, True, True),
    "evaluation.from_start": (True, True, False),
    "replay.unit": ("windows", "windows", "episodes"),
    "replay.ongoing": True,
    "replay.capacity": 1_000_000,
    "replay.min_length": (64, 50, 64),
    "replay.max_length": (64, 50, 64),
    "replay.prioritize_ends": 0,
    "replay.one_stream": (False, False, True),
    "batch.size": (16, 50, 16),
    "batch.length": (64, 50, 64),
    "layers.activation": "silu",
    "layers.norm": "layer",
    "layers.bias": (False, False, True),
    "layers.init": ("truncated_normal", "truncated_normal", "glorot"),
    "world_model.reward_transform": "identity",
    "world_model.discount": (1 - 1 / 333, 1 - 1 / 333, 0.997),
    "world_model.predict_discount": True,
    "world_model.hard_continues": (True, True, False),
    "world_model.halve_squared_error": (False, False, True),
    "world_model.symlog_vectors": True,
    "world_model.gradient_heads": (
        ["decoder", "reward", "discount"],
        ["decoder", "reward"],
        ["decoder", "reward", "discount"],
    ),
    "world_model.rssm.deter": (512, 1024, 2048),
    "world_model.rssm.hidden": (512, 640, 768),
    "world_model.rssm.stoch": 32,
    "world_model.rssm.classes": 32,
    "world_model.rssm.unimix": 0.01,
    "world_model.rssm.learned_initial": (True, True, False),
    "world_model.rssm.clip_actions": (True, True, False),
    "world_model.encoder.kind": "same_pad",
    "world_model.encoder.depth": (32, 48, 64),
    "world_model.encoder.min_resolution": 4,
    "world_model.encoder.norm": ("channel", "channel", "joint"),
    "world_model.encoder.widen": (True, True, False),
    # The patterns `.*\.layers` and `.*\.units` match neither `mlp_layers` nor `mlp_units`.
    "world_model.encoder.vector_layers": (5, 5, 4),
    "world_model.encoder.vector_units": (1024, 1024, 400),
    "world_model.decoder.kind": "same_pad",
    "world_model.decoder.depth": (32, 48, 64),
    "world_model.decoder.min_resolution": 4,
    "world_model.decoder.norm": ("channel", "channel", "joint"),
    "world_model.decoder.widen": True,
    "world_model.decoder.vector_layers": (5, 5, 4),
    "world_model.decoder.vector_units": (1024, 1024, 400),
    "world_model.reward_head.layers": (2, 3, 4),
    "world_model.reward_head.units": (512, 640, 768),
    "world_model.reward_head.output": "two_hot",
    "world_model.discount_head.layers": (2, 3, 4),
    "world_model.discount_head.units": (512, 640, 768),
    "world_model.discount_head.output": "binary",
    "world_model.kl.kind": ("separate", "separate", "balanced"),
    "world_model.kl.free": 1.0,
    "world_model.kl.balance": (ABSENT, ABSENT, 0.833),
    "world_model.loss_scales.dyn": (0.5, 0.5, ABSENT),
    "world_model.loss_scales.rep": (0.1, 0.1, ABSENT),
    "world_model.loss_scales.kl": (ABSENT, ABSENT, 0.6),
    "world_model.harmonizer.ignore_scales": True,
    "world_model.harmonizer.drop_others": (False, False, True),
    "world_model.harmonizer.share_regulariser": True,
    "world_model.optimizer.lr": 1e-4,
    "world_model.optimizer.eps": 1e-8,
    "world_model.optimizer.clip": 1000.0,
    "world_model.optimizer.weight_decay": 0.0,
    "behavior.horizon": 15,
    "behavior.return_lambda": 0.95,
    "behavior.gradient": "auto",
    "behavior.entropy": 3e-4,
    "behavior.soft_value_target": False,
    "behavior.alignment": ("departure", "departure", "arrival"),
    "behavior.returns_from": "fast",
    "behavior.baseline_from": ("fast", "fast", "slow"),
    "behavior.normalise_returns.decay": 0.99,
    "behavior.normalise_returns.low": 0.05,
    "behavior.normalise_returns.high": 0.95,
    "behavior.policy.continuous": ("normal", "normal", "truncated_normal"),
    "behavior.policy.unimix": 0.01,
    "behavior.policy.unimix_multi": (0.01, 0.01, 0.0),
    "behavior.actor.layers": (2, 3, 4),
    "behavior.actor.units": (512, 640, 768),
    "behavior.critic.layers": (2, 3, 4),
    "behavior.critic.units": (512, 640, 768),
    "behavior.critic.output": "two_hot",
    "behavior.slow_critic.every": 1,
    "behavior.slow_critic.fraction": 0.02,
    "behavior.slow_critic.regulariser": 1.0,
    "behavior.actor_optimizer.lr": 3e-5,
    "behavior.actor_optimizer.eps": 1e-5,
    "behavior.actor_optimizer.clip": 100.0,
    "behavior.actor_optimizer.weight_decay": 0.0,
    "behavior.critic_optimizer.lr": 3e-5,
    "behavior.critic_optimizer.eps": 1e-5,
    "behavior.critic_optimizer.clip": 100.0,
    "behavior.critic_optimizer.weight_decay": 0.0,
}
# This suite's own choices: the authors train in float16 by default (Atari aside) and say that it may produce non-finite
# values; their JAX code leaves the number of threads to the machine.
OURS = {
    "variant": "paper", "precision": "float32", "threads": 1, "train.checkpoint_every": 10_000,
    "limits.env_restarts": 10, "limits.skipped_share": 0.01, "worker.python": None, "worker.timeout": 60.0,
    "evaluation.env": {},
}  # fmt: skip
LOG_EVERY = {"dreamerv2": 1_000, "dreamerv3": 1_000, "dreamerv3_torch": 10_000}
PLAIN = {"world_model.harmonizer.form": "none", "world_model.harmonizer.losses": []}
HARMONY = {"world_model.harmonizer.form": "rectified", "world_model.harmonizer.losses": ["reward", "image", "kl"]}
ENV: dict[tuple[str, str], dict[str, Any]] = {
    ("dmc_remastered", "hopper_stand"): {"vary": ["bg", "floor", "body", "target", "reflectance", "light"]},
    ("atari100k", "pong"): {"truncation_is_terminal": True},
    ("atari100k", "chopper_command"): {"truncation_is_terminal": True, "frame_cap": 5400},
}


def expected(benchmark: str, task: str, method: str) -> dict[str, Any]:
    """The settings of a reproduction method at the paper's scale, as dotted keys."""
    base = method.removeprefix("harmony_")
    table, columns = (DREAMERV2, DREAMERV2_COLUMNS) if base == "dreamerv2" else (DREAMERV3, DREAMERV3_COLUMNS)
    values = {key: value[columns[benchmark]] if isinstance(value, tuple) else value for key, value in table.items()}
    values |= OURS | {"train.log_every": LOG_EVERY[base], "benchmark": benchmark, "task": task, "method": method}
    values |= PLAIN if base == method else HARMONY
    values |= flatten({"env": ENV.get((benchmark, task), {})})
    return {key: value for key, value in values.items() if value is not ABSENT}


def flatten(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Dotted keys to values; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return flat
