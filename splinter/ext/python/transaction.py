"""What a task under CPython sees of a store and does to it: as a worker has it, for one task or several at once.

A transaction sees the store as it was when it began, and its own writes. Others may commit meanwhile: of each object that they
change it keeps what was there before. At its end its writes are done all at once, unless something that it has looked up is
there in another version than it saw: then it was in vain.
"""

from __future__ import annotations

from splinter.ext.abi import ExtensionError, Isolation
from splinter.ext.author import Store
from splinter.ext.faults import ExtensionFault
from splinter.ext.python.objects import Object, Objects, Place
from splinter.ext.python.operations import Operations
from splinter.ext.views import Bytes
from splinter.limits import (
    OBJECT_HEADER_BYTES,
    TASK_PUT_BYTES_MAX,
    TRANSACTION_BYTES_MAX,
    TRANSACTION_READS_MAX,
    TRANSACTION_WRITES_MAX,
)

_WRITE_BYTES = 32  # that a write takes beside key and value
_WORD_BYTES = 8


class Task(Operations):
    """The store as one task has it: what an extension gets as its first argument. It begins now."""

    def __init__(self, store: Store, objects: Objects, isolation: Isolation) -> None:
        self.isolation = isolation
        self._store, self._objects = store, objects
        objects.onlookers.append(self)
        self._put_bytes = 0
        self._reads: list[tuple[Place, int]] = []  # with the version that was seen; 0: nothing
        self._write_bytes = 0
        self._own: dict[Place, Object | None] = {}
        self._before: dict[Place, Object | None] = {}  # what others have replaced since it began
        self._began_ns = objects.now_ns()

    def keep(self, place: Place, before: Object | None) -> None:
        """Another one is about to change an object."""
        self._before.setdefault(place, before)

    def end(self, is_done: bool) -> bool:
        """End; what a transaction has written is done if ``is_done``. False: nothing is, since another one has changed what it
        has read, and the task is to begin anew."""
        self._objects.onlookers.remove(self)
        if not is_done or not self._own:
            return True
        if any(_version(self._present(place)) != version for place, version in self._reads):
            return False
        self._objects.apply(self._own)
        return True

    def now_ns(self) -> int:
        return self._store.now_ns()

    def log(self, text: Bytes) -> None:
        self._store.log(text)

    def tenant(self) -> int:
        return self._store.tenant()

    def _now_ns(self) -> int:
        return self._objects.now_ns() if self.isolation < Isolation.READS else self._began_ns

    def _present(self, place: Place) -> Object | None:
        """What is there by now, as it will be for this task's end."""
        found = self._objects.find(place)
        return found.at(self._objects.now_ns()) if found is not None else None

    def _look_up(self, place: Place) -> Object | None:
        if self.isolation < Isolation.READS:
            return self._present(place)
        if place in self._own:
            return self._own[place]
        found = self._before[place] if place in self._before else self._objects.find(place)
        found = found.at(self._began_ns) if found is not None else None
        if self.isolation == Isolation.WRITES:
            if len(self._reads) == TRANSACTION_READS_MAX:
                raise ExtensionFault(ExtensionError.TRANSACTION)
            self._reads.append((place, _version(found)))
        return found

    def _change(self, place: Place, value: bytes | None, expires: int = 0) -> None:
        if self.isolation < Isolation.READS:
            self._objects.apply({place: self._objects.new(value, expires)})
            return
        size = _WRITE_BYTES + -(-(len(place[1]) + len(value or b"")) // _WORD_BYTES) * _WORD_BYTES
        is_full = place not in self._own and len(self._own) == TRANSACTION_WRITES_MAX
        if is_full or self._write_bytes + size > TRANSACTION_BYTES_MAX:
            raise ExtensionFault(ExtensionError.TRANSACTION)
        self._write_bytes += size
        self._own[place] = self._objects.new(value, expires)

    def _count_put(self, place: Place, value_bytes: int) -> None:
        put_bytes = self._put_bytes + OBJECT_HEADER_BYTES + len(place[1]) + value_bytes
        if put_bytes > TASK_PUT_BYTES_MAX:
            raise ExtensionFault(ExtensionError.QUOTA)
        self._put_bytes = put_bytes


def _version(found: Object | None) -> int:
    return 0 if found is None else found.version
