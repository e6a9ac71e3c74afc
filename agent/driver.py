"""One environment, episode by episode, in the rows that replay and policy need."""

import zlib
from typing import Any

import gymnasium
import numpy as np

from agent.actions import ActionKind
from agent.noise import stream_seed
from agent.replay import Row


class Driver:
    """Seeds every episode by (seed, stream, episode number), so that any of them can be played again.

    `next` is the number of the next episode to start, from 0; `steps`, `total` (return) and `success` are those of the
    episode so far.
    """

    def __init__(self, env: gymnasium.Env, kind: ActionKind, seed: int, stream: str):
        self.env, self._kind, self._seed, self._stream = env, kind, seed, stream
        self.begin(0)

    def begin(self, episode: int) -> None:
        """Leave the episode under way; the next one to start is number `episode`."""
        self.next = episode
        self.row: Row | None = None
        self.actions: list[np.ndarray] = []
        self.total = 0.0
        self._checksum = 0
        self.success: bool | None = None

    @property
    def episode(self) -> int:
        """The number of the episode that was started last."""
        return self.next - 1

    @property
    def steps(self) -> int:
        """Agent steps of the episode so far."""
        return len(self.actions)

    @property
    def ended(self) -> bool:
        """Whether the next call must be `reset`."""
        return self.row is None or bool(self.row["is_last"])

    @property
    def episode_seed(self) -> int:
        return stream_seed(self._seed, self._stream, self.episode) >> 1

    def reset(self) -> Row:
        """Start the next episode; its first row, whose action is zeros."""
        self.begin(self.next + 1)
        obs, info = self.env.reset(seed=self.episode_seed)
        self._note_success(info)
        self.row = self._row(obs, np.zeros(self._kind.size, np.float32), 0.0, first=True)
        return self.row

    def step(self, action: np.ndarray) -> Row:
        """Take an action (A,), discrete ones one-hot; the row it led to."""
        obs, reward, terminated, truncated, info = self.env.step(self._kind.to_env(action))
        self.actions.append(action)
        self.total += float(reward)
        self._note_success(info)
        self.row = self._row(obs, action, float(reward), terminal=terminated, last=terminated or truncated)
        return self.row

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside the actions; `checksum` is the CRC-32 of all pictures of the episode."""
        return {"next": self.next, "ended": self.ended, "checksum": self._checksum}

    def load_state(self, state: dict[str, Any], actions: np.ndarray | None) -> bool:
        """Play the episode under way again up to where it was.

        Returns False, before the next episode, if its pictures are others then, or if there are no actions to play.
        """
        self.begin(state["next"])
        if state["ended"] or (actions is not None and self._play(actions) and self._checksum == state["checksum"]):
            return True
        self.begin(state["next"])
        return False

    def _play(self, actions: np.ndarray) -> bool:
        """Play the last episode again; whether all these actions can be taken in it, without an end."""
        self.begin(self.next - 1)
        self.reset()
        for action in actions:
            if self.ended:
                return False
            self.step(action)
        return not self.ended

    def _note_success(self, info: dict[str, Any]) -> None:
        if "success" in info:
            self.success = bool(self.success) or bool(info["success"])

    def _row(
        self, obs: dict[str, np.ndarray], action: np.ndarray, reward: float, *,
        first: bool = False, terminal: bool = False, last: bool = False,
    ) -> Row:  # fmt: skip
        self._checksum = zlib.crc32(obs["image"].tobytes(), self._checksum)
        flags = {"is_first": first, "is_terminal": terminal, "reward": reward}
        return {**obs, "action": action, **{k: np.float32(v) for k, v in flags.items()}, "is_last": last}
