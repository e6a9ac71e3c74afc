"""An environment for an interpreter without gymnasium: it only looks like one."""

import sys
from types import SimpleNamespace

import numpy as np

TASKS = ("count",)


def make(task, seed, *, height=4):
    return Count(seed, height)


class Count:
    """The picture shows how many steps were taken; the actions are three buttons."""

    def __init__(self, seed, height):
        assert "gymnasium" not in sys.modules
        self.shape = (height, 6, 3)
        image = SimpleNamespace(
            low=np.zeros(self.shape), high=np.full(self.shape, 255), shape=self.shape, dtype="uint8"
        )
        vector = SimpleNamespace(low=np.zeros(2), high=np.array([1.0, np.inf]), shape=(2,), dtype="float32")
        self.observation_space = SimpleNamespace(spaces={"image": image, "vector": vector})
        self.action_space = SimpleNamespace(nvec=np.array([2, 3]))

    def observe(self):
        return {"image": np.full(self.shape, self.steps, np.uint8), "vector": np.float32([0.5, self.steps])}

    def reset(self, seed=None):
        self.steps = 0
        return self.observe(), {"python": sys.prefix}

    def step(self, action):
        self.steps += 1
        return self.observe(), sum(action), self.steps == 3, False, {"success": self.steps == 3}

    def close(self):
        pass
