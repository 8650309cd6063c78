"""The examples in docs/start/extensions.md and docs/reference/extensions.md are true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from splinter import limits
from splinter.errors import CompileError
from splinter.ext import LocalStore
from splinter.ext.abi import ExtensionError
from splinter.ext.compile import compile_source
from splinter.ext.front.names import FUNCTION_NAMES
from splinter.ext.helpers import METHODS
from tests.support.runner import Runner

DOCS = Path(__file__).parents[3] / "docs"
TEXT = "".join((DOCS / folder / "extensions.md").read_text() for folder in ("start", "reference"))
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_tutorial_runs() -> None:
    names = {"hypernyms": BLOCKS[0]}  # invoke takes a function, or its source
    exec(BLOCKS[1], names)
    store = names["store"]
    assert isinstance(store, LocalStore)
    with Runner(store) as runner:
        assert runner.run(compile_source(BLOCKS[0]), 2084071) == 2


def test_the_transactions_run() -> None:
    store = LocalStore()
    for source, calls in ((BLOCKS[2], {(7,): 1, (8,): 1}), (BLOCKS[3], {(7, 5): 2})):
        compiled = compile_source(source)
        with Runner(store.copy()) as runner:
            assert {call: runner.run(compiled, *call) for call in calls} == calls
        assert {call: store.invoke(source, *call) for call in calls} == calls


def test_the_pieces_compile() -> None:
    extension = "\n@extension\ndef f(db: Store, count: u64, synset: u64, node: bytes) -> bytes:\n"
    records, memory = ("".join("    " + line + "\n" for line in block.splitlines()) for block in BLOCKS[5:7])
    compile_source(f"{BLOCKS[4]}{extension}    total = 0\n{records}{memory}")


def test_the_message_is_what_is_printed() -> None:
    source = "@extension\ndef f(db: Store, total: u64, a: i64) -> u64:\n    pass\n    return total + a\n"
    with pytest.raises(CompileError) as caught:
        compile_source(source, filename="sum.py")
    assert str(caught.value) in TEXT


def test_the_limits_of_a_transaction_are_these() -> None:
    for limit in (limits.TRANSACTION_READS_MAX, limits.TRANSACTION_WRITES_MAX):
        assert f"| {limit:,} |" in TEXT
    assert f"| {limits.TRANSACTION_BYTES_MAX:,} bytes |" in TEXT


def test_nothing_is_missing() -> None:
    for name in (*FUNCTION_NAMES, *METHODS, *(error.name for error in ExtensionError if error.name != "ARGUMENTS")):
        assert re.search(rf"\b{name}\b", TEXT), name
