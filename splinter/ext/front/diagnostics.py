"""What the compiler has to say about a source, and how it is shown."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from splinter.errors import CompileError

FINDINGS_MAX = 50  # more do not help anybody
SHOWN_LINE_CHARACTERS_MAX = 160


@dataclass(frozen=True)
class Diagnostic:
    """One finding. ``line`` and ``column`` count from 1, in characters; ``end_column`` is the first one behind the place."""

    line: int
    column: int
    rule: str
    message: str
    hint: str = ""
    end_column: int = 0

    def render(self, lines: list[str], filename: str) -> str:
        """The finding with its source line and a caret under the place."""
        text = f"error[{self.rule}]: {self.message}\n"
        gutter = " " * len(str(self.line))
        text += f"{gutter}--> {filename}:{self.line}:{self.column}\n"
        if 1 <= self.line <= len(lines):
            shown, start = self._excerpt(lines[self.line - 1])
            width = max(1, min(self.end_column - self.column, len(shown) - start))
            text += f"{gutter} |\n{self.line} | {shown}\n{gutter} | {' ' * start}{'^' * width}\n"
        if self.hint:
            text += f"{gutter} = help: {self.hint}\n"
        return text

    def _excerpt(self, line: str) -> tuple[str, int]:
        """The part of the line that is shown, printable, and where in it the place begins."""
        printable = "".join(c if c.isprintable() else " " for c in line.rstrip("\r\n"))
        start = min(max(self.column - 1, 0), len(printable))
        cut = max(0, start - SHOWN_LINE_CHARACTERS_MAX // 2)
        return printable[cut : cut + SHOWN_LINE_CHARACTERS_MAX], start - cut


@dataclass
class Findings:
    """Collects diagnostics of one source; :meth:`raise_if_any` ends the compilation with all of them."""

    source: str
    filename: str = "<source>"
    diagnostics: list[Diagnostic] = field(default_factory=list)
    muted: bool = False  # while types are still being inferred
    unheard: int = 0  # findings while it was muted
    _lines: list[str] | None = None

    @property
    def lines(self) -> list[str]:
        if self._lines is None:
            # Not str.splitlines(): Python ends a line at \n, \r\n and \r only, and the numbers must be Python's.
            self._lines = self.source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return self._lines

    def add(self, node: ast.AST, rule: str, message: str, hint: str = "") -> None:
        """Report something about a node of the syntax tree."""
        if self.muted:
            self.unheard += 1
            return
        line = int(getattr(node, "lineno", 1))
        column = self._characters(line, int(getattr(node, "col_offset", 0))) + 1
        end_column = column + 1
        if getattr(node, "end_lineno", None) == line:
            end_column = self._characters(line, int(getattr(node, "end_col_offset", 0))) + 1
        elif 1 <= line <= len(self.lines):
            end_column = len(self.lines[line - 1]) + 1
        self.add_at(line, column, rule, message, hint, end_column)

    def add_at(self, line: int, column: int, rule: str, message: str, hint: str = "", end_column: int = 0) -> None:
        """Report something about a place."""
        finding = Diagnostic(line, column, rule, message, hint, end_column)
        if not self.muted and len(self.diagnostics) < FINDINGS_MAX and finding not in self.diagnostics:
            self.diagnostics.append(finding)

    def raise_if_any(self) -> None:
        """Raise :class:`CompileError` with everything reported so far, in the order of the source."""
        if self.diagnostics:
            self.diagnostics.sort(key=lambda d: (d.line, d.column))
            raise self.error()

    def error(self) -> CompileError:
        """The exception that carries the diagnostics, its text laid out for a terminal."""
        count = len(self.diagnostics)
        parts = [diagnostic.render(self.lines, self.filename) for diagnostic in self.diagnostics]
        parts.append(f"{count} error{'s' if count != 1 else ''}" + (" or more" if count == FINDINGS_MAX else ""))
        return CompileError(list(self.diagnostics), "\n".join(parts))

    def _characters(self, line: int, utf8_offset: int) -> int:
        """Characters in the first ``utf8_offset`` bytes of a line (the syntax tree counts bytes)."""
        if not 1 <= line <= len(self.lines):
            return utf8_offset
        text = self.lines[line - 1]
        if text.isascii():
            return utf8_offset
        return len(text.encode("utf-8", "replace")[:utf8_offset].decode("utf-8", "replace"))
