"""The worker process: one environment, driven by messages over a socket of its own.

Started by `envs.process` as `python host.py SOCKET FRAMES LIFELINE`, three inherited file descriptors. It may run under
another interpreter than the agent: Python 3.8 syntax, the standard library and NumPy, besides what the adapter imports.

- SOCKET carries one JSON message per line in each direction; first the host says which protocol it speaks. Simulators
  print what they like to stdout.
- FRAMES is a memory file with the arrays of the latest observation, at the places that the answer to `make` gives.
- LIFELINE is a pipe that closes when the client dies, by whatever cause. Then the whole process group dies, and what
  else was started from here: the environment variable WORKER_MARK, unique to a worker, tells what that is.
"""

import contextlib
import faulthandler
import json
import math
import mmap
import os
import resource
import signal
import socket
import sys
import time

import numpy as np

PROTOCOL = 1
ALIGNMENT = 64  # bytes
CHUNK = 1 << 16  # bytes
ALERT = 600e-6  # seconds of looking for a message before going to sleep
LONGEST_REST = 32  # messages
MARK = "WORKER_MARK"
ROUNDS = 100  # of looking for marked processes
RESET = ("observation", "info")  # what an environment's methods return
STEP = ("observation", "reward", "terminated", "truncated", "info")


def main(socket_fd, frames_fd, lifeline_fd):
    """Answer messages until told to close or until the socket ends."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    guard = guard_lifeline(lifeline_fd, (socket_fd, frames_fd))
    try:
        serve(Connection(socket.socket(fileno=socket_fd)), frames_fd)
    finally:
        os.kill(guard, signal.SIGKILL)
        os.waitpid(guard, 0)
        kill_marked(os.environ.get(MARK))


def guard_lifeline(lifeline_fd, others):
    """Fork a child that kills the process group when the client dies, even while a simulator hangs in native code."""
    child = os.fork()
    if child:
        os.close(lifeline_fd)
        return child
    for fd in (*others, 0, 1, 2):
        os.close(fd)  # or the client could not see the worker's end
    os.read(lifeline_fd, 1)
    kill_marked(os.environ.get(MARK))
    os.killpg(0, signal.SIGKILL)


def kill_marked(value):
    """Kill all other processes that inherited this value of WORKER_MARK: a simulator may start sessions of its own."""
    wanted = "{}={}".format(MARK, value).encode()
    for _ in range(ROUNDS):  # one that is about to die may have started another
        found = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid() and has(pid, wanted)]
        if not found or value is None:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.005)


def has(pid, variable):
    """Whether a living process has the variable in its environment; that of other users' cannot be read."""
    try:
        with open("/proc/{}/environ".format(pid), "rb") as file:
            return variable in file.read().split(b"\0")
    except OSError:
        return False


def serve(connection, frames_fd):
    """Shake hands, make the environment, then answer reset and step until told to close."""
    connection.send(encode({"protocol": PROTOCOL, "python": sys.version.split()[0]}))
    request = connection.receive()
    session, place = None, ""
    while request is not None and request["command"] != "close":
        command = request.pop("command")
        try:
            if session is None:
                place = "{}/{}.py".format(request["adapters"].replace(".", "/"), request["benchmark"])
                session = Session(frames_fd, **request)
                answer = session.description
            else:
                answer = session.reset(**request) if command == "reset" else session.step(**request)
            line = encode(answer)
        except Exception as error:
            kind = error_kind(error)
            if kind is None:
                raise  # a crash
            where = " (see {})".format(place) if kind == "ContractViolation" else ""
            line = encode({"error": kind, "message": str(error) + where})
        connection.send(line)
        request = connection.receive()
    if session is not None:
        session.environment.close()


def encode(message):
    """A message as one line; ContractViolation if it is not JSON-able, which only an environment's `info` can cause."""
    try:
        return json.dumps(message).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise violation("info must be JSON-able, but: {}".format(why_not_json(message.get("info"), error))) from error


def why_not_json(info, error):
    """What of `info` json.dumps refused with `error`, and what to write instead."""
    for key, value in info.items() if isinstance(info, dict) else ():
        if isinstance(value, np.generic):
            plain = type(value.item()).__name__
            return "{!r} is a NumPy {} ({!r}): use {}(...)".format(key, plain, value, plain)
        if isinstance(value, np.ndarray):
            return "{!r} is a NumPy array: use its tolist(), or leave it out".format(key)
    return error


