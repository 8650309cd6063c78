"""Programs of extensions beside the server's XDP program, which calls them by their place in a map (``bpf/extension.c``)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from splinter.errors import ServerError
from splinter.net.bpf import compile_c, link, load, maps, syscall
from splinter.net.tier import EXTENSION_CODE

_UNBOUNDED = frozenset({"run", "copy", "clear", "equal", "crc32", "hash64"})  # functions with loops of many rounds
_NAME = "splinter_ext"
_BY_VERIFIER = "the kernel's verifier cannot follow it"
_NOT_KEPT = "its code for the kernel was not kept: install it again"

KEPT_BYTES = EXTENSION_CODE.itemsize
"""What the code of a program takes that is kept for a later server, however short it is."""


@dataclass(frozen=True)
class Loaded:
    """A program of an extension, or why there is none."""

    program_fd: int = -1
    identity: int = 0  # of its code; 0: there is none
    worker_reason: str = ""
    object_file: bytes = b""  # what it was made of
    program_bytes: int = 0  # what it takes of the kernel's memory while it is placed

    def close(self) -> None:
        """Close the descriptor: where the program was placed it stays."""
        if self.program_fd >= 0:
            os.close(self.program_fd)


NOT_LOADED = Loaded()


class ExtensionPrograms:
    """Makes programs, and puts them where the XDP program finds them. ``map_fds`` are that program's maps, by name."""

    def __init__(self, map_fds: Mapping[str, int], defines: Mapping[str, object]) -> None:
        """Raises :class:`TransportUnavailableError` when clang lacks, :class:`ServerError` where the kernel takes none."""
        self._map_fds = dict(map_fds)
        self._harness = compile_c("extension.c", defines)
        os.close(load(link(self._harness, "extension", self._map_fds, may_goto=_UNBOUNDED), _NAME))
        self._cells = struct.Struct(f"<{maps.possible_cpus()}Q")

    def load(self, object_file: bytes, identity: int) -> Loaded:
        """Load the program of an extension's code; where the kernel refuses it, that is the reason why there is none."""
        try:
            code = link(self._harness, "extension", self._map_fds, may_goto=_UNBOUNDED, replaced={"run": object_file})
            program_fd = load(code, _NAME)
        except ServerError:
            return Loaded(worker_reason=_BY_VERIFIER)
        return Loaded(program_fd, identity, "", object_file, syscall.program_info(program_fd).memory_bytes)

    def place(self, slot: int, program: Loaded) -> bool:
        """Put a program into a slot, in place of the one that was there; or none. Its code is kept for a later server.

        The code comes first and goes last, so that :meth:`withdraw` finds every program. Returns False for want of memory: then
        the slot has neither.
        """
        kept = np.zeros(1, EXTENSION_CODE)
        kept["identity"], kept["length"] = program.identity, len(program.object_file)
        kept["object_file"] = np.void(program.object_file.ljust(EXTENSION_CODE["object_file"].itemsize, b"\0"))
        try:
            if program.program_fd >= 0:
                maps.update(self._map_fds["extension_code"], slot, kept.tobytes())
                maps.update(self._map_fds["kernel_extensions"], slot, program.program_fd.to_bytes(4, "little"))
                return True
        except OSError:
            self._clear(slot)
            return False
        self._clear(slot)
        return True

    def withdraw(self, slots: Collection[int] | None = None) -> None:
        """Take programs out of their slots, by default all of them. Their code stays."""
        for slot in maps.keys(self._map_fds["extension_code"]) if slots is None else slots:
            self._remove("kernel_extensions", slot)

    def keep_only(self, slots: Collection[int]) -> None:
        """Empty all other slots: nobody is charged for what no record names."""
        for slot in set(maps.keys(self._map_fds["extension_code"])).difference(slots):
            self._clear(slot)

    def reload(self, slot: int, identity: int) -> Loaded:
        """Load the program of the code that was kept of a slot, if it is the code that has this identity."""
        try:
            kept = np.frombuffer(maps.lookup(self._map_fds["extension_code"], slot, KEPT_BYTES), EXTENSION_CODE)[0]
        except FileNotFoundError:
            return Loaded(worker_reason=_NOT_KEPT)
        if int(kept["identity"]) != identity:
            return Loaded(worker_reason=_NOT_KEPT)
        return self.load(kept["object_file"].tobytes()[: int(kept["length"])], identity)

    def _clear(self, slot: int) -> None:
        for name in ("kernel_extensions", "extension_code"):
            self._remove(name, slot)

    def _remove(self, name: str, slot: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            maps.delete(self._map_fds[name], slot)

    def invocations(self, slot: int) -> int:
        """How many have ended in the kernel."""
        return sum(self._cells.unpack(maps.lookup(self._map_fds["extension_counts"], slot, self._cells.size)))

    def clear(self, slot: int) -> None:
        """Begin counting anew."""
        maps.update(self._map_fds["extension_counts"], slot, bytes(self._cells.size))
