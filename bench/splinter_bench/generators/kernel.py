"""The programs of a load generator that works inside the kernel."""

from __future__ import annotations

import ctypes
import mmap
import signal
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from splinter.net.bpf import Kind, MapForm, maps
from splinter.net.bpf.syscall import Command, bpf
from splinter.net.xdp.program import Program

REQUEST = np.dtype([("number", "<u8"), ("tenant", "<u8"), ("token", "<u8")])  # struct request of bpf/generate.c
_PROGRESS = np.dtype(  # struct progress
    [("made", "<u8"), ("gap_ns", "<u8"), ("next_ns", "<u8"), ("first_ns", "<u8"), ("last_ns", "<u8"), ("sum", "<u8")]
)
_NUMBERS = {"CLIENT_AT": 8, "TENANT_AT": 4, "TOKEN_AT": 8, "SEQUENCE_AT": 8, "KEY_AT": 8, "VALUE_AT": 8}  # bytes
_ADDRESSES_BYTES, _UDP_BYTES, _CHECKSUM_AT = 8, 8, 6
_PROTOCOL_UDP = 17
_STATUSES = 256
_RUNS_MAX = (1 << 31) - 1  # of the program in one call
_XDP_MD = struct.Struct("<6I")  # data, data_end, data_meta, ingress device, RX queue, egress device
_TEST_LIVE_FRAMES = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES
_LIVE_BATCH = 64  # packets that go through the program before they go to the device
_ALARM_AGAIN_SECONDS = 0.01  # should the first signal come before the call


