"""The environment contract: what every task of every benchmark keeps, whatever its simulator does.

- Observations are dicts that match their Dict space exactly, with `image` Box(0, 255, (H, W, 3), uint8).
- Actions are Box(-1, 1, (n,)), Discrete or MultiDiscrete; an action out of bounds or not finite is a ValueError.
- Rewards are finite floats; `terminated` and `truncated` are bools, and a time limit truncates only.
- `info` is JSON-able, and the same keys come with every step.
- `reset(seed=s)` starts the same episode, whatever was played before, in this process and in a fresh one.
- An array that was handed out never changes afterwards.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.host import why_not_json

PATIENCE = 300.0  # seconds for the checks in a process of their own
Step = tuple[str, float, bool, bool]  # digest of the observation, reward, terminated, truncated


def violations(environment: gymnasium.Env[Any, Any], seed: int, steps: int, *, seeding: bool = True) -> list[str]:
    """How an environment breaks the contract in `steps` agent steps per check; empty if it keeps it.

    seeding: also whether a seed repeats its episode.
    """
    found = list(_wrong_spaces(environment))
    if found:
        return found  # nothing further can be checked
    for check in CHECKS:
        found += check(environment, seed, steps)
    return found + (wrong_seeding(environment, seed, trajectory(environment, seed, steps)) if seeding else [])


def violations_in_own_process(make: Callable[[], gymnasium.Env[Any, Any]], seed: int, steps: int) -> list[str]:
    """The violations, without those of seeding, of what `make` gives in a process that may crash or hang."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)

    def run() -> None:
        try:
            theirs.send(violations(make(), seed, steps, seeding=False))
        except Exception as error:
            theirs.send([f"outside of a worker: {type(error).__name__}: {error}"])
        os._exit(0)  # what simulators do when an interpreter ends does not matter here

    process = context.Process(target=run)
    process.start()
    theirs.close()
    try:
        found = ours.recv() if ours.poll(PATIENCE) else [f"outside of a worker, it hung for {PATIENCE:g} s"]
    except EOFError:
        found = ["outside of a worker, it crashed"]
    process.kill()
    process.join()
    return found


def trajectory(environment: gymnasium.Env[Any, Any], seed: int, steps: int) -> list[Step]:
    """What `steps` random agent steps after `reset(seed)` give; two environments are compared by it."""
    actions = _actions(environment, seed)
    observation, _ = environment.reset(seed=seed)
    record: list[Step] = [(_digest(observation), 0.0, False, False)]
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = environment.step(next(actions))
        record.append((_digest(observation), float(reward), terminated, truncated))
        if terminated or truncated:
            environment.reset()
    return record


def _wrong_spaces(environment: gymnasium.Env[Any, Any], *_: Any) -> Iterator[str]:
    observation, action = environment.observation_space, environment.action_space
    image = observation.spaces.get("image") if isinstance(observation, spaces.Dict) else None
    if not isinstance(image, spaces.Box) or image.dtype != np.uint8 or len(image.shape) != 3 or image.shape[2] != 3:
        yield f"the observation space is {observation}, but must be a Dict with image: Box(0, 255, (H, W, 3), uint8)"
    if isinstance(action, spaces.Box):
        if len(action.shape) != 1 or (action.low != -1).any() or (action.high != 1).any():
            yield f"the action space is {action}, but a Box must be Box(-1, 1, (n,))"
    elif not isinstance(action, (spaces.Discrete, spaces.MultiDiscrete)):
        yield f"the action space is {action}, but must be Box, Discrete or MultiDiscrete"


