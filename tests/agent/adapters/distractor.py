"""`distractor`, misbehaving once in each worker process: MISBEHAVE=how:when, `when` in agent steps of the process."""

import os
import signal
import time

import gymnasium

from envs.adapters import distractor

TASKS = distractor.TASKS


def make(task, seed, *, size=32):
    how, _, when = os.environ.get("MISBEHAVE", "never:0").partition(":")
    return Misbehaving(distractor.make(task, seed, size=size), how, int(when))


class Misbehaving(gymnasium.Wrapper):
    def __init__(self, env, how, when):
        super().__init__(env)
        self.how, self.when, self.steps = how, when, 0

    def reset(self, *, seed=None, options=None):
        return self.env.reset(seed=os.getpid() if self.how == "forgets" else seed)

    def step(self, action):
        self.steps += 1
        observation, *rest = self.env.step(action)
        if self.how == "rewards_overflow" and self.steps >= self.when:
            rest[0] = 1e30  # whose square is no float32
        if self.steps == self.when:
            if self.how == "crashes":
                os._exit(3)
            if self.how == "hangs":
                time.sleep(1000)
            if self.how == "wrong_shape":
                observation = {"image": observation["image"][:-1]}
            if self.how in ("SIGTERM", "SIGKILL"):  # what training gets, at a step that is known
                os.kill(os.getppid(), signal.Signals[self.how])
            if self.how == "forgets":
                os.kill(os.getppid(), signal.SIGTERM)
        return observation, *rest
