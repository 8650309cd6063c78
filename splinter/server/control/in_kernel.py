"""What of the installed extensions runs in the kernel: programs, and whether records let the XDP program call them.

Programs belong to one server: they steer what they leave to a worker to its sockets. So a control process that finds extensions
of a server before it has their programs called by nobody, and loads them anew, from the code that the kernel has kept.

What an extension takes of the kernel's memory is charged to its tenant:

============================================= ==============================================================================
its code in the kernel                        is charged
============================================= ==============================================================================
placed, and what a record says is placed      the code that is kept for a later server, and the program
in quarantine: the program is unloaded        the code that is kept, from which a release loads the program again
refused at a later load, or there is no room  nothing: the code is not kept any more, and the record says why a worker runs it
============================================= ==============================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Protocol

from splinter import limits
from splinter.errors import QuotaExceededError, RequestError
from splinter.ext import record
from splinter.ext.compile import CompiledExtension
from splinter.ext.front.diagnostics import Findings
from splinter.ext.kernel.code import refuse_place
from splinter.net.xdp.extensions import KEPT_BYTES, NOT_LOADED, ExtensionPrograms, Loaded
from splinter.store.store import Store

_log = logging.getLogger(__name__)
NO_MEMORY = "the kernel had no memory for its code: install it again"


class Charge(Protocol):
    """Charges a tenant for all that it has installed. Unless that is ``forced`` it raises :class:`QuotaExceededError`."""

    def __call__(self, tenant: int, *, forced: bool = True) -> None: ...


@dataclass
class _Placed:
    tenant: int
    name: str
    identity: int  # of its code
    program_bytes: int  # that its program takes; before it is loaded again, what it took
    is_used: bool  # what its record says
    is_loaded: bool


def quota_reason(nbytes: int, quota_bytes: int) -> str:
    """Why an extension is in the worker that the kernel would run, in its author's terms."""
    return f"in the kernel it takes {nbytes:,} bytes, which do not fit into the tenant's quota of {quota_bytes:,} bytes"


def bytes_of(program: Loaded) -> int:
    """What a program takes of the kernel's memory when it is placed, and its code."""
    return KEPT_BYTES + program.program_bytes if program.identity else 0


