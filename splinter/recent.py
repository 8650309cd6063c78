"""A map of the most recent things."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(OrderedDict[_Key, _Value], Generic[_Key, _Value]):
    """Forgets the oldest of more than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def note(self, key: _Key, value: _Value) -> None:
        """Add a value, or replace it; it is the most recent one now."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self._most:
            self.popitem(last=False)
