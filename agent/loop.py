"""The training loop: random prefill, pretraining, then steps, updates and evaluations by the run's schedule.

Reference: wmlib-torch/examples/train_dreamerv2.py. All counts are agent steps, the prefill included.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium
import numpy as np
import torch
from tqdm import tqdm

from agent import checkpoint, skipped, snapshot
from agent.agent import Agent
from agent.driver import Driver
from agent.noise import Noise, stream_rng, stream_seed
from agent.records import Records
from agent.replay import Replay
from agent.rollout import Actor, evaluate
from agent.settings import RunConfig
from envs.errors import UserError
from envs.worker import RestartBudget

SHARE = 0.02  # of the time is what checkpoints may take, of those that take longer than SOON (seconds): the next one
SOON = 1.0  # waits where the disk is slow. When a run saves changes nothing that it finds.
log = logging.getLogger(__name__)
MakeEnv = Callable[[str], gymnasium.Env]


@dataclass
class Progress:
    """Where a run stands: agent steps, and those at which the next update, evaluation, log and checkpoint are due."""

    step: int = 0
    prefilled: bool = False
    pretraining: int = 0  # updates of the pretraining still to come
    next_update: int = 0
    next_evaluation: int = 0
    next_log: int = 0
    next_checkpoint: int = 0
    wall_seconds: float = 0.0
    skipped: float = 0.0
    restarts: int = 0
    inexact_resumes: int = 0
    damaged_chunks: int = 0


class _Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """The run was told to stop, at a point from which it can go on as if it had not."""


class Loop:
    def __init__(
        self, config: RunConfig, seed: int, directory: Path, device: torch.device,
        make_env: MakeEnv, restarts: RestartBudget,
    ):  # fmt: skip
        """`make_env` makes an environment by name (`train` or `evaluation`); `directory` holds all that is live.

        `restarts` is what these environments' workers count their restarts in.
        """
        self.config, self.seed, self.directory, self.device, self.restarts = config, seed, directory, device, restarts
        self.env, self.eval_env = make_env("train"), make_env("evaluation")
        _check_alike(self.env, self.eval_env)
        self.agent = _seeded_agent(config, self.env, seed, device)
        self.noise = Noise(seed, device)
        self.driver = Driver(self.env, self.agent.kind, seed, "train_episode")
        self.eval_driver = Driver(self.eval_env, self.agent.kind, seed, "evaluation_episode")
        self.actor = Actor(self.agent, self.noise, "train_policy")
        self.replay = Replay(directory / "replay", config.replay, config.batch, seed)
        self.records = Records(directory, config.frames_per_step)
        self.evidence = skipped.Evidence(directory / "skipped")
        self.carry = self.agent.initial_carry(config.batch.size)
        self.progress = Progress(next_checkpoint=config.train.checkpoint_every)
        self._rest_until = 0.0  # by time.monotonic(): no checkpoint is due before
        self._resume()

    def run(self, stop: Callable[[], bool]) -> bool:
        """Train to the end and return True, or, once `stop()` is true, save a checkpoint and return False."""
        self._stop, self._started = stop, time.monotonic() - self.progress.wall_seconds
        steps = self.config.train.steps
        with tqdm(total=steps, initial=self.progress.step, unit="step", mininterval=2.0, desc="train") as bar:
            try:
                while self.progress.step < steps:
                    self._do_what_is_due()
                    self._step()
                    bar.update()
                self._end()
            except _Stopped:
                self.save()
                return False
        return True

    def _do_what_is_due(self) -> None:
        """What comes between two agent steps."""
        if self.progress.pretraining:
            self._pretrain()
        if self.progress.prefilled:
            self._evaluate_if_due()
        self._heed_stop()
        if self.progress.step >= self.progress.next_checkpoint and time.monotonic() >= self._rest_until:
            self.save()

    def _heed_stop(self) -> None:
        """Called wherever the run may be left; within pretraining and evaluations, too, which may take long."""
        self.progress.wall_seconds = time.monotonic() - self._started
        if self._stop():
            raise _Stopped

    def _end(self) -> None:
        """The last evaluation and the last line of metrics."""
        if not self.progress.prefilled:
            raise UserError(
                f"training never began: within train.steps = {self.config.train.steps} agent steps there was not "
                f"{self.replay.needs}; raise train.steps, or lower what is needed"
            )
        self._do_what_is_due()
        if self.progress.next_log < self.progress.step + self.config.train.log_every:
            self._log()

    def close(self) -> None:
        self.records.close()
        self.env.close()
        self.eval_env.close()

    def _step(self) -> None:
        progress, train = self.progress, self.config.train
        self._act()
        progress.step += 1
        if not progress.prefilled:
            self._end_prefill_if_due()
        elif progress.step >= progress.next_update and self.replay.ready:  # not if its chunks were damaged
            progress.next_update += train.every
            self._update()
        if progress.prefilled and progress.step >= progress.next_log:
            self._log()

    def _act(self) -> None:
        """One agent step, of the uniform random policy while prefilling."""
        if self.driver.ended:
            self.replay.add(self.driver.reset())
        row, number = self.driver.row, self.progress.step
        assert row is not None
        if self.progress.prefilled:
            action = self.actor.act(row, number, "sample")
        else:
            action = self.agent.kind.random(stream_rng(self.seed, "prefill", number))
        self.replay.add(self.driver.step(action))
        if self.driver.ended:
            self.records.note_episode(self.driver.total, self.driver.steps)

    def _end_prefill_if_due(self) -> None:
        """After the prefill, and at least one episode that can be drawn from, comes the pretraining."""
        progress, train = self.progress, self.config.train
        if progress.step < train.prefill or not self.replay.ready:
            return
        progress.prefilled = True
        if self.config.replay.unit == "episodes":  # the torch code starts a new episode then, the JAX code does not
            self.replay.drop_ongoing()
            self.driver.begin(self.driver.next)
        progress.pretraining = train.pretrain + 1  # the reference's benchmarking pass is an update, too
        log.info("prefilled %d agent steps; pretraining %d updates", progress.step, progress.pretraining)
        progress.next_update = progress.step + 1  # the first step of training, and then every n
        progress.next_evaluation = self.config.evaluation.first(progress.step)
        progress.next_log = progress.step + train.log_every

    def _pretrain(self) -> None:
        while self.progress.pretraining and self.replay.ready:
            self._heed_stop()
            self._update()
            self.progress.pretraining -= 1

    def _update(self) -> None:
        batch = {key: torch.as_tensor(value).to(self.device) for key, value in self.replay.sample().items()}
        batch["image"] = batch["image"].permute(0, 1, 4, 2, 3)  # (B, T, H, W, C) to (B, T, C, H, W), as it lies
        number, carry = self.agent.updates, self.carry
        noise = self.noise.draw("update", number, self.agent.update_noise())
        self.carry, metrics = self.agent.update(batch, carry, noise)
        self.records.note_update(metrics)
        self.evidence.note(number, snapshot.named(batch=batch, carry=carry._asdict(), noise=noise), metrics)

    def _evaluate_if_due(self) -> None:
        progress, settings = self.progress, self.config.evaluation
        if progress.step < progress.next_evaluation:
            return
        first = self.eval_driver.next

        def heed_stop(*_: object) -> None:
            try:
                self._heed_stop()
            except _Stopped:  # the evaluation is made again as a whole
                self.eval_driver.begin(first)
                raise

        rows = evaluate(
            self.eval_driver,
            Actor(self.agent, self.noise, "evaluation_policy"),
            episodes=settings.episodes,
            mode=settings.action,
            agent_step=progress.step,
            frames_per_step=self.config.frames_per_step,
            watch=heed_stop,
        )
        progress.next_evaluation = settings.after(progress.next_evaluation)
        self.records.write_evaluation(rows)
        mean = sum(row["return"] for row in rows) / len(rows)
        log.info("step %d: return %.2f over %d evaluation episodes", progress.step, mean, len(rows))

    def _log(self) -> None:
        progress = self.progress
        progress.next_log += self.config.train.log_every
        noted = self.records.pending_updates()
        updates = 0 if noted is None else len(noted)
        extra = {
            "wall_seconds": round(progress.wall_seconds, 3),
            "speed/agent_steps_per_second": round(progress.step / max(progress.wall_seconds, 1e-9), 3),
        }
        line = self.records.write(progress.step, self.agent.updates, extra)
        progress.skipped += updates * sum(line.get(f"{name}/skipped", 0.0) for name in self.agent.optimizers)
        self._look_at_skipped()
        losses = ", ".join(f"{key[5:]} {value:.4g}" for key, value in line.items() if key.startswith("loss/"))
        log.info("step %d, update %d: %s", progress.step, self.agent.updates, losses)

    def _look_at_skipped(self) -> None:
        """Keep the evidence of skipped updates; too many of them end the run."""
        if (path := self.evidence.write()) is not None:
            log.warning("an update was skipped, because loss or gradient was not finite: its inputs are in %s", path)
        steps = self.agent.updates * len(self.agent.optimizers)
        skipped.check(round(self.progress.skipped), steps, self.config.limits.skipped_share, path)

    def save(self) -> None:
        """Write a checkpoint from which the run goes on as if it had never stopped."""
        started = time.monotonic()
        self._look_at_skipped()
        progress = self.progress
        progress.next_checkpoint = progress.step + self.config.train.checkpoint_every
        tensors, learner = snapshot.take(self.agent, self.carry, self.actor)
        state = {
            "progress": {**asdict(progress), "restarts": self.restarts.used},
            "replay": self.replay.state(),
            "driver": self.driver.state(),
            "next_evaluation_episode": self.eval_driver.next,
            "positions": self.records.positions(),
            "pending": self.records.pending(),
            "learner": learner,
        }
        arrays = {"actions": np.array(self.driver.actions, np.float32)}
        checkpoint.save(self.directory / "state", tensors, arrays, state)
        self.replay.saved()
        if (took := time.monotonic() - started) > SOON:
            self._rest_until = started + took / SHARE

    def _resume(self) -> None:
        loaded = checkpoint.load(
            self.directory / "state", self.device, lambda state: self.records.fault(state["positions"])
        )
        if loaded is None:
            self.records.rewind({})
            return
        tensors, arrays, state = loaded
        self.progress = Progress(**state["progress"])
        self.restarts.used += self.progress.restarts
        self.carry = snapshot.put_back(self.agent, self.actor, tensors, state["learner"])
        damaged, whole = self.replay.load_state(state["replay"])
        self.records.rewind(state["positions"])
        self.records.load_pending(state["pending"])
        self.eval_driver.begin(state["next_evaluation_episode"])
        if not self.driver.load_state(state["driver"], arrays["actions"] if whole else None):
            log.warning("the episode under way could not be restored: it is cut, and this run is no longer exact")
            self.replay.drop_ongoing()
            whole = False
        self.progress.inexact_resumes += not whole or damaged > 0
        self.progress.damaged_chunks += damaged
        log.info("continuing at agent step %d, update %d", self.progress.step, self.agent.updates)


def _check_alike(env: gymnasium.Env, eval_env: gymnasium.Env) -> None:
    """Raises UserError unless an agent that was trained in one can be evaluated in the other."""
    for name in ("observation_space", "action_space"):
        trained, evaluated = getattr(env, name), getattr(eval_env, name)
        if trained != evaluated:
            raise UserError(
                f"key evaluation.env changes the {name.replace('_', ' ')} from {trained} to {evaluated}: choose "
                "options that keep it as it is in training (env)"
            )


def _seeded_agent(config: RunConfig, env: gymnasium.Env, seed: int, device: torch.device) -> Agent:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "parameters") >> 1)
        agent = Agent(config, env.observation_space, env.action_space)  # type: ignore[arg-type]
    return agent.prepare(device)