class InKernel:
    """By the slots of extensions' counters, which are their places in the map of programs, too."""

    def __init__(self, store: Store, programs: ExtensionPrograms | None, charge: Charge) -> None:
        self._store, self.programs, self._charge = store, programs, charge
        self._placed: dict[int, _Placed] = {}
        self._refused: dict[int, str] = {}  # why a worker runs what a record of this process says the kernel has

    @property
    def used_slots(self) -> list[int]:
        """Of what records let the kernel run."""
        return [slot for slot, placed in self._placed.items() if placed.is_used]

    def taken_bytes(self, slot: int) -> int:
        """What the extension of a slot takes of the kernel's memory."""
        placed = self._placed.get(slot)
        if placed is None:
            return 0
        return KEPT_BYTES + (placed.program_bytes if placed.is_used else 0)

    def obstacle(self, slot: int) -> str | None:
        """Why the kernel does not run an extension that it has code of; None: it does."""
        placed = self._placed.get(slot)
        if self.programs is None or placed is None:
            return self._refused.get(slot, "")
        if not placed.is_used:
            return "it is in quarantine"
        return (
            None
            if placed.is_loaded
            else "the kernel has its program not yet, or no more: it was installed by an earlier server"
        )

    def put(self, slot: int, tenant: int, name: str, program: Loaded) -> None:
        """Put the program of an extension that was published, or none, in the place of the one that its slot had.

        Until then an extension's record names an identity that the slot does not have, and a worker runs it.
        """
        self._placed.pop(slot, None)
        self._refused.pop(slot, None)
        if self.programs is None:
            return
        is_placed = self.programs.place(slot, program)
        if program.identity:
            placed = _Placed(tenant, name, program.identity, program.program_bytes, is_used=True, is_loaded=is_placed)
            self._placed[slot] = placed
            if not is_placed:
                self._give_up(slot, placed, NO_MEMORY)

    def note_earlier(self, slot: int, tenant: int, name: str, found: record.InstalledExtension) -> None:
        """Note what a record says that was there when this process began."""
        if found.kernel:
            self._placed[slot] = _Placed(tenant, name, found.kernel, found.program_bytes, found.is_kernel_used, is_loaded=False)

    async def reload(self) -> None:
        """Load the programs of what was installed by an earlier process. What no record names any more is not kept."""
        if self.programs is None:
            return
        self.programs.withdraw()
        self.programs.keep_only(self._placed.keys())
        for slot, placed in list(self._placed.items()):
            if not placed.is_loaded and placed.is_used:
                await self._load(slot, placed, forced=True)

    async def release(self, slot: int) -> None:
        """Have the kernel run an extension again that was withdrawn, where its tenant's quota allows that."""
        placed = self._placed.get(slot)
        if placed is not None and not placed.is_used and self.programs is not None:
            await self._load(slot, placed, forced=False)

    def withdraw(self, slot: int) -> None:
        """Leave an extension that the kernel has to the worker, and unload its program. Raises as :meth:`Store.put`."""
        placed = self._placed.get(slot)
        if placed is None or not placed.is_used:
            return
        self._write(placed, is_used=False)
        placed.is_used = placed.is_loaded = False
        if self.programs is not None:
            self.programs.withdraw([slot])
        self._charge(placed.tenant)

    async def _load(self, slot: int, placed: _Placed, *, forced: bool) -> None:
        """Load the program of what was placed before; where the kernel refuses it, or the quota does and the charge is not
        ``forced``, give it up."""
        assert self.programs is not None
        before = placed.is_used, placed.program_bytes
        # In a thread: the verifier takes milliseconds.
        with contextlib.closing(await asyncio.to_thread(self.programs.reload, slot, placed.identity)) as loaded:
            if self._placed.get(slot) is not placed or placed.is_loaded or placed.is_used != before[0]:
                return  # something was installed in its place meanwhile, or it was withdrawn
            if not loaded.identity:
                return self._give_up(slot, placed, loaded.worker_reason)
            placed.is_used, placed.program_bytes = True, loaded.program_bytes
            try:
                self._charge(placed.tenant, forced=forced)
                if before != (placed.is_used, placed.program_bytes):
                    self._write(placed, is_used=True)
            except QuotaExceededError:
                quota_bytes = int(self._store.accounts["quota_bytes"][placed.tenant])
                return self._give_up(slot, placed, quota_reason(bytes_of(loaded), quota_bytes))
            except RequestError as error:
                placed.is_used, placed.program_bytes = before
                self._charge(placed.tenant)
                if not forced:
                    raise
                _log.warning("the kernel's program of %r of tenant %d is not used: %s", placed.name, placed.tenant, error)
                return
            if not self.programs.place(slot, loaded):
                return self._give_up(slot, placed, NO_MEMORY)
            placed.is_loaded = True

    def _give_up(self, slot: int, placed: _Placed, reason: str) -> None:
        """Leave an extension to the worker for good: nothing of it stays in the kernel."""
        assert self.programs is not None
        del self._placed[slot]
        self._refused[slot] = reason
        self.programs.place(slot, NOT_LOADED)
        try:
            stored = self._store.get(placed.tenant, limits.TABLE_EXTENSIONS, placed.name.encode())
            if stored is not None:
                value = record.without_kernel(stored, reason)
                self._store.put(placed.tenant, limits.TABLE_EXTENSIONS, placed.name.encode(), value)
        except RequestError as error:  # the record names what nobody has: a worker runs it, and the next process tries again
            _log.warning("the record of %r of tenant %d still names the kernel: %s", placed.name, placed.tenant, error)
        self._charge(placed.tenant)

    def _write(self, placed: _Placed, *, is_used: bool) -> None:
        """Have an extension's record say whether the kernel runs it. Raises as :meth:`Store.put`."""
        stored = self._store.get(placed.tenant, limits.TABLE_EXTENSIONS, placed.name.encode())
        if stored is not None:
            value = record.with_kernel(stored, is_used, placed.program_bytes)
            self._store.put(placed.tenant, limits.TABLE_EXTENSIONS, placed.name.encode(), value)

    def remove(self, slot: int) -> None:
        """Take away what the kernel has of an extension whose record is gone."""
        self._refused.pop(slot, None)
        if self._placed.pop(slot, None) and self.programs is not None:
            self.programs.place(slot, NOT_LOADED)

    def invocations(self, slot: int) -> int:
        """How many the kernel ended by itself since the slot was given out."""
        return self.programs.invocations(slot) if self.programs is not None else 0

    def clear(self, slot: int) -> None:
        """Begin counting anew."""
        if self.programs is not None:
            self.programs.clear(slot)


async def load_program(programs: ExtensionPrograms | None, compiled: CompiledExtension, source: str) -> Loaded:
    """Load an extension's program into the kernel, where there is one. Raises :class:`CompileError` where its author
    insists on a place there that it cannot have."""
    code = compiled.kernel
    if programs is None:
        loaded = Loaded(worker_reason="this server has no tier in the kernel" if code.is_required else "")
    elif code.object_file:
        # In a thread: the verifier takes milliseconds, of hostile code up to a second.
        loaded = await asyncio.to_thread(programs.load, code.object_file, code.identity)
    else:
        loaded = Loaded(worker_reason=code.text)
    if code.is_required and not loaded.identity:
        refuse_place(Findings(source), replace(code, reason=loaded.worker_reason, line=0), 1)
    return loaded
