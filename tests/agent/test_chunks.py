"""What was in a checkpoint is read back as it was, or known to be lost, whatever happened to the files since."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.chunks import HEADER, Chunks
from envs.errors import UserError

ROWS_PER_CHUNK = 5
ROW = 4 + 3 + 8  # bytes
files = {"max_examples": 60, "deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("chunks")


def make(directory):
    return Chunks(directory, ROWS_PER_CHUNK * ROW + ROW // 2, capacity=1)


def fill(chunks, count):
    for _ in range(count):
        number = len(chunks)
        chunks.append({"image": np.full((1, 1, 3), number % 256, np.uint8), "action": np.array([number, 0.5], "f4")})


def numbers(chunks, start, stop):
    """What rows [start, stop) say that they are."""
    rows = list(chunks.read(start, stop))
    assert all((part["image"][:, 0, 0] == (part["action"][:, :1] % 256)).all() for part in rows)
    return [int(number) for part in rows for number in part["action"][:, 0]]


def saved(chunks, oldest=0):
    return json.loads(json.dumps(chunks.state(oldest)))


@settings(**files)
@given(count=st.integers(0, 23), start=st.integers(0, 23), more=st.integers(0, 23), resumed=st.booleans())
def test_rows_are_read_as_they_were_appended(folders, count, start, more, resumed):
    directory = folders()
    chunks = make(directory)
    fill(chunks, count)
    if resumed:
        state = saved(chunks)
        chunks = make(directory)
        assert chunks.load_state(state) == []
        fill(chunks, 3)
        count += 3
    assert len(chunks) == count
    stop = min(start + more, count)
    assert numbers(chunks, start, stop) == list(range(start, stop))


@settings(**files)
@given(before=st.integers(0, 17), after=st.integers(1, 17), flushed=st.booleans(), data=st.data())
def test_what_was_written_since_the_checkpoint_may_be_torn_anywhere(folders, before, after, flushed, data):
    directory = folders()
    chunks = make(directory)
    fill(chunks, before)
    state = saved(chunks)
    lengths = {path: path.stat().st_size for path in directory.iterdir()}
    fill(chunks, after)
    if flushed:
        chunks.flush()
    for path in sorted(directory.iterdir()):
        if path.stat().st_size > (kept := lengths.get(path, 0)):
            cut = data.draw(st.integers(kept, path.stat().st_size))
            path.write_bytes(path.read_bytes()[:cut] + data.draw(st.binary(max_size=20)))

    chunks = make(directory)
    assert chunks.load_state(state) == []
    fill(chunks, 12)
    assert numbers(chunks, 0, before + 12) == list(range(before + 12))
    state = saved(chunks)
    chunks = make(directory)
    assert chunks.load_state(state) == []


@settings(**files)
@given(count=st.integers(1, 17), chunk=st.integers(0, 3), cut=st.integers(0, HEADER + ROWS_PER_CHUNK * ROW - 1))
def test_a_chunk_that_lost_rows_is_set_aside_and_the_others_are_read(folders, count, chunk, cut):
    directory = folders()
    chunks = make(directory)
    fill(chunks, count)
    state = saved(chunks)
    paths = sorted(directory.iterdir())
    path = paths[chunk % len(paths)]
    path.write_bytes(path.read_bytes()[: min(cut, path.stat().st_size - 1)])

    chunks = make(directory)
    first = int(path.stem.removeprefix("rows_"))
    lost = range(first, min(first + ROWS_PER_CHUNK, count))
    assert chunks.load_state(state) == [lost]
    assert Path(f"{path}.damaged").exists()
    fill(chunks, 7)
    rest = [*range(first), *range(lost.stop, count + 7)]
    assert numbers(chunks, 0, first) + numbers(chunks, lost.stop, count + 7) == rest
    state = saved(chunks, oldest=lost.stop)
    assert make(directory).load_state(state) == []


def test_another_format_is_refused_and_left_alone(tmp_path):
    chunks = make(tmp_path)
    fill(chunks, 3)
    state = saved(chunks)
    (path,) = tmp_path.iterdir()
    other = path.read_bytes().replace(b'"replay_chunk": 1', b'"replay_chunk": 7')
    path.write_bytes(other)
    with pytest.raises(UserError, match=r"rows_000000000000\.chunk has format 7, this code reads 1: continue .* with"):
        make(tmp_path).load_state(state)
    assert path.read_bytes() == other


def test_a_disk_that_is_full_leaves_what_the_checkpoint_names(tmp_path):
    chunks = make(tmp_path)
    fill(chunks, 2)
    state = saved(chunks)
    fill(chunks, 2)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HEADER + 3 * ROW + 1, most))
    try:
        with pytest.raises(OSError, match="File too large"):
            chunks.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    chunks = make(tmp_path)
    assert chunks.load_state(state) == []
    assert numbers(chunks, 0, 2) == [0, 1]


def test_full_chunks_take_no_memory_that_the_system_cannot_take_back(tmp_path):
    """Resident and anonymous memory, not counting what is mapped from files."""

    def anonymous():
        status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
        return 1024 * int(status["RssAnon"].split()[0])

    chunks = Chunks(tmp_path, 2**20, capacity=1)
    image = np.full((64, 64, 3), 7, np.uint8)
    before = anonymous()
    for _ in range(5000):  # 61 MB
        chunks.append({"image": image})
    chunks.flush()
    for start in range(0, 5000, 50):
        assert all((rows["image"] == image).all() for rows in chunks.read(start, start + 50))
    assert anonymous() - before < 8 * 2**20


def test_before_the_first_row_there_is_nothing_to_discard(tmp_path):
    chunks = make(tmp_path)
    assert saved(chunks)["chunks"] == []
    chunks.discard(0)
