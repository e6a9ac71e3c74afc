"""Environments that misbehave, each in the way that its name says, after one good step."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium
import numpy as np

from envs.options import fraction
from envs.spaces import check_action


class Sound(gymnasium.Env):
    """Keeps the contract: the picture shows a random number, the first pixel counts the steps."""

    def __init__(self, seed):
        self.observation_space = gymnasium.spaces.Dict({"image": gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)})
        self.action_space = gymnasium.spaces.Discrete(3)
        self.np_random = np.random.default_rng(seed)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.picture = self.np_random.integers(0, 256, (8, 8, 3), np.uint8)
        return self.observe(), {}

    def step(self, action):
        check_action(self.action_space, action)
        self.steps += 1
        if self.steps > 1:
            self.misbehave()
        return self.observe(), self.reward(), False, self.steps >= 20, self.info()

    def observe(self):
        self.picture[0, 0] = self.steps if hasattr(self, "steps") else 0
        return {"image": self.picture.copy()}

    def reward(self):
        return 1.0

    def info(self):
        return {}

    def misbehave(self):
        pass


class RaisesInStep(Sound):
    def misbehave(self):
        raise RuntimeError("the arm left the table")


class SegfaultsInStep(Sound):
    def misbehave(self):
        ctypes.string_at(0)


class ExitsInStep(Sound):
    def misbehave(self):
        print("license expired", flush=True)
        os._exit(3)


class HangsInStep(Sound):
    def misbehave(self):
        time.sleep(1000)


class HangsInNativeCode(Sound):
    """Holds the interpreter's lock, so that no thread of the worker runs any more."""

    def misbehave(self):
        ctypes.PyDLL(None).sleep(1000)


class IgnoresSignals(Sound):
    def misbehave(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        time.sleep(1000)


class DiesInReset(Sound):
    def reset(self, *, seed=None, options=None):
        os.kill(os.getpid(), signal.SIGKILL)


class DiesInFirstReset(Sound):
    """The first of all workers that use the file named by the environment variable dies, the next one does not."""

    def reset(self, *, seed=None, options=None):
        died = Path(os.environ["DIED"])
        if not died.exists():
            died.touch()
            os._exit(1)
        return super().reset(seed=seed)


class DiesWhenMade(Sound):
    def __init__(self, seed):
        super().__init__(seed)
        raise OSError("no display")


class WrongShape(Sound):
    def observe(self):
        return {"image": np.zeros((8, 9, 3), np.uint8)}


class WrongType(Sound):
    def observe(self):
        return {"image": np.zeros((8, 8, 3), np.float32)}


class WrongKeys(Sound):
    def observe(self):
        return {"pixels": np.zeros((8, 8, 3), np.uint8)}


class WrongSpace(Sound):
    def __init__(self, seed):
        super().__init__(seed)
        self.observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)


class InfiniteReward(Sound):
    def reward(self):
        return float("inf")


class UnspeakableInfo(Sound):
    def info(self):
        return {"state": np.zeros(3)}


class Floods(Sound):
    def misbehave(self):
        for _ in range(200):
            os.write(1, b"x" * 100_000)
            os.write(2, b"y" * 100_000)


class HasChildren(Sound):
    """Starts a process of its own, as a simulator does, then hangs."""

    def __init__(self, seed):
        super().__init__(seed)
        self.child = subprocess.Popen(["sleep", "1000"])

    def misbehave(self):
        ctypes.PyDLL(None).sleep(1000)


class OwnSession(Sound):
    """Starts a process with a session of its own, as a launcher of servers does, then dies."""

    def __init__(self, seed):
        super().__init__(seed)
        self.child = subprocess.Popen(["sleep", "1000"], start_new_session=True)

    def info(self):
        return {"child": self.child.pid}

    def misbehave(self):
        os._exit(3)


class Unseeded(Sound):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=None)


class ProcessDependent(Sound):
    def observe(self):
        return {"image": np.full((8, 8, 3), os.getpid() % 251, np.uint8)}


class Aliased(Sound):
    def observe(self):
        super().observe()
        return {"image": self.picture}


class AcceptsAnything(Sound):
    def step(self, action):
        return self.observe(), 1.0, False, False, {}


class BareImage(Sound):
    def observe(self):
        return super().observe()["image"]


class FourValues(Sound):
    def step(self, action):
        return super().step(action)[:4]


class NumpySuccess(Sound):
    def info(self):
        return {"success": np.bool_(False)}


class FailsDeepDown(Sound):
    def misbehave(self):
        json.loads("{" * 3)


class NeverEnds(Sound):
    def step(self, action):
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, False, info


class TerminatesAtTimeLimit(Sound):
    def step(self, action):
        check_action(self.action_space, action)
        return self.observe(), 1.0, True, True, {}


class WideActions(Sound):
    def __init__(self, seed):
        super().__init__(seed)
        self.action_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)


class Slow(Sound):
    def misbehave(self):
        time.sleep(0.02)


class NeedsSimulator(Sound):
    def __init__(self, seed):
        import a_simulator_that_nobody_has  # noqa: F401


CLASSES = {
    "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).strip("_"): cls
    for cls in (Sound, *Sound.__subclasses__())
}
TASKS = tuple(CLASSES)


def make(task, seed, *, brightness=1.0):
    fraction("brightness", brightness, 0, 1)
    print("made in", sys.executable)
    return CLASSES[task](seed)
