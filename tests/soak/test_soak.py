"""A short soak: a dozen faults, and nothing lost. The long one is `make soak`."""

import pytest

from tests.soak import run
from tests.soak.__main__ import BEGIN, END, Soak, small_disk, write

METHODS = ("harmony_dreamerv2",)


@pytest.fixture(scope="module")
def soak(tmp_path_factory):
    place = tmp_path_factory.mktemp("soak")
    disk = small_disk(place)
    yield Soak(place, disk, 0, METHODS)
    if disk:
        disk.close()


def test_a_dozen_faults_cost_nothing(soak):
    number = 1
    while soak.tried.total() < 12:
        assert soak.do(number) is None
        number += 1
    assert soak.lost.total() == 0


def test_what_a_fault_costs_is_found(soak, monkeypatch):
    """The same series with a checkpoint that is not what it says, and with another result."""
    monkeypatch.setattr(run, "outcome", lambda directory: ({}, [], {}))
    said = soak.do(1)
    assert "files and metrics and counts are not those of a run without faults" in said
    assert soak.lost.total() > 0


def test_the_counts_replace_those_in_the_document(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}old\n{END}after\n")
    write(document, "new\n")
    assert document.read_text() == f"before\n{BEGIN}new\n{END}after\n"
