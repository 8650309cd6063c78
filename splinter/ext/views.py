"""Memory that extensions work on, as CPython has it: views, buffers and arrays, and numbers in them."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, Literal, SupportsIndex, TypeVar, overload

from splinter.ext.abi import ExtensionError
from splinter.ext.faults import ExtensionFault
from splinter.ext.types import BIG_ENDIAN, ELEMENTS, F64, Element

_Number = TypeVar("_Number", int, float)
_FLOATS = ("f32", "f64", "f32_be", "f64_be")


def one_nan(value: float) -> float:
    """A float as it is stored or returned: whatever is not a number has the same bits then."""
    return math.nan if value != value else value


def pack(element: Element, value: Any) -> bytes:
    """A number as it lies in memory."""
    order: Literal["little", "big"] = "big" if element.is_big_endian else "little"
    if element.value == F64:
        value = one_nan(value)
        try:
            return struct.pack(("<" if order == "little" else ">") + ("f" if element.size == 4 else "d"), value)
        except OverflowError:
            raise ExtensionFault(ExtensionError.OVERFLOW) from None
    if not element.range[0] <= value <= element.range[1]:
        raise ExtensionFault(ExtensionError.OVERFLOW)
    return int(value).to_bytes(element.size, order, signed=element.is_signed)


def unpack(element: Element, content: bytes | memoryview) -> Any:
    """The inverse of :func:`pack`."""
    order: Literal["little", "big"] = "big" if element.is_big_endian else "little"
    if element.value == F64:
        return struct.unpack(("<" if order == "little" else ">") + ("f" if element.size == 4 else "d"), content)[0]
    return int.from_bytes(content, order, signed=element.is_signed)


def _place(content: memoryview, offset: int, size: int) -> memoryview:
    if not 0 <= offset <= len(content) - size:
        raise ExtensionFault(ExtensionError.INDEX)
    return content[offset : offset + size]


def _reader(name: str, kind: type[_Number]) -> Callable[[_Readable, int], _Number]:
    element = {**ELEMENTS, **BIG_ENDIAN}[name]

    def read(self: _Readable, offset: int) -> _Number:
        return kind(unpack(element, _place(self._bytes, offset, element.size)))

    read.__name__ = name
    read.__doc__ = f"The {name} at a byte offset."
    return read


def _appender(name: str) -> Callable[[Buffer, Any], None]:
    element = {**ELEMENTS, **BIG_ENDIAN}[name]

    def append(self: Buffer, value: Any) -> None:
        packed = pack(element, value)
        self._grow(element.size)[:] = packed

    append.__doc__ = f"Add a {name}."
    return append


def _setter(name: str) -> Callable[[Buffer, int, Any], None]:
    element = {**ELEMENTS, **BIG_ENDIAN}[name]

    def replace(self: Buffer, offset: int, value: Any) -> None:
        packed = pack(element, value)
        _place(self._bytes, offset, element.size)[:] = packed

    replace.__doc__ = f"Replace the {name} at a byte offset."
    return replace


if TYPE_CHECKING:
    _LikeBytes = bytes  # so that type checkers take views and buffers where an extension declares bytes
else:
    _LikeBytes = object


class _Readable(_LikeBytes):
    """Typed reads at an offset, shared by views and buffers; ``u64_be`` and so on read big-endian numbers."""

    _bytes: memoryview

    u8, u16, u32, u64 = (_reader(f"u{bits}", int) for bits in (8, 16, 32, 64))
    i8, i16, i32, i64 = (_reader(f"i{bits}", int) for bits in (8, 16, 32, 64))
    u16_be, u32_be, u64_be = (_reader(f"u{bits}_be", int) for bits in (16, 32, 64))
    i16_be, i32_be, i64_be = (_reader(f"i{bits}_be", int) for bits in (16, 32, 64))
    f32, f64, f32_be, f64_be = (_reader(name, float) for name in _FLOATS)

    def records(self, size: int) -> Iterator[View]:
        """Go over parts of ``size`` bytes; ends the task with ``INDEX`` when the bytes are no whole number of them."""
        content = View(self)
        if size < 1 or len(content) % size:
            raise ExtensionFault(ExtensionError.INDEX)
        return (content[at : at + size] for at in range(0, len(content), size))


class View(_Readable):
    """Bytes in the store, in the arguments or in the code: read in place, never copied, never changed.

    Reads take a byte offset from the start of the view and end the task with ``INDEX`` when they would go beyond its end.
    All integers are little-endian.
    """

    __slots__ = ("_bytes",)

    def __init__(self, content: bytes | bytearray | memoryview | _Readable) -> None:
        self._bytes = memoryview(content._bytes if isinstance(content, _Readable) else content).toreadonly()

    def __len__(self) -> int:
        return len(self._bytes)

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> View: ...

    def __getitem__(self, index: SupportsIndex | slice) -> int | View:
        """One byte, or a part, with Python's rules for negative and too large bounds."""
        if isinstance(index, slice):
            return View(self._bytes[index])
        if not -len(self) <= int(index) < len(self):
            raise ExtensionFault(ExtensionError.INDEX)
        return self._bytes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Readable | bytes) and bytes(self) == bytes(View(other))

    def __hash__(self) -> int:
        return hash(bytes(self))

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def __repr__(self) -> str:
        return f"View({bytes(self)!r})"


