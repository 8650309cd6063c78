"""What of the installed extensions runs in the kernel: programs, and whether records let the XDP program call them.

Programs belong to one server: they steer what they leave to a worker to its sockets. So a control process that finds extensions
of a server before it has their programs called by nobody, and loads them anew, from the code that the kernel has kept.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from splinter import limits
from splinter.ext import record
from splinter.net.xdp.extensions import NOT_LOADED, ExtensionPrograms, Loaded
from splinter.store.store import Store


@dataclass
class _Placed:
    tenant: int
    name: str
    identity: int  # of its code
    is_used: bool  # what its record says
    is_loaded: bool


class InKernel:
    """By the slots of extensions' counters, which are their places in the map of programs, too."""

    def __init__(self, store: Store, programs: ExtensionPrograms | None) -> None:
        self._store, self.programs = store, programs
        self._placed: dict[int, _Placed] = {}

    @property
    def used_slots(self) -> list[int]:
        """Of what records let the kernel run."""
        return [slot for slot, placed in self._placed.items() if placed.is_used]

    def obstacle(self, slot: int) -> str | None:
        """Why the kernel does not run an extension that it has code of; None: it does."""
        placed = self._placed.get(slot)
        if self.programs is None or placed is None:
            return ""
        if not placed.is_used:
            return "it is in quarantine"
        return (
            None
            if placed.is_loaded
            else "the kernel has its program not yet, or no more: it was installed by an earlier server"
        )

    def put(self, slot: int, program: Loaded = NOT_LOADED) -> None:
        """Put a program, or none, in the place of the one that a slot had. Until a record names it nobody calls it."""
        if self.programs is not None:
            self.programs.place(slot, program)

    def note(self, slot: int, tenant: int, name: str, identity: int) -> None:
        """Note what was published: the ``identity`` of an extension's code, 0 for none."""
        self._placed.pop(slot, None)
        if identity:
            self._placed[slot] = _Placed(tenant, name, identity, is_used=True, is_loaded=True)

    def note_earlier(self, slot: int, tenant: int, name: str, found: record.InstalledExtension) -> None:
        """The same of a record that was there when this process began."""
        if found.kernel:
            self._placed[slot] = _Placed(tenant, name, found.kernel, found.is_kernel_used, is_loaded=False)

    async def reload(self) -> None:
        """Load the programs of what was installed by an earlier process."""
        if self.programs is None:
            return
        self.programs.withdraw()
        for slot, placed in list(self._placed.items()):
            if placed.is_loaded:
                continue
            loaded = await asyncio.to_thread(self.programs.reload, slot, placed.identity)
            if self._placed.get(slot) is placed and loaded.identity:  # nothing was installed in its place meanwhile
                self.programs.place(slot, loaded)
                placed.is_loaded = True
            loaded.close()

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
