"""The transaction of an extension that runs under CPython: its limits, and what it takes to undo it."""

from __future__ import annotations

from splinter.ext.abi import ExtensionError, Isolation
from splinter.ext.faults import ExtensionFault
from splinter.limits import TRANSACTION_BYTES_MAX, TRANSACTION_READS_MAX, TRANSACTION_WRITES_MAX

Place = tuple[int, bytes]  # table and key
_WRITE_BYTES = 32  # that a write takes beside key and value
_WORD_BYTES = 8


class Transaction:
    """What one task reads and writes, counted as a worker counts it; and what was there before."""

    def __init__(self, isolation: Isolation) -> None:
        self._isolation = isolation
        self._reads = self._bytes = 0
        self._before: dict[Place, tuple[bytes, int] | None] = {}

    def read(self, place: Place) -> None:
        """Count a look-up. Raises TRANSACTION when it is one too many."""
        if self._isolation == Isolation.WRITES and place not in self._before:
            self._reads += 1
            if self._reads > TRANSACTION_READS_MAX:
                raise ExtensionFault(ExtensionError.TRANSACTION)

    def write(self, place: Place, value_bytes: int, before: tuple[bytes, int] | None) -> None:
        """Count a change of an object, which was ``before``: its value and version. Raises TRANSACTION when it is too much."""
        if self._isolation < Isolation.READS:
            return
        size = _WRITE_BYTES + -(-(len(place[1]) + value_bytes) // _WORD_BYTES) * _WORD_BYTES
        is_full = place not in self._before and len(self._before) == TRANSACTION_WRITES_MAX
        if is_full or self._bytes + size > TRANSACTION_BYTES_MAX:
            raise ExtensionFault(ExtensionError.TRANSACTION)
        self._bytes += size
        self._before.setdefault(place, before)

    def undo(self, objects: dict[Place, bytes], versions: dict[Place, int]) -> None:
        """Put all objects that it changed back."""
        for place, before in self._before.items():
            if before is None:
                objects.pop(place, None)
            else:
                objects[place], versions[place] = before
