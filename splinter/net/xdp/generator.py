"""The programs of a load generator that works inside the kernel."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from splinter.net.xdp import syscall
from splinter.net.xdp.program import Program, map_memory

REQUEST = np.dtype([("number", "<u8"), ("tenant", "<u8"), ("token", "<u8")])  # struct request of bpf/generate.c
_STATUSES = 256


class GeneratorProgram(Program):
    """``bpf/generate.c``: writes the numbers of a schedule into the frames that it is fed, and sends them out of the device.

    ``places``: offsets in the frame of ``TENANT_AT``, ``TOKEN_AT``, ``SEQUENCE_AT``, ``KEY_AT`` and ``VALUE_AT``; 0: not
    written. ``schedule``: ``REQUEST[n]``, n a power of two. It is never attached.
    """

    def __init__(self, ifname: str, frame: bytes, places: Mapping[str, int], schedule: np.ndarray) -> None:
        defines = {"FRAME_BYTES": len(frame), "ENTRIES": len(schedule), **places}
        super().__init__(ifname, "generate.c", "generate", defines, ["schedule", "made"])
        self._frame = frame
        memory = map_memory(self.map_fd("schedule"), schedule.nbytes)
        np.frombuffer(memory, REQUEST, len(schedule))[:] = schedule
        self._made = np.frombuffer(map_memory(self.map_fd("made"), struct.calcsize("<Q")), np.uint64, 1)

    @property
    def made(self) -> int:
        """How many frames were made."""
        return int(self._made[0])

    def send(self, count: int) -> None:
        """Make and send so many frames, on the calling CPU; returns when they are with the device."""
        syscall.run_live(self.program_fd, self._frame, self.ifindex, count)


class CountProgram(Program):
    """``bpf/count.c``: counts replies from UDP port ``port`` by status and drops them."""

    def __init__(self, ifname: str, port: int) -> None:
        super().__init__(ifname, "count.c", "count", {"PORT": port}, ["replies"])
        self._cells = struct.Struct(f"<{syscall.possible_cpus()}Q")

    def counts(self) -> dict[int, int]:
        """How many replies had each status, of those that any had; under -1, how many packets were no replies."""
        fd = self.map_fd("replies")
        found = {
            status: sum(self._cells.unpack(syscall.lookup(fd, status, self._cells.size))) for status in range(_STATUSES + 1)
        }
        return {-1 if status == _STATUSES else status: count for status, count in found.items() if count}
