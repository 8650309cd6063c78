"""What extensions ask a store for, under CPython: every check in the order in which compiled code and the worker make them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator

from splinter.ext.abi import ExtensionError
from splinter.ext.author import Store
from splinter.ext.faults import ExtensionFault
from splinter.ext.lifetimes import NS_PER_SECOND, ttl_ns
from splinter.ext.python.objects import Object, Place
from splinter.ext.types import I64_MAX, I64_MIN, U64_MAX, WORD_BYTES
from splinter.ext.views import Bytes, View
from splinter.limits import KEY_BYTES_MAX, TABLES_MAX, VALUE_BYTES_MAX


def as_bytes(value: int | Bytes | None) -> bytes:
    """A key or value as the store keeps it: an integer is its 8 bytes, little-endian, two's complement."""
    if value is None:
        raise ExtensionFault(ExtensionError.NONE)
    if isinstance(value, int):
        return int(value).to_bytes(WORD_BYTES, "little", signed=value < 0)
    return bytes(value)


def _check_table(table: int) -> None:
    if not 0 <= table < TABLES_MAX:
        raise ExtensionFault(ExtensionError.TABLE)


def _check_range(value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ExtensionFault(ExtensionError.OVERFLOW)


def _check_key(key: bytes) -> None:
    if not 1 <= len(key) <= KEY_BYTES_MAX:
        raise ExtensionFault(ExtensionError.KEY)


class Operations(Store):
    """The methods that read and write; where objects are looked up and changed is for others to say."""

    @abstractmethod
    def _now_ns(self) -> int:
        """The clock by which objects expire: of a transaction, that of its snapshot."""

    @abstractmethod
    def _look_up(self, place: Place) -> Object | None:
        """The object of a place, unless it is over."""

    @abstractmethod
    def _change(self, place: Place, value: bytes | None, expires: int = 0) -> None:
        """Put an object that expires then, or (0) never; or with None delete it."""

    def _count_put(self, place: Place, value_bytes: int) -> None:
        """Count what a task puts."""

    def get(self, table: int, key: int | Bytes) -> View | None:
        found = self._look_up(_place(table, key))
        return None if found is None else View(found.value)

    def exists(self, table: int, key: int | Bytes) -> bool:
        return self._look_up(_place(table, key)) is not None

    def version(self, table: int, key: int | Bytes) -> int:
        return self._version(_place(table, key))

    def _version(self, place: Place) -> int:
        found = self._look_up(place)
        return 0 if found is None else found.version

    def put(self, table: int, key: int | Bytes, value: int | Bytes, ttl: float | None = None) -> None:
        self._put(table, key, value, None, ttl)

    def put_if(self, table: int, key: int | Bytes, value: int | Bytes, version: int, ttl: float | None = None) -> bool:
        return self._put(table, key, value, version, ttl)

    def _put(self, table: int, key: int | Bytes, value: int | Bytes, version: int | None, ttl: float | None) -> bool:
        _check_table(table)
        place, content = (table, as_bytes(key)), as_bytes(value)
        if version is not None:
            _check_range(version, 0, U64_MAX)
        _check_key(place[1])
        if len(content) > VALUE_BYTES_MAX:
            raise ExtensionFault(ExtensionError.VALUE)
        expires = 0 if ttl is None else self._moment(ttl)
        self._count_put(place, len(content))
        if version is not None and self._version(place) != version:
            return False
        self._change(place, content, expires)
        return True

    def _moment(self, ttl: float) -> int:
        """When an object expires that is to live so many seconds from now on."""
        ns = ttl_ns(ttl)
        if ns == 0:
            raise ExtensionFault(ExtensionError.TTL)
        return self._now_ns() + ns

    def expire(self, table: int, key: int | Bytes, ttl: float) -> bool:
        place = _place(table, key)
        return self._put_again(place, self._moment(ttl))

    def persist(self, table: int, key: int | Bytes) -> bool:
        return self._put_again(_place(table, key), 0)

    def _put_again(self, place: Place, expires: int) -> bool:
        found = self._look_up(place)
        if found is None:
            return False
        self._count_put(place, len(found.value))
        self._change(place, found.value, expires)
        return True

    def ttl(self, table: int, key: int | Bytes) -> float:
        found = self._look_up(_place(table, key))
        if found is None:
            return 0.0
        return float(found.expires - self._now_ns()) / NS_PER_SECOND if found.expires else math.inf

    def add(self, table: int, key: int | Bytes, n: int) -> int:
        _check_table(table)
        place = table, as_bytes(key)
        _check_range(n, I64_MIN, I64_MAX)
        _check_key(place[1])
        self._count_put(place, WORD_BYTES)
        found = self._look_up(place)
        if found is not None and len(found.value) != WORD_BYTES:
            raise ExtensionFault(ExtensionError.COUNTER)
        total = int(n) + (0 if found is None else int.from_bytes(found.value, "little"))
        _check_range(total, 0, U64_MAX)
        self._change(place, total.to_bytes(WORD_BYTES, "little"), 0 if found is None else found.expires)
        return total

    def delete(self, table: int, key: int | Bytes, version: int | None = None) -> bool:
        _check_table(table)
        place = table, as_bytes(key)
        if version is not None:
            _check_range(version, 0, U64_MAX)
        _check_key(place[1])
        found = self._look_up(place)
        if found is None or (version is not None and version != found.version):
            return False
        self._change(place, None)
        return True

    def multiget(self, table: int, keys: Bytes, size: int) -> Iterator[View | None]:
        _check_table(table)
        if keys is None:
            raise ExtensionFault(ExtensionError.NONE)
        return (self.get(table, key) for key in View(keys).records(size))


def _place(table: int, key: int | Bytes) -> Place:
    _check_table(table)
    key = as_bytes(key)
    _check_key(key)
    return table, key