def _wrong_values(environment: gymnasium.Env[Any, Any], seed: int, steps: int) -> Iterator[str]:
    actions = _actions(environment, seed)
    observation, info = environment.reset(seed=seed)
    yield from _wrong_observation(environment, observation)
    yield from _wrong_info(info)
    keys: set[str] | None = None
    for _ in range(steps):
        observation, reward, terminated, truncated, info = environment.step(next(actions))
        wrong = [*_wrong_observation(environment, observation), *_wrong_info(info)]
        if not isinstance(reward, float) or not np.isfinite(reward):
            wrong.append(f"the reward is {reward!r} ({type(reward).__name__}), but must be a finite Python float")
        if type(terminated) is not bool or type(truncated) is not bool:
            wrong.append(
                f"terminated and truncated are {terminated!r}, {truncated!r}, but must be Python bools: use bool(...)"
            )
        elif terminated and truncated:
            wrong.append("an episode ended as both terminated and truncated; a time limit only truncates by default")
        if keys is not None and set(info) != keys:
            wrong.append(f"info has the keys {sorted(info)} after {sorted(keys)}, but must always have the same")
        keys = set(info)
        if wrong:
            yield from wrong
            return  # one step is enough to see it
        if terminated or truncated:
            environment.reset()


def _wrong_observation(environment: gymnasium.Env[Any, Any], observation: dict[str, np.ndarray]) -> Iterator[str]:
    assert isinstance(environment.observation_space, spaces.Dict)
    expected = environment.observation_space.spaces
    if set(observation) != set(expected):
        yield f"the observation has {sorted(observation)}, but its space has {sorted(expected)}"
        return
    for name, space in expected.items():
        array = observation[name]
        if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (space.shape, space.dtype):
            yield f"the observation {name} is not {space.dtype} {space.shape}, as its space says, but {_kind(array)}"
        elif not space.contains(array):
            yield f"the observation {name} goes from {array.min()} to {array.max()}, out of its space {space}"


def _kind(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def _wrong_info(info: dict[str, Any]) -> Iterator[str]:
    try:
        json.dumps(info)
    except (TypeError, ValueError) as error:
        yield f"info is not JSON-able: {why_not_json(info, error)}"


def wrong_seeding(environment: gymnasium.Env[Any, Any], seed: int, first: list[Step]) -> list[str]:
    """The violation, if `reset(seed)` does not give the trajectory `first` again after another episode was played."""
    trajectory(environment, seed + 1, len(first) // 2)
    if trajectory(environment, seed, len(first) - 1) == first:
        return []
    return [f"reset(seed={seed}) does not start the same episode again after another one was played"]


def _aliased_arrays(environment: gymnasium.Env[Any, Any], seed: int, steps: int) -> Iterator[str]:
    actions = _actions(environment, seed)
    kept = [environment.reset(seed=seed)[0]]
    copies = [_copy(kept[0])]
    for _ in range(min(steps, 10)):
        observation, _, terminated, truncated, _ = environment.step(next(actions))
        kept.append(observation)
        copies.append(_copy(observation))
        if terminated or truncated:
            environment.reset()
    if any(_digest(a) != _digest(b) for a, b in zip(kept, copies, strict=True)):
        yield "an observation changed after it was handed out: the environment must return new arrays"


def _bad_actions(environment: gymnasium.Env[Any, Any], seed: int, steps: int) -> Iterator[str]:
    space = environment.action_space
    bad: list[Any]
    if isinstance(space, spaces.Box):
        zero = np.zeros(space.shape, space.dtype)
        bad = [zero + 1.5, zero + np.nan, zero + np.inf, np.zeros(space.shape[0] + 1, space.dtype)]
    elif isinstance(space, spaces.Discrete):
        bad = [int(space.n), -1, 0.5]
    else:
        assert isinstance(space, spaces.MultiDiscrete)
        bad = [space.nvec, -np.ones_like(space.nvec), np.zeros(len(space.nvec) + 1, int)]
    environment.reset(seed=seed)
    for action in bad:
        try:
            environment.step(action)
        except ValueError:
            continue
        yield f"step({action!r}) was accepted, but must be a ValueError: `check_action` of envs/spaces.py raises it"
        environment.reset(seed=seed)


CHECKS: tuple[Callable[[gymnasium.Env[Any, Any], int, int], Iterator[str]], ...] = (
    _wrong_values,
    _aliased_arrays,
    _bad_actions,
)


def _actions(environment: gymnasium.Env[Any, Any], seed: int) -> Iterator[Any]:
    """Random actions that depend on the seed alone."""
    environment.action_space.seed(seed)
    while True:
        yield environment.action_space.sample()


def _copy(observation: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in observation.items()}


def _digest(observation: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(observation):
        digest.update(observation[name].tobytes())
    return digest.hexdigest()
