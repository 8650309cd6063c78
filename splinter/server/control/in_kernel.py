"""What of the installed extensions runs in the kernel: programs, and whether records let the XDP program call them."""

from __future__ import annotations

from dataclasses import dataclass

from splinter import limits
from splinter.ext import record
from splinter.net.xdp.extensions import NOT_LOADED, ExtensionPrograms, Loaded
from splinter.store.store import Store


@dataclass
class _Placed:
    tenant: int
    name: str
    is_used: bool  # what its record says


class InKernel:
    """By the slots of extensions' counters, which are their places in the map of programs, too."""

    def __init__(self, store: Store, programs: ExtensionPrograms | None) -> None:
        self._store, self.programs = store, programs
        self._placed: dict[int, _Placed] = {}

    @property
    def used_slots(self) -> list[int]:
        """Of what the kernel runs."""
        return [slot for slot, placed in self._placed.items() if placed.is_used]

    def put(self, slot: int, program: Loaded = NOT_LOADED) -> None:
        """Put a program, or none, in the place of the one that a slot had. Until a record names it nobody calls it."""
        if self.programs is not None:
            self.programs.place(slot, program)

    def note(self, slot: int, tenant: int, name: str, identity: int, is_used: bool = True) -> None:
        """Note what the record of an extension says that was published: the ``identity`` of its code, 0 for none."""
        self._placed.pop(slot, None)
        if identity:
            self._placed[slot] = _Placed(tenant, name, is_used)

    def remove(self, slot: int) -> None:
        """Take the program of an extension away whose record is gone."""
        if self._placed.pop(slot, None):
            self.put(slot)

    def use(self, slot: int, is_used: bool) -> None:
        """Have the kernel run an extension that it has, or leave it to the worker. Raises as :meth:`Store.put`."""
        placed = self._placed.get(slot)
        if placed is None or placed.is_used == is_used:
            return
        stored = self._store.get(placed.tenant, limits.TABLE_EXTENSIONS, placed.name.encode())
        if stored is not None:
            value = record.with_kernel(stored, is_used)
            self._store.put(placed.tenant, limits.TABLE_EXTENSIONS, placed.name.encode(), value)
            placed.is_used = is_used

    def invocations(self, slot: int) -> int:
        """How many the kernel ended by itself since the slot was given out."""
        return self.programs.invocations(slot) if self.programs is not None else 0

    def clear(self, slot: int) -> None:
        """Begin counting anew."""
        if self.programs is not None:
            self.programs.clear(slot)
