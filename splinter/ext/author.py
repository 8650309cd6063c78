"""What extensions are written with. Under CPython these names do what the compiled code does.

``extension`` marks the function to install; ``Store`` and ``View`` are what its code works on; ``u64`` and ``i64`` are types
of parameters and results, and conversions that check that a value fits.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

from splinter.ext.abi import ExtensionError
from splinter.ext.faults import ExtensionFault
from splinter.ext.views import Bytes, View

_Function = TypeVar("_Function", bound=Callable[..., Any])
Isolation = Literal["serializable", "none"]
Place = Literal["worker", "kernel"]


FNV_OFFSET, FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3


@overload
def extension(function: _Function, /) -> _Function: ...
@overload
def extension(*, isolation: Isolation = ..., place: Place | None = ...) -> Callable[[_Function], _Function]: ...
def extension(
    function: _Function | None = None, /, *, isolation: Isolation = "serializable", place: Place | None = None
) -> Any:
    """Mark a function as an extension. It stays what it is; ``Client.install`` and ``LocalStore.invoke`` take it.

    Each invoke is a transaction: what it reads and writes happens at one instant, or not at all. With ``isolation="none"`` each
    get, put and delete stands for itself, without a limit to how many there are.

    Where it runs is the server's choice: in the kernel, in front of the workers, where it can, else in a worker. ``place`` says
    ``"worker"``, or ``"kernel"``: then a server that cannot place it there refuses it, and says why.
    """
    if isolation not in ("serializable", "none"):
        raise ValueError(f'isolation is "serializable" or "none", not {isolation!r}')
    if place not in ("worker", "kernel", None):
        raise ValueError(f'place is "worker" or "kernel", not {place!r}')

    def mark(marked: _Function) -> _Function:
        marked.__splinter_extension__ = True  # type: ignore[attr-defined]
        return marked

    return mark if function is None else mark(function)


class _Integer:
    """An integer type by its range; calling it checks a value and gives it back, a float without its fraction."""

    def __init__(self, name: str, low: int, high: int) -> None:
        self.__name__ = name
        self.low, self.high = low, high

    def __call__(self, value: float) -> int:
        if isinstance(value, float) and not math.isfinite(value):
            raise ExtensionFault(ExtensionError.OVERFLOW)
        whole = int(value)
        if not self.low <= whole <= self.high:
            raise ExtensionFault(ExtensionError.OVERFLOW)
        return whole

    def __repr__(self) -> str:
        return self.__name__


if TYPE_CHECKING:
    u8: TypeAlias = int
    u16: TypeAlias = int
    u32: TypeAlias = int
    u64: TypeAlias = int
    i8: TypeAlias = int
    i16: TypeAlias = int
    i32: TypeAlias = int
    i64: TypeAlias = int
    f64: TypeAlias = float
else:
    u8, u16, u32, u64 = (_Integer(f"u{bits}", 0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
    i8, i16, i32, i64 = (_Integer(f"i{bits}", -(1 << bits - 1), (1 << bits - 1) - 1) for bits in (8, 16, 32, 64))
    f64 = float


class f32:
    """The type of array elements that are IEEE 754 binary32; in expressions they are f64."""


class Error(Exception):
    """``raise Error(code)`` ends the task; the invoker sees the code, an integer from 0 to 2**64 - 1, or negative."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


def sqrt(x: float) -> float:
    """Square root; ends the task with ``DOMAIN`` when ``x`` is negative."""
    if x < 0:
        raise ExtensionFault(ExtensionError.DOMAIN)
    return math.sqrt(x)


def floor(x: float) -> float:
    """The largest whole number that is not above ``x``, as a float."""
    return (float(math.floor(x)) or math.copysign(0.0, x)) if math.isfinite(x) else x


def exp(x: float) -> float:
    """e to the power of ``x``; ends the task with ``OVERFLOW`` when that is too large."""
    try:
        return math.exp(x)
    except OverflowError:
        raise ExtensionFault(ExtensionError.OVERFLOW) from None


def log(x: float) -> float:
    """Natural logarithm; ends the task with ``DOMAIN`` unless ``x`` is positive."""
    if x <= 0:
        raise ExtensionFault(ExtensionError.DOMAIN)
    return math.log(x)


def crc32(content: Bytes) -> int:
    """The CRC that zlib, Ethernet and PNG use."""
    return zlib.crc32(bytes(View(content)))


def hash64(content: Bytes) -> int:
    """FNV-1a, 64 bits: quick, well spread, and no protection against somebody who looks for collisions."""
    state = FNV_OFFSET
    for byte in bytes(View(content)):
        state = (state ^ byte) * FNV_PRIME & (1 << 64) - 1
    return state