def unpacked(answer, call, parts):
    """What an environment's method returned, if it has these parts."""
    if not isinstance(answer, (tuple, list)) or len(answer) != len(parts):
        found = "{} values".format(len(answer)) if isinstance(answer, (tuple, list)) else type(answer).__name__
        raise violation("{} must return ({}), not {}".format(call, ", ".join(parts), found))
    return answer


class Connection:
    """One end of the socket. The two ends take turns: there is never more than one message, a line of JSON, under way.

    Waking a sleeping process takes as long as a fast environment's step. So a message is looked for without sleep at
    first, unless this was in vain the last time: then the next 1, 2, 4, ... messages are slept for. Whoever waits for a
    slow environment, or shares the processor with others, so leaves it to them.
    """

    def __init__(self, end):
        self.socket = end
        self.rest = 0  # messages to sleep for
        self.next_rest = 1

    def send(self, line):
        self.socket.sendall(line)

    def receive(self):
        """The next message, or None if the other end is gone. Raises BlockingIOError after the socket's time-out."""
        line = chunk = self.first_chunk()
        while chunk and not chunk.endswith(b"\n"):
            chunk = self.socket.recv(CHUNK)
            line += chunk
        return json.loads(line) if chunk else None

    def first_chunk(self):
        if self.rest:
            self.rest -= 1
            return self.socket.recv(CHUNK)
        tired = time.perf_counter() + ALERT
        while time.perf_counter() < tired:
            try:
                chunk = self.socket.recv(CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            self.next_rest = 1
            return chunk
        self.rest = self.next_rest
        self.next_rest = min(2 * self.next_rest, LONGEST_REST)
        return self.socket.recv(CHUNK)


def violation(what):
    from envs.errors import ContractViolation

    return ContractViolation("the adapter breaks the environment contract: {}".format(what))


def error_kind(error):
    """The name of the class in `envs.errors` that this error is, or None."""
    return next((c.__name__ for c in type(error).__mro__ if c.__module__ == "envs.errors"), None)


class Session:
    """One environment and the memory where its observations go."""

    def __init__(self, frames_fd, benchmark, task, seed, options, adapters):
        sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the project, not this folder
        from envs import registry, spaces

        self.environment = registry.create(benchmark, task, seed, options, adapters)
        observation_space = spaces.describe(self.environment.observation_space)
        arrays, size = self.layout(observation_space.get("spaces", {}))
        os.ftruncate(frames_fd, size)
        memory = mmap.mmap(frames_fd, size)
        self.views = {
            name: np.ndarray(tuple(shape), dtype, memory, offset) for name, (offset, shape, dtype) in arrays.items()
        }
        self.description = {
            "observation_space": observation_space,
            "action_space": spaces.describe(self.environment.action_space),
            "provenance": getattr(self.environment, "provenance", {}),
            "arrays": arrays,
            "bytes": size,
        }

    def layout(self, boxes):
        """{name: (offset in bytes, shape, dtype)} for every array of an observation, and the bytes of all."""
        arrays, size = {}, 0
        for name, box in boxes.items():
            if box["kind"] != "Box":
                raise violation("the observation {!r} is a {}, but must be a Box".format(name, box["kind"]))
            arrays[name] = (size, box["shape"], box["dtype"])
            size += int(np.prod(box["shape"])) * np.dtype(box["dtype"]).itemsize
            size += -size % ALIGNMENT
        if "image" not in arrays:
            raise violation("the observation space must be a Dict with `image`")
        return arrays, size

    def reset(self, seed):
        observation, info = unpacked(self.environment.reset(seed=seed), "reset", RESET)
        self.publish(observation)
        return {"info": info}

    def step(self, action):
        observation, reward, terminated, truncated, info = unpacked(self.environment.step(action), "step", STEP)
        self.publish(observation)
        reward = float(reward)
        if not math.isfinite(reward):
            raise violation("the reward is {}, but must be finite".format(reward))
        return {
            "reward": reward,
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "info": info,
        }

    def publish(self, observation):
        """Copy an observation into the shared memory, if it is what its space says."""
        if not isinstance(observation, dict):
            raise violation(
                "the observation is a {}, but must be a dict such as {{'image': ...}}".format(
                    type(observation).__name__
                )
            )
        if set(observation) != set(self.views):
            raise violation(
                "the observation has {}, but its space has {}".format(sorted(observation), sorted(self.views))
            )
        for name, view in self.views.items():
            array = np.asarray(observation[name])
            if array.shape != view.shape or array.dtype != view.dtype:
                raise violation(
                    "the observation {!r} is {} {}, but its space says {} {}".format(
                        name, array.dtype, array.shape, view.dtype, view.shape
                    )
                )
            view[...] = array


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
