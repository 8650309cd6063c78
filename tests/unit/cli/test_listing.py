"""Tables of what there is: whole numbers and names, whatever the terminal's width."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from rich.cells import cell_len

import splinter.cli
from splinter.cli.listing import say_table

HEADS = ("name", "objects", "bytes", "of code", "quota", "token")
ROWS = [
    ("7", "3,008", "206,595", "259", "33,554,432", "34cf84527e010bfa\nffffffffffffffff"),
    ("16383", "0", "8,589,934,592", "0", "none", "688d038bd76144c7"),
]
SIGNATURES = [("count_the_visits_of_pages(page: u64, by: i64) -> tuple[u64, bytes]", "12", "1,234,567")]
MAY_GO = HEADS[1:-1]


def cells(text: str) -> list[list[str]]:
    """What stands between the lines of a table, its heads first."""
    lines = (line.replace("┃", "│") for line in text.splitlines() if line[:1] in ("┃", "│"))
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines]


@pytest.mark.parametrize("width", [45, 60, 79, 80, 81, 100, 300])
def test_what_is_shown_is_whole_and_the_rest_is_named(capsys, monkeypatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    say_table(HEADS, ROWS, keeps="token")
    text = capsys.readouterr().out
    heads, *rows = cells(text)
    assert [head for head in HEADS if head in heads] == heads
    assert heads[0] == "name" and heads[-1] == "token"
    assert rows[0] == [ROWS[0][HEADS.index(head)].split("\n")[0] for head in heads]
    assert rows[-1] == [ROWS[1][HEADS.index(head)] for head in heads]
    left = [head for head in MAY_GO if head not in heads]
    assert (f"… also: {', '.join(left)} (" in text) == bool(left)
    assert max(cell_len(line) for line in text.splitlines() if line[:1] in "┃│┏") <= width


def test_a_pipe_gets_all_of_it(capsys, monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    say_table(HEADS, [*ROWS, tuple("x" * 60 for _ in HEADS)], keeps="token")
    text = capsys.readouterr().out
    assert cells(text)[0] == list(HEADS) and cells(text)[-1] == ["x" * 60] * len(HEADS) and "also" not in text


def test_a_text_that_may_be_long_takes_more_lines(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    say_table(("signature", "version", "invocations"), SIGNATURES, wraps="signature")
    heads, *rows = cells(capsys.readouterr().out)
    assert heads == ["signature", "version", "invocations"] and rows[0][1:] == ["12", "1,234,567"]
    assert "".join("".join(row[0] for row in rows).split()) == "".join(SIGNATURES[0][0].split())


def test_no_command_draws_another_table() -> None:
    """But for prose, which wraps as it likes."""
    for path in Path(splinter.cli.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        drawn = [ast.unparse(node) for node in calls if ast.unparse(node.func) == "Table"]
        if path.name != "listing.py":
            assert drawn in ([], ["Table('name', 'what it is', 'extensions')"]), path
