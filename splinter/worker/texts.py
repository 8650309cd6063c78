"""Messages that replies carry, laid out in memory for compiled code."""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.native.atomics import load32

_ENTRIES = 256
_ENTRY_BYTES = 8  # u32 offset from the start of the area, u32 length
_EXTENSION_ERRORS_FROM = 128  # entries of statuses come first


def build_texts() -> np.ndarray:
    """An array of bytes: a table of offsets and lengths by status and by extension error, then the texts (UTF-8)."""
    table = np.zeros((_ENTRIES, 2), dtype="<u4")
    blob = bytearray()
    entries = {int(status): status.text for status in Status}
    entries |= {_EXTENSION_ERRORS_FROM + int(error): error.text for error in ExtensionError}
    for index, text in entries.items():
        encoded = text.encode()
        table[index] = (table.nbytes + len(blob), len(encoded))
        blob += encoded
    return np.frombuffer(table.tobytes() + bytes(blob), dtype=np.uint8).copy()


@njit(cache=True, forceinline=True)
def status_text(texts: int, status: int) -> tuple[int, int]:
    """Address and length of a status's message."""
    entry = texts + (status & (_EXTENSION_ERRORS_FROM - 1)) * _ENTRY_BYTES
    return texts + load32(entry), load32(entry + 4)


@njit(cache=True, forceinline=True)
def extension_error_text(texts: int, error: int) -> tuple[int, int]:
    """Address and length of an extension error's message; empty for a number that is none."""
    return status_text(texts, 0) if error < 0 or error >= _EXTENSION_ERRORS_FROM else _entry(texts, error)


@njit(cache=True, forceinline=True)
def _entry(texts: int, error: int) -> tuple[int, int]:
    entry = texts + (_EXTENSION_ERRORS_FROM + error) * _ENTRY_BYTES
    return texts + load32(entry), load32(entry + 4)
