"""The objects of a store under CPython, and the tasks that look at them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Place = tuple[int, bytes]  # table and key
Object = tuple[bytes, int]  # value and version


class Onlooker(Protocol):
    """Who wants to see objects as they were."""

    def keep(self, place: Place, before: Object | None) -> None:
        """An object is about to change."""


class Objects:
    """Values and versions in dicts, which may be changed from outside while no task runs."""

    def __init__(self) -> None:
        self.values: dict[Place, bytes] = {}
        self.versions: dict[Place, int] = {}
        self.onlookers: list[Onlooker] = []
        self._last_version = 0

    def copy(self) -> Objects:
        """The same objects, in the same versions, with nobody who looks at them."""
        other = Objects()
        other.values, other.versions, other._last_version = dict(self.values), dict(self.versions), self._last_version
        return other

    def find(self, place: Place) -> Object | None:
        """Value and version of what is there now."""
        return (self.values[place], self.versions.get(place, 0)) if place in self.values else None

    def new(self, value: bytes | None) -> Object | None:
        """A value with a version that no object has had; None stays None."""
        if value is None:
            return None
        self._last_version += 1
        return value, self._last_version

    def apply(self, changes: Mapping[Place, Object | None]) -> None:
        """Replace objects, or with None delete them, at one instant."""
        for place, changed in changes.items():
            for onlooker in self.onlookers:
                onlooker.keep(place, self.find(place))
            if changed is not None:
                self.values[place], self.versions[place] = changed
            elif place in self.values:
                del self.values[place]
                self.versions.pop(place, None)
