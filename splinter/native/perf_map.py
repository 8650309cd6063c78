"""Names for compiled code, for profilers: which functions of ours stand where in this process, and in all forked from it.

The format is that of perf's map files (``tools/perf/Documentation/jit-interface.txt`` in the kernel's tree): a line for each
function with start and size in hexadecimal, and its name. What LLVM inlined has no line of its own.
"""

from __future__ import annotations

import bisect
import re
from pathlib import Path

from numba.core.registry import cpu_target

_PREFIX = "_ZN8splinter"  # how Numba's names begin, of functions of this package
_FUNCTION_BYTES_MAX = 16 << 10  # the last function before a gap ends somewhere in it
_LENGTH = re.compile(r"\d+")


def write(path: Path) -> None:
    """Write a map of everything of this package that is compiled and loaded."""
    # Numba keeps the names of what it has loaded; there is no public way to them.
    engine = cpu_target.target_context.codegen()._engine
    names = [name for name in engine._defined_symbols if name.startswith(_PREFIX)]
    found = sorted((engine.get_function_address(name), readable(name)) for name in names)
    ends = [address for address, _ in found[1:]] + [found[-1][0] + _FUNCTION_BYTES_MAX] if found else []
    lines = (
        f"{address:x} {min(end - address, _FUNCTION_BYTES_MAX):x} {name}\n"
        for (address, name), end in zip(found, ends, strict=True)
    )
    path.write_text("".join(lines), encoding="utf-8")


def readable(mangled: str) -> str:
    """``worker.requests.handle`` of the name that Numba gave a function's machine code."""
    parts, at = [], len("_ZN")
    while (length := _LENGTH.match(mangled, at)) is not None:
        end = length.end() + int(length.group())
        parts.append(mangled[length.end() : end])
        at = end
    return ".".join(parts[1:])


class PerfMap:
    """A map that was written: what an address belongs to."""

    def __init__(self, path: Path) -> None:
        entries = sorted(self._entry(line) for line in path.read_text(encoding="utf-8").splitlines())
        self._starts = [start for start, _, _ in entries]
        self._entries = entries

    @staticmethod
    def _entry(line: str) -> tuple[int, int, str]:
        start, size, name = line.split(maxsplit=2)
        return int(start, 16), int(size, 16), name

    def name(self, address: int) -> str | None:
        """The function that an instruction belongs to; None: no function of the map."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, size, name = self._entries[index]
        return name if address < start + size else None
