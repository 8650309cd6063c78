"""The documents that experiments leave."""

from __future__ import annotations

import json
from pathlib import Path

from splinter_bench.as_json import as_json

DOCUMENT = {
    "name": 'a "name", µs',
    "none": None,
    "empty": [],
    "nested": {"deep": {"deeper": [[1, 2], [3.5, True]]}, "loads": [0.1, 0.2], "nothing": {}},
    "runs": [{"mode": "a", "by": {"p99_ns": [1]}}, {"mode": "b", "p99_ns": 2}],
}


def test_a_row_is_a_line_and_nothing_is_lost() -> None:
    text = as_json(DOCUMENT)
    assert json.loads(text) == DOCUMENT
    assert list(json.loads(text)) == list(DOCUMENT)
    rows = ['  {"mode": "a", "by": {"p99_ns": [1]}},', '  {"mode": "b", "p99_ns": 2}']
    assert text.splitlines()[-4:] == [*rows, " ]", "}"]
    assert as_json({}) == "{}"


def test_a_document_read_back_is_written_the_same() -> None:
    text = as_json(DOCUMENT | {"settings": {"loads": (0.1, 0.2), "pairs": ((1, 2), (3, 4))}})
    assert as_json(json.loads(text)) == text


def test_the_documents_kept_are_so_written() -> None:
    for file in (Path(__file__).parents[3] / "docs/experiments").glob("*.json"):
        text = file.read_text(encoding="utf-8")
        assert text == as_json(json.loads(text)) + "\n", file.name
