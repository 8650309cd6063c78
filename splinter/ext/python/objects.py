"""The objects of a store under CPython, and the tasks that look at them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

Place = tuple[int, bytes]  # table and key


class Object(NamedTuple):
    """An object as it was published."""

    value: bytes
    version: int
    expires: int = 0  # when, by the store's clock in ns; 0: never

    def at(self, now: int) -> Object | None:
        """The object, if it is there at this moment."""
        return None if 0 < self.expires <= now else self


class Onlooker(Protocol):
    """Who wants to see objects as they were."""

    def keep(self, place: Place, before: Object | None) -> None:
        """An object is about to change."""


class Objects:
    """Values and versions in dicts, which may be changed from outside while no task runs."""

    def __init__(self) -> None:
        self.values: dict[Place, bytes] = {}
        self.versions: dict[Place, int] = {}
        self.expires: dict[Place, int] = {}  # of those that do
        self.ahead_ns = 0  # of the monotonic clock
        self.onlookers: list[Onlooker] = []
        self._last_version = 0

    def copy(self) -> Objects:
        """The same objects, in the same versions, at the same moment, with nobody who looks at them."""
        other = Objects()
        other.values, other.versions, other._last_version = dict(self.values), dict(self.versions), self._last_version
        other.expires, other.ahead_ns = dict(self.expires), self.ahead_ns
        return other

    def now_ns(self) -> int:
        """The clock by which objects expire."""
        return time.monotonic_ns() + self.ahead_ns

    def find(self, place: Place) -> Object | None:
        """What was published last, though it may be over."""
        if place not in self.values:
            return None
        return Object(self.values[place], self.versions.get(place, 0), self.expires.get(place, 0))

    def new(self, value: bytes | None, expires: int = 0) -> Object | None:
        """A value with a version that no object has had; None stays None."""
        if value is None:
            return None
        self._last_version += 1
        return Object(value, self._last_version, expires)

    def apply(self, changes: Mapping[Place, Object | None]) -> None:
        """Replace objects, or with None delete them, at one instant."""
        for place, changed in changes.items():
            for onlooker in self.onlookers:
                onlooker.keep(place, self.find(place))
            self._forget(place)
            if changed is not None:
                self.values[place], self.versions[place] = changed.value, changed.version
                if changed.expires:
                    self.expires[place] = changed.expires

    def sweep(self) -> None:
        """Take away what is over, while no task runs that may still see it."""
        now = self.now_ns()
        for place in [place for place, moment in self.expires.items() if moment <= now]:
            self._forget(place)

    def _forget(self, place: Place) -> None:
        self.values.pop(place, None)
        self.versions.pop(place, None)
        self.expires.pop(place, None)
