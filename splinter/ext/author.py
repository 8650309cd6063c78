"""What extensions are written with. Under CPython these names do what the compiled code does.

``extension`` marks the function to install; ``Store`` and ``View`` are what its code works on; ``u64`` and ``i64`` are types
of parameters and results, and conversions that check that a value fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from splinter.ext.abi import ExtensionError
from splinter.ext.faults import ExtensionFault

_Function = TypeVar("_Function", bound=Callable[..., Any])


def extension(function: _Function) -> _Function:
    """Mark a function as an extension. It stays what it is; ``Client.install`` and ``LocalStore.invoke`` take it."""
    function.__splinter_extension__ = True  # type: ignore[attr-defined]
    return function


class _Integer:
    """An integer type by its range; calling it checks a value and gives it back."""

    def __init__(self, name: str, low: int, high: int) -> None:
        self.__name__ = name
        self.low, self.high = low, high

    def __call__(self, value: int) -> int:
        if not self.low <= value <= self.high:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        return int(value)

    def __repr__(self) -> str:
        return self.__name__


if TYPE_CHECKING:
    u64 = int
    i64 = int
else:
    u64 = _Integer("u64", 0, (1 << 64) - 1)
    i64 = _Integer("i64", -(1 << 63), (1 << 63) - 1)


class View:
    """Bytes in the store, in the arguments or in the code: read in place, never copied, never changed.

    Reads take a byte offset from the start of the view and end the task with ``INDEX`` when they would go beyond its end.
    All integers are little-endian.
    """

    __slots__ = ("_bytes",)

    def __init__(self, content: bytes | bytearray | memoryview | View) -> None:
        self._bytes: memoryview = memoryview(content._bytes if isinstance(content, View) else content).toreadonly()

    def u8(self, offset: int) -> int:
        """Unsigned integer of 1 byte."""
        return self._read(offset, 1, False)

    def u16(self, offset: int) -> int:
        """Unsigned integer of 2 bytes."""
        return self._read(offset, 2, False)

    def u32(self, offset: int) -> int:
        """Unsigned integer of 4 bytes."""
        return self._read(offset, 4, False)

    def u64(self, offset: int) -> int:
        """Unsigned integer of 8 bytes."""
        return self._read(offset, 8, False)

    def i8(self, offset: int) -> int:
        """Signed integer of 1 byte."""
        return self._read(offset, 1, True)

    def i16(self, offset: int) -> int:
        """Signed integer of 2 bytes."""
        return self._read(offset, 2, True)

    def i32(self, offset: int) -> int:
        """Signed integer of 4 bytes."""
        return self._read(offset, 4, True)

    def i64(self, offset: int) -> int:
        """Signed integer of 8 bytes."""
        return self._read(offset, 8, True)

    def __len__(self) -> int:
        return len(self._bytes)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> View: ...

    def __getitem__(self, index: int | slice) -> int | View:
        """One byte, or a part, with Python's rules for negative and too large bounds."""
        if isinstance(index, slice):
            return View(self._bytes[index])
        if not -len(self) <= index < len(self):
            raise ExtensionFault(ExtensionError.INDEX)
        return self._bytes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View | bytes) and bytes(self) == bytes(other)

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def __repr__(self) -> str:
        return f"View({bytes(self)!r})"

    def _read(self, offset: int, size: int, is_signed: bool) -> int:
        if not 0 <= offset <= len(self) - size:
            raise ExtensionFault(ExtensionError.INDEX)
        return int.from_bytes(self._bytes[offset : offset + size], "little", signed=is_signed)


Bytes = View | bytes


class Store:
    """The tenant's tables, as an extension sees them.

    ``table`` is 0 … TABLES_MAX - 1. A ``key`` has 1 to 255 bytes; where a key or value is an integer, it stands for its 8
    bytes, little-endian. Objects are immutable: a view stays as it was, whatever is put or deleted later.
    """

    def get(self, table: int, key: int | Bytes) -> View | None:
        """The value of an object, or None. No copy is made."""
        raise NotImplementedError

    def exists(self, table: int, key: int | Bytes) -> bool:
        """Whether there is such an object."""
        raise NotImplementedError

    def put(self, table: int, key: int | Bytes, value: int | Bytes) -> None:
        """Store an object, or replace it; each put is atomic by itself."""
        raise NotImplementedError

    def delete(self, table: int, key: int | Bytes) -> bool:
        """Remove an object; tells whether it was there."""
        raise NotImplementedError
