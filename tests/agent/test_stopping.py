"""A run hears of signals whatever it is doing, and of the end of the workflow that started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from .commands import ROOT

# Half a minute and more in native code, where Python runs no signal handlers.
COMPUTES = """
import hashlib, sys
from agent.stopping import StopRequests
stop = StopRequests(75)
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 50_000_000)
"""
WAITS = """
import time
from agent.stopping import StopRequests
stop = StopRequests(75)
print("ready", flush=True)
while not stop():
    time.sleep(0.01)
print("stopping", flush=True)
time.sleep(100)
"""


def start(program, **environment):
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_second_signal_ends_even_what_is_deep_in_a_computation(first):
    process = start(COMPUTES)
    process.send_signal(first)
    assert first.name in process.stderr.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 75


def test_the_first_signal_asks_to_stop():
    process = start(WAITS)
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == "stopping\n"
    assert process.poll() is None
    process.kill()
    process.wait()


def test_the_end_of_the_workflow_is_noticed_though_the_parent_lives():
    """As in a container, whose runtime is the parent."""
    workflow = subprocess.Popen(
        [sys.executable, "-c", "from agent.stopping import this_process; print(this_process(), flush=True); input()"],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    name = workflow.stdout.readline().strip()
    run = start(WAITS, SUITE_WORKFLOW=name)
    namesake = start(WAITS, SUITE_WORKFLOW=f"{workflow.pid}:1")  # of another process that had the same id
    workflow.kill()  # not waited for: to whoever looks it up, the process is still there
    assert run.stdout.readline() == "stopping\n"
    time.sleep(0.3)
    assert namesake.poll() is None
    for process in (run, namesake):
        process.kill()
        process.wait()
    assert namesake.stdout.read() == ""
    workflow.wait()


@pytest.mark.parametrize("name", ["", "nonsense", "1", "0:0", "99999999:5"])
def test_a_workflow_that_cannot_be_seen_is_not_watched(name):
    run = start(WAITS, SUITE_WORKFLOW=name)
    time.sleep(0.2)
    assert run.poll() is None
    run.kill()
    run.wait()
    assert run.stdout.read() == ""
    assert "Traceback" not in run.stderr.read()
