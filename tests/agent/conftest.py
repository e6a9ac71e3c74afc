"""Runs that several tests look at."""

import pytest

from .commands import arguments, command


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The directory of a run that nothing disturbed; tests leave it as it is."""
    directory = tmp_path_factory.mktemp("runs") / "seed_0"
    done = command("agent.train", *arguments(directory))
    assert done.returncode == 0, done.stderr
    return directory
