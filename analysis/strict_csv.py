"""CSV files read strictly: a row that is malformed, repeated or cut short is refused by name, never dropped."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pandas as pd

from analysis.errors import InputError


def read(path: Path | str, columns: Mapping[str, Mapping[str, Any]], key: Sequence[str]) -> pd.DataFrame:
    """The table in `path`, one typed column for each entry of `columns`, a JSON schema for the column's values.

    `key` names the columns whose values together occur once. An empty field is missing (NaN, or None for text) where
    the schema allows `null`. InputError names file, line, column and value of the first thing wrong.
    """
    text = _text(path)
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if header != list(columns):
        raise InputError(f"{path}:1: the header is {','.join(header)!r}, it must be {','.join(columns)!r}")
    lines, fields = [], []
    for row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{path}:{rows.line_num}: {len(row)} fields where the header has {len(header)}; restore the file"
            )
        lines.append(rows.line_num)
        fields.append(row)
    table = pd.DataFrame(
        {
            name: _column(path, lines, name, [row[i] for row in fields], schema)
            for i, (name, schema) in enumerate(columns.items())
        }
    )
    _refuse_repeated(path, lines, table, key)
    return table


def _text(path: Path | str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the run or the download that makes it is not complete") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start})") from None
    if not text.endswith("\n"):
        raise InputError(
            f"{path}: the file is {'cut short in its last line' if text else 'empty'}, as a killed run leaves it; "
            "remove it and run what writes it again"
        )
    return text


def _column(path: Path | str, lines: list[int], name: str, texts: list[str], schema: Mapping[str, Any]) -> pd.Series:
    validator = jsonschema.Draft202012Validator(dict(schema))
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    parsed: dict[str, Any] = {}
    for line, text in zip(lines, texts, strict=True):
        if text in parsed:  # each distinct text once: published tables repeat their sources on every row
            continue
        try:
            parsed[text] = _value(text, types)
            validator.validate(parsed[text])
        except (ValueError, jsonschema.ValidationError) as error:
            reason = error.message if isinstance(error, jsonschema.ValidationError) else error
            raise InputError(f"{path}:{line}: column {name!r} has {text!r}: {reason}") from None
    dtype = {"integer": "int64", "number": "float64"}.get(types[0], "object")
    values = [parsed[text] for text in texts]
    return pd.Series(values, dtype="float64" if "null" in types and dtype == "int64" else dtype)


def _value(text: str, types: Sequence[str]) -> Any:
    if text == "" and "null" in types:
        return None
    if "integer" in types:
        return int(text)
    if "number" in types:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        return value
    return text


def _refuse_repeated(path: Path | str, lines: list[int], table: pd.DataFrame, key: Sequence[str]) -> None:
    repeated = table.duplicated(list(key))
    if repeated.any():
        at = int(repeated.to_numpy().argmax())
        values = ", ".join(f"{name}={table[name].iloc[at]}" for name in key)
        raise InputError(f"{path}:{lines[at]}: a second row for {values}; each may occur once")
