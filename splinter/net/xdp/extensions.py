"""Programs of extensions beside the server's XDP program, which calls them by their place in a map (``bpf/extension.c``)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from splinter.errors import ServerError
from splinter.net import tier
from splinter.net.bpf import compile_c, link, load, maps

_UNBOUNDED = frozenset({"run", "copy", "clear", "equal", "crc32", "hash64"})  # functions with loops of many rounds
_NAME = "splinter_ext"
_BY_VERIFIER = "the kernel's verifier cannot follow it"


@dataclass(frozen=True)
class Loaded:
    """A program of an extension, or why there is none."""

    program_fd: int = -1
    identity: int = 0  # of its code; 0: there is none
    worker_reason: str = ""
    object_file: bytes = b""  # what it was made of

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
            return Loaded(load(code, _NAME), identity, object_file=object_file)
        except ServerError:
            return Loaded(worker_reason=_BY_VERIFIER)

    def place(self, slot: int, program: Loaded) -> None:
        """Put a program into a slot, in place of the one that was there; or none. Its code is kept for a later server."""
        if program.program_fd < 0:
            for name in ("kernel_extensions", "extension_code"):
                self._remove(name, slot)
            return
        maps.update(self._map_fds["kernel_extensions"], slot, program.program_fd.to_bytes(4, "little"))
        length = len(program.object_file).to_bytes(tier.CODE_LENGTH_BYTES, "little")
        try:
            maps.update(self._map_fds["extension_code"], slot, (length + program.object_file).ljust(tier.CODE_BYTES, b"\0"))
        except OSError:  # for want of memory: a later server has a worker run it
            self._remove("extension_code", slot)

    def withdraw(self) -> None:
        """Take all programs out of their slots. Their code stays."""
        for slot in maps.keys(self._map_fds["extension_code"]):
            self._remove("kernel_extensions", slot)

    def reload(self, slot: int, identity: int) -> Loaded:
        """Load the program of the code that was kept of a slot, if there is any."""
        try:
            kept = maps.lookup(self._map_fds["extension_code"], slot, tier.CODE_BYTES)
        except FileNotFoundError:
            return NOT_LOADED
        length = int.from_bytes(kept[: tier.CODE_LENGTH_BYTES], "little")
        return self.load(kept[tier.CODE_LENGTH_BYTES :][:length], identity)

    def _remove(self, name: str, slot: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            maps.delete(self._map_fds[name], slot)

    def invocations(self, slot: int) -> int:
        """How many have ended in the kernel."""
        return sum(self._cells.unpack(maps.lookup(self._map_fds["extension_counts"], slot, self._cells.size)))

    def clear(self, slot: int) -> None:
        """Begin counting anew."""
        maps.update(self._map_fds["extension_counts"], slot, bytes(self._cells.size))
