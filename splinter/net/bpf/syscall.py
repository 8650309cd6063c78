"""The ``bpf`` system call: commands, and the links that keep an XDP program on a device.

See ``man 2 bpf`` and ``union bpf_attr`` in ``linux/bpf.h``. Every function raises ``OSError`` with the kernel's reason.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import platform
import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}  # of bpf(2)


class Command(IntEnum):
    """What the call is to do."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    OBJ_GET = 7
    PROG_TEST_RUN = 10
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    BTF_LOAD = 18
    LINK_CREATE = 28
    LINK_UPDATE = 29
    LINK_DETACH = 34


ATTACH_TYPE_XDP = 37
LINK_NATIVE = 1 << 2  # XDP_FLAGS_DRV_MODE
LINK_GENERIC = 1 << 1  # XDP_FLAGS_SKB_MODE
NAME_BYTES_MAX = 15  # of a map's or program's name
_ATTRIBUTE_BYTES = 160  # zeroes behind what the kernel knows are allowed

# struct bpf_prog_info: bytes of machine code and of instructions, name, functions; what stands between is not asked for
_INFO = struct.Struct("<16x2I40x16s24xI4x")

_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: Command, attributes: bytes) -> tuple[int, bytes]:
    """Make the call; returns what it does, and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    result = _libc.syscall(ctypes.c_long(NUMBERS[platform.machine()]), command, buffer, len(buffer))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result), buffer.raw


def link_xdp(program_fd: int, ifindex: int, flags: int) -> int:
    """Attach a program to a device while any process has the file descriptor that this returns, the link, open."""
    return bpf(Command.LINK_CREATE, struct.pack("<4I", program_fd, ifindex, ATTACH_TYPE_XDP, flags))[0]


def update_link(link_fd: int, program_fd: int) -> None:
    """Put a program in the place of the one that a link has attached, between two packets."""
    bpf(Command.LINK_UPDATE, struct.pack("<4I", link_fd, program_fd, 0, 0))


def detach_link(link_fd: int) -> None:
    """Detach a link now, whoever else has it open."""
    bpf(Command.LINK_DETACH, struct.pack("<I", link_fd))


def program_number(fd: int) -> int:
    """The number under which the kernel knows a program, or that of a link, as it stands in a device's link; 0: none."""
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "prog_id":
            return int(value)
    return 0


class ProgramInfo(NamedTuple):
    """What the kernel tells of a program."""

    name: bytes
    bytes: int
    """Of its instructions, as they were verified; 0 to those who may not see them."""
    machine_bytes: int
    """Of the machine code of all its functions; 0 where there is none, and to those who may not see it."""
    functions: int

    @property
    def memory_bytes(self) -> int:
        """What it takes of the kernel's memory, a little too much rather than too little.

        The kernel keeps the instructions twice, as a whole and by functions, each in pages of its own, and the machine code.
        The ``memlock`` of ``/proc/PID/fdinfo`` has the first of the three only, a fifth of what an extension takes.
        """
        return 2 * self.bytes + self.machine_bytes + (self.functions + 1) * mmap.PAGESIZE


def open_program(number: int) -> int:
    """A descriptor of the program that the kernel knows under a number."""
    return bpf(Command.PROG_GET_FD_BY_ID, struct.pack("<I", number))[0]


def program_info(program_fd: int) -> ProgramInfo:
    """What a program is (``struct bpf_prog_info``)."""
    found = ctypes.create_string_buffer(_INFO.size)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("<2IQ", program_fd, _INFO.size, ctypes.addressof(found)))
    machine, translated, name, functions = _INFO.unpack(found.raw)
    return ProgramInfo(name.rstrip(b"\0"), translated, machine, functions)


@contextlib.contextmanager
def closed(descriptor: int) -> Iterator[int]:
    """Close a descriptor behind the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)
