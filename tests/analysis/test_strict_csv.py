"""Strict reading: every way in which a table can be damaged is refused by file, line and name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import strict_csv
from analysis.errors import InputError

COLUMNS = {
    "task": {"type": "string", "pattern": "^[a-z0-9_]+$"},
    "seed": {"type": "integer", "minimum": 0},
    "return": {"type": "number"},
    "success": {"type": ["integer", "null"], "minimum": 0, "maximum": 1},
}
HEADER = "task,seed,return,success\n"


def read(tmp_path, text):
    path = tmp_path / "evaluations.csv"
    path.write_text(text, encoding="utf-8")
    return strict_csv.read(path, COLUMNS, ["task", "seed"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (HEADER + "pong,0,1.5,1\npong,1,2", "cut short"),
        (HEADER + "pong,0,1.5\n", ":2: 3 fields where the header has 4"),
        (HEADER + "pong,0,nan,1\n", "'return' has 'nan': not a finite number"),
        (HEADER + "pong,0,,1\n", "'return' has ''"),
        (HEADER + "pong,0,inf,1\n", "'return' has 'inf'"),
        (HEADER + "pong,0,1.5,1\npong,x,1.5,1\n", ":3: column 'seed' has 'x'"),
        (HEADER + "pong,-1,1.5,1\n", "'seed' has '-1'"),
        (HEADER + "Pong!,0,1.5,1\n", "'task' has 'Pong!'"),
        (HEADER + "pong,0,1.5,2\n", "'success' has '2'"),
        (HEADER + "pong,0,1.5,1\nboxing,0,3,1\npong,0,2.5,1\n", ":4: a second row for task=pong, seed=0"),
        ("task,seed,return\npong,0,1.5\n", "the header is 'task,seed,return'"),
    ],
)
def test_a_damaged_table_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert message in str(refused.value)
    assert "evaluations.csv" in str(refused.value)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        strict_csv.read(tmp_path / "evaluations.csv", COLUMNS, ["task"])
    (tmp_path / "evaluations.csv").write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match="not a UTF-8 text"):
        strict_csv.read(tmp_path / "evaluations.csv", COLUMNS, ["task"])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0, 1, None])),
        unique_by=lambda row: row[0],
    )
)
def test_what_was_written_is_read_back_exactly(tmp_path_factory, rows):
    lines = [f"pong,{seed},{value!r},{'' if success is None else success}\n" for seed, value, success in rows]
    table = read(tmp_path_factory.mktemp("csv"), HEADER + "".join(lines))
    assert table["return"].tolist() == [row[1] for row in rows]
    assert [None if v != v else v for v in table["success"]] == [row[2] for row in rows]


def test_any_cut_of_a_file_within_a_line_is_noticed(tmp_path):
    text = HEADER + "pong,0,1.5,1\npong,1,22.25,\n"
    for end in range(len(HEADER) + 1, len(text)):
        if text[end - 1] != "\n":  # a cut between two lines is noticed by counting episodes, see score_rules
            with pytest.raises(InputError):
                read(tmp_path, text[:end])
