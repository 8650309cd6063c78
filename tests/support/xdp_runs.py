"""Runs of XDP programs without an interface, and the memory of their maps. See ``man 2 bpf`` and ``linux/bpf.h``."""

from __future__ import annotations

import ctypes
import mmap
import struct
from enum import IntEnum

from splinter.net.bpf.syscall import Command, bpf
from splinter.net.xdp import XdpProgram
from splinter.net.xdp.program import Program

_XDP_MD = struct.Struct("<6I")  # data, data_end, data_meta, ingress device, RX queue, egress device
_TEST_OUT_BYTES = 4096


class Action(IntEnum):
    """What an XDP program returns."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


def run_once(program: Program, packet: bytes, queue: int = 0) -> tuple[Action, bytes]:
    """Run an XDP program once over a packet (at least 14 bytes) as if it had come in by a queue of its device.

    Nothing is received or sent, but counters count. Returns what the program returned, and the packet as it left it.
    """
    action, data = run_program(program.program_fd, packet, program.ifindex, queue)
    return Action(action), data


def run_program(program_fd: int, packet: bytes, ifindex: int, queue: int = 0) -> tuple[int, bytes]:
    """As :func:`run_once`, for any program: returns what it returned as a number, and the packet."""
    data_in = ctypes.create_string_buffer(packet, len(packet))
    data_out = ctypes.create_string_buffer(_TEST_OUT_BYTES)
    context = _XDP_MD.pack(0, len(packet), 0, ifindex, queue, 0)
    context_in = ctypes.create_string_buffer(context, len(context))
    head = struct.pack(
        "<4I2Q4I2Q",
        program_fd, 0, len(packet), len(data_out), ctypes.addressof(data_in), ctypes.addressof(data_out),
        1, 0, len(context), 0, ctypes.addressof(context_in), 0,
    )  # fmt: skip
    answer = bpf(Command.PROG_TEST_RUN, head)[1]
    _, action, _, out_bytes = struct.unpack_from("<4I", answer)
    return action, data_out.raw[:out_bytes]


def map_memory(program: XdpProgram, name: str) -> mmap.mmap:
    """The memory of a map that can be mapped, shared with the kernel."""
    return mmap.mmap(program.map_fd(name), program.map_bytes(name))