def popcount(x: int) -> int:
    """How many bits of an unsigned integer are 1."""
    return x.bit_count()


def clz(x: int) -> int:
    """How many bits above the highest 1 of a 64-bit integer are 0; 64 for 0."""
    return 64 - x.bit_length()


def ctz(x: int) -> int:
    """How many bits below the lowest 1 of a 64-bit integer are 0; 64 for 0."""
    return (x & -x).bit_length() - 1 if x else 64


def rotl64(x: int, count: int) -> int:
    """Rotate a 64-bit integer to the left by 0 … 63."""
    return _rotate(x, count, 64)


def rotl32(x: int, count: int) -> int:
    """Rotate an integer of 32 bits to the left by 0 … 31."""
    return _rotate(u32(x), count, 32)


def _rotate(x: int, count: int, bits: int) -> int:
    if not 0 <= count < bits:
        raise ExtensionFault(ExtensionError.SHIFT)
    return (x << count | x >> bits - count) & (1 << bits) - 1


class Store(ABC):
    """The tenant's tables, as an extension sees them.

    ``table`` is 0 … TABLES_MAX - 1. A ``key`` has 1 to 255 bytes; where a key or value is an integer, it stands for its 8
    bytes, little-endian. Objects are immutable: a view stays as it was, whatever is put or deleted later.
    """

    @abstractmethod
    def get(self, table: int, key: int | Bytes) -> View | None:
        """The value of an object, or None. No copy is made."""

    @abstractmethod
    def exists(self, table: int, key: int | Bytes) -> bool:
        """Whether there is such an object."""

    @abstractmethod
    def version(self, table: int, key: int | Bytes) -> int:
        """Version of an object, which changes whenever it is put; 0 when there is no such object."""

    @abstractmethod
    def put_if(self, table: int, key: int | Bytes, value: int | Bytes, version: int, ttl: float | None = None) -> bool:
        """Put if the object still has this version, or, with version 0, if there is none; tells whether it did. ``ttl`` as in
        :meth:`put`.

        With ``isolation="none"`` this changes an object safely: ask for its version first, then read it, then ``put_if`` with
        that version. An extension that is a transaction needs no version: nobody changes what it has read before it ends.
        """

    @abstractmethod
    def multiget(self, table: int, keys: Bytes, size: int) -> Iterator[View | None]:
        """Go over the objects whose keys, of ``size`` bytes each, stand one behind the other."""

    @abstractmethod
    def now_ns(self) -> int:
        """Nanoseconds of the machine's monotonic clock."""

    @abstractmethod
    def log(self, text: Bytes) -> None:
        """Write an entry into the tenant's debug log, which its owner can read; long ones are cut."""

    @abstractmethod
    def tenant(self) -> int:
        """The id of the tenant that the extension runs for."""

    @abstractmethod
    def put(self, table: int, key: int | Bytes, value: int | Bytes, ttl: float | None = None) -> None:
        """Store an object, or replace it. It lives for ``ttl`` seconds, a float or an integer; without, for ever.

        In a transaction they count from its snapshot, as all that it is told of time. The task ends with ``TTL`` when they are
        less than 1 ns, or more than 100 years.
        """

    @abstractmethod
    def expire(self, table: int, key: int | Bytes, ttl: float) -> bool:
        """Have an object live for ``ttl`` seconds from now on; False when there is none. As a put of its value."""

    @abstractmethod
    def persist(self, table: int, key: int | Bytes) -> bool:
        """Have an object live for ever; False when there is none. As a put of its value."""

    @abstractmethod
    def ttl(self, table: int, key: int | Bytes) -> float:
        """Seconds that an object still lives, infinite when that is for ever; 0.0 when there is none."""

    @abstractmethod
    def add(self, table: int, key: int | Bytes, n: int) -> int:
        """Add ``n`` to a counter and return its new value, at one instant, also with ``isolation="none"``.

        A counter is an object of 8 bytes, an unsigned integer as a put of an integer stores it; one that is not there is 0.
        ``n`` is an i64: what is negative is subtracted. A counter that expires keeps its moment. The task ends with
        ``OVERFLOW``, and the counter stays as it was, when the sum is below 0 or above 2**64 - 1; with ``COUNTER`` when the
        object has another length.
        """

    @abstractmethod
    def delete(self, table: int, key: int | Bytes, version: int | None = None) -> bool:
        """Remove an object; tells whether it did.

        With a ``version`` only if the object still has this version. Version 0 is that of an object that is not there, so that
        there is nothing to remove.
        """
