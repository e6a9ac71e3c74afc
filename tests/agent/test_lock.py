"""Two processes never write one directory, on one machine or on several, and a dead one does not keep it for ever."""

import json
import multiprocessing
import threading
import time
from unittest import mock

import pytest

from agent import lock
from agent.lock import Lock, LockLost
from envs.errors import UserError

OTHER = {"token": "another", "host": "node7", "kernel": "of another machine", "since": "2026-11-22T10:00:00+00:00"}


@pytest.fixture(autouse=True)
def quick():
    with mock.patch.multiple(lock, BEAT=0.1, STALE=2.0):
        yield


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run/checkpoint").mkdir(parents=True)
    return tmp_path / "run/checkpoint/lock"


def hold(path, ready):
    Lock(path).__enter__()
    ready.set()
    time.sleep(100)


def seconds_to_take(path):
    started = time.monotonic()
    with Lock(path) as held:
        held.check()
        return time.monotonic() - started


def test_a_process_of_this_machine_that_was_killed_leaves_the_directory_free_at_once(path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold, args=(path, ready))
    holder.start()
    assert ready.wait(20)
    for _ in range(2):
        with pytest.raises(UserError, match=r"in .*/run: a process on host .*, since 20.* Wait for it, or stop it"):
            Lock(path).__enter__()
    holder.kill()
    holder.join()
    with mock.patch.object(lock, "STALE", 1000):
        assert seconds_to_take(path) < 100
        assert seconds_to_take(path) < 100, "one that gave it up needs no waiting for either"


def test_a_process_of_another_machine_is_believed_alive_as_long_as_its_heart_beats(path):
    ended = threading.Event()

    def beat():
        beats = 0
        while not ended.wait(0.2):
            beats += 1
            path.write_text(json.dumps({**OTHER, "beats": beats}))

    path.write_text(json.dumps(OTHER))
    heart = threading.Thread(target=beat)
    heart.start()
    try:
        with pytest.raises(UserError, match="a process on host node7, since 2026-11-22T10:00:00"):
            Lock(path).__enter__()
    finally:
        ended.set()
        heart.join()
    assert seconds_to_take(path) >= 2, "it is taken over once it has stood still"


@pytest.mark.parametrize("damaged", ["{", "[1]", "null", "\x00" * 40])
def test_what_cannot_be_read_keeps_nobody_out(path, damaged):
    path.write_text(damaged)
    with Lock(path) as held:
        path.write_text(damaged)
        wait_for(lambda: "beats" in path.read_text())
        held.check()


def test_who_was_taken_over_is_told_and_leaves_the_lock_to_the_other(path):
    with Lock(path) as held:
        held.check()
        path.write_text(json.dumps(OTHER))
        with pytest.raises(LockLost, match="taken over by a process on host node7"):
            wait_for(held.check)  # which returns nothing
    assert json.loads(path.read_text()) == OTHER


def test_who_stood_still_looks_before_going_on(path):
    """As after a suspension, when the thread of the heartbeat may be the last to wake up."""
    with mock.patch.multiple(lock, BEAT=1000, STALE=1000), Lock(path) as held:
        path.write_text(json.dumps(OTHER))
        held.check()  # for what it knows, the lock is held
        with mock.patch.object(lock, "STALE", 0), pytest.raises(LockLost):
            held.check()
