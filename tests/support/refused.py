"""What the compiler says of sources that it refuses."""

from __future__ import annotations

import pytest

from splinter.errors import CompileError
from splinter.ext.compile import compile_source
from splinter.ext.front.diagnostics import Diagnostic


def findings(source: str, name: str | None = None) -> list[Diagnostic]:
    with pytest.raises(CompileError) as caught:
        compile_source(source, name)
    assert str(caught.value)
    return caught.value.diagnostics  # type: ignore[return-value]


def rules(source: str) -> list[tuple[int, int, str]]:
    return [(d.line, d.column, d.rule) for d in findings(source)]


def body(text: str) -> str:
    lines = "\n".join("    " + line for line in text.split("\n"))
    return f"@extension\ndef f(db: Store, a: i64, b: u64, k: bytes) -> u64:\n{lines}\n"