class Buffer(_Readable):
    """Bytes under construction: empty at first, and never more than ``capacity``. Make one with :func:`buffer`.

    Where bytes are wanted (a key, a value, the result, ``append``), a buffer stands for what is in it. ``append_u64``
    and its like add a number, ``set_u64(offset, value)`` and its like replace one; a number that does not fit its type ends
    the task with ``OVERFLOW``, and one too many with ``CAPACITY``.
    """

    append_u8, append_u16, append_u32, append_u64 = (_appender(f"u{bits}") for bits in (8, 16, 32, 64))
    append_i8, append_i16, append_i32, append_i64 = (_appender(f"i{bits}") for bits in (8, 16, 32, 64))
    append_u16_be, append_u32_be, append_u64_be = (_appender(f"u{bits}_be") for bits in (16, 32, 64))
    append_i16_be, append_i32_be, append_i64_be = (_appender(f"i{bits}_be") for bits in (16, 32, 64))
    append_f32, append_f64, append_f32_be, append_f64_be = (_appender(name) for name in _FLOATS)
    set_u8, set_u16, set_u32, set_u64 = (_setter(f"u{bits}") for bits in (8, 16, 32, 64))
    set_i8, set_i16, set_i32, set_i64 = (_setter(f"i{bits}") for bits in (8, 16, 32, 64))
    set_u16_be, set_u32_be, set_u64_be = (_setter(f"u{bits}_be") for bits in (16, 32, 64))
    set_i16_be, set_i32_be, set_i64_be = (_setter(f"i{bits}_be") for bits in (16, 32, 64))
    set_f32, set_f64, set_f32_be, set_f64_be = (_setter(name) for name in _FLOATS)

    def __init__(self, capacity: int) -> None:
        self._memory = memoryview(bytearray(capacity))
        self._length = 0

    @property
    def _bytes(self) -> memoryview:  # type: ignore[override]
        return self._memory[: self._length]

    def append(self, content: Bytes | Buffer) -> None:
        """Add bytes."""
        added = View(content)._bytes if isinstance(content, View | Buffer) else memoryview(content)
        self._grow(len(added))[:] = bytes(added)

    def clear(self) -> None:
        """Drop what is in the buffer."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> View: ...

    def __getitem__(self, index: SupportsIndex | slice) -> int | View:
        return View(self)[index]

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def __eq__(self, other: object) -> bool:
        return View(self) == other

    def __hash__(self) -> int:
        return hash(bytes(self))

    def _grow(self, count: int) -> memoryview:
        if count > len(self._memory) - self._length:
            raise ExtensionFault(ExtensionError.CAPACITY)
        self._length += count
        return self._memory[self._length - count : self._length]


def buffer(capacity: int) -> Buffer:
    """An empty buffer for up to ``capacity`` bytes."""
    return Buffer(capacity)


class array(Generic[_Number]):
    """``array(u32, 16)``: a local array of 16 elements, all 0 at first. Negative indices count from the end.

    What is stored must fit the type of the elements, or the task ends with ``OVERFLOW``.
    """

    def __init__(self, element: type[_Number], length: int) -> None:
        self._element = ELEMENTS[element.__name__ if element is not float else "f64"]
        self._values: list[_Number] = [0.0 if self._element.value == F64 else 0] * length  # type: ignore[list-item]

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> _Number:
        return self._values[self._place(index)]

    def __setitem__(self, index: int, value: _Number) -> None:
        self._values[self._place(index)] = unpack(self._element, pack(self._element, value))

    def _place(self, index: int) -> int:
        if not -len(self._values) <= index < len(self._values):
            raise ExtensionFault(ExtensionError.INDEX)
        return index


Bytes = View | Buffer | bytes