class MadeProgram(Program):
    """A program with ``bpf/made.h``: it makes frames of ``frame``, whose first ``headers_bytes`` are Ethernet, IP and UDP,
    writes numbers into them at ``places``, and sends them out of the device. ``defines``, ``forms`` and ``given`` as of
    :class:`Program`, beyond those of the header.
    """

    def __init__(
        self, ifname: str, source: str, function: str, frame: bytes, headers_bytes: int, places: Mapping[str, int],
        defines: Mapping[str, object], forms: Mapping[str, MapForm], given: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        progress_bytes = _PROGRESS.itemsize + -(-len(frame) // 8) * 8
        defines = {"MADE_BYTES": len(frame), "HEADERS_BYTES": headers_bytes, **defines}
        super().__init__(ifname, source, function, defines, {"progress": MapForm.shared(progress_bytes, 1), **forms}, given)
        self._frame = frame
        memory = mmap.mmap(self.map_fd("progress"), progress_bytes)
        self._progress = np.frombuffer(memory, _PROGRESS, 1)
        memory[_PROGRESS.itemsize : _PROGRESS.itemsize + len(frame)] = frame
        self._progress["sum"] = _sum_without_numbers(frame, headers_bytes, places)

    @property
    def made(self) -> int:
        """How many frames were made."""
        return int(self._progress["made"][0])

    @property
    def sending(self) -> tuple[int, int]:
        """When the last run's first and last frame were made, in ns of the monotonic clock, 0: none. Setting up is before."""
        return int(self._progress["first_ns"][0]), int(self._progress["last_ns"][0])

    def send(self, seconds: float, gap_ns: int = 0) -> None:
        """Make and send frames on the calling CPU for so long, one each ``gap_ns``; 0: as many as can be sent.

        Called by the main thread: an alarm signal ends it. (Setting up takes the kernel some 20 ms, hence one call for all.)
        """
        before = signal.signal(signal.SIGALRM, lambda number, frame: None)
        self._progress["gap_ns"] = gap_ns
        self._progress["first_ns"] = self._progress["last_ns"] = 0
        signal.setitimer(signal.ITIMER_REAL, seconds, _ALARM_AGAIN_SECONDS)
        try:
            _run_live(self.program_fd, self._frame, self.ifindex, _RUNS_MAX)
        except InterruptedError:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


class GeneratorProgram(MadeProgram):
    """``bpf/generate.c``: writes the numbers of a schedule into the frames that it is fed, and sends them out of the device.

    ``places``: offsets in the frame of ``TENANT_AT``, ``TOKEN_AT``, ``SEQUENCE_AT``, ``KEY_AT`` and ``VALUE_AT``; 0: not
    written. Each frame is made anew, as whoever had it before wrote into it. ``headers_bytes``: of Ethernet, IP and UDP.
    ``schedule``: ``REQUEST[n]``, n a power of two.
    """

    def __init__(self, ifname: str, frame: bytes, headers_bytes: int, places: Mapping[str, int], schedule: np.ndarray) -> None:
        forms = {"schedule": MapForm.shared(REQUEST.itemsize, len(schedule))}
        defines = {"ENTRIES": len(schedule), **places}
        super().__init__(ifname, "generate.c", "generate", frame, headers_bytes, places, defines, forms)
        memory = mmap.mmap(self.map_fd("schedule"), schedule.nbytes)
        np.frombuffer(memory, REQUEST, len(schedule))[:] = schedule


def _run_live(program_fd: int, packet: bytes, ifindex: int, count: int) -> None:
    """Run an XDP program ``count`` times over copies of a packet, and do with each what it returns (Linux 5.18).

    As if they had come in by the device; ``TX`` sends them out of it. The copies are used again without being made anew: the
    program finds what it, and whoever had the packet, wrote. See https://docs.kernel.org/bpf/bpf_prog_run.html.
    """
    data_in = ctypes.create_string_buffer(packet, len(packet))
    context = _XDP_MD.pack(0, len(packet), 0, ifindex, 0, 0)
    context_in = ctypes.create_string_buffer(context, len(context))
    head = struct.pack(
        "<4I2Q4I2Q3I",
        program_fd, 0, len(packet), 0, ctypes.addressof(data_in), 0,
        count, 0, len(context), 0, ctypes.addressof(context_in), 0,
        _TEST_LIVE_FRAMES, 0, _LIVE_BATCH,
    )  # fmt: skip
    bpf(Command.PROG_TEST_RUN, head)


def _sum_without_numbers(frame: bytes, headers_bytes: int, places: Mapping[str, int]) -> int:
    """The sum (RFC 1071) of a frame's UDP datagram and pseudo header, with 0 for its checksum and the numbers at ``places``."""
    blank = bytearray(frame)
    udp_at = headers_bytes - _UDP_BYTES
    for name, at in places.items():
        if at:
            blank[at : at + _NUMBERS[name]] = bytes(_NUMBERS[name])
    blank[udp_at + _CHECKSUM_AT : headers_bytes] = bytes(2)
    pseudo = blank[udp_at - _ADDRESSES_BYTES : udp_at] + struct.pack("!HH", _PROTOCOL_UDP, len(frame) - udp_at)
    summed = pseudo + blank[udp_at:] + bytes(len(frame) % 2)
    return sum(struct.unpack(f"<{len(summed) // 2}H", summed))


@dataclass(frozen=True)
class ReplyForm:
    """What :class:`CountProgram` knows a reply by: 4 bytes ``mark`` at ``mark_at`` of the UDP payload.

    ``status_at``: offset of its status; 0: it has none, which counts as status 0. ``reply_bytes``: length of a reply of status
    0; one of another length is none; 0: any.
    """

    mark: bytes
    mark_at: int = 0
    status_at: int = 0
    reply_bytes: int = 0

    def defines(self) -> dict[str, object]:
        """For the compiler."""
        mark = f"{int.from_bytes(self.mark, 'little'):#x}u"
        return {"MARK": mark, "MARK_AT": self.mark_at, "STATUS_AT": self.status_at, "REPLY_BYTES": self.reply_bytes}


class CountProgram(Program):
    """``bpf/count.c``: counts replies from UDP port ``port`` by status and drops them."""

    def __init__(self, ifname: str, port: int, form: ReplyForm) -> None:
        forms = {"replies": MapForm(Kind.PERCPU_ARRAY, 8, _STATUSES + 1)}
        super().__init__(ifname, "count.c", "count", {"PORT": port, **form.defines()}, forms)
        self._cells = struct.Struct(f"<{maps.possible_cpus()}Q")

    def counts(self) -> dict[int, int]:
        """How many replies had each status, of those that any had; under -1, how many packets were no replies."""
        fd = self.map_fd("replies")
        found = {status: sum(self._cells.unpack(maps.lookup(fd, status, self._cells.size))) for status in range(_STATUSES + 1)}
        return {-1 if status == _STATUSES else status: count for status, count in found.items() if count}
