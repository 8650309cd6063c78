"""How the verifier refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from splinter.errors import SplinterError
from splinter.ext.middle.ir import Instruction


class UnprovenError(SplinterError):
    """The intermediate code is not certainly harmless. ``line`` is of the source, 0 when none is known."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def refuse(reason: str, code: Sequence[Instruction] = (), place: int = 0) -> NoReturn:
    """End the verification: ``reason`` was not shown of the instruction at a place of a block."""
    before = (instruction.line for instruction in reversed(code[: place + 1]) if instruction.line)
    behind = (instruction.line for instruction in code[place + 1 :] if instruction.line)
    raise UnprovenError(reason, next(before, 0) or next(behind, 0))
