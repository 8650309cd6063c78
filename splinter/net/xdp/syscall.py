"""The ``bpf`` system call, as far as bcc 0.26 does not wrap it: links, raw map access.

See ``man 2 bpf`` and ``union bpf_attr`` in ``linux/bpf.h``. Every function raises ``OSError`` with the kernel's reason.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from pathlib import Path
from typing import NamedTuple

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}  # of bpf(2)

_MAP_CREATE = 0
_MAP_LOOKUP_ELEM = 1
_MAP_UPDATE_ELEM = 2
_MAP_DELETE_ELEM = 3
_PROG_LOAD = 5
PROG_TEST_RUN = 10
_PROG_GET_FD_BY_ID = 13
_OBJ_GET_INFO_BY_FD = 15
_LINK_CREATE = 28
_LINK_DETACH = 34

_ATTACH_TYPE_XDP = 37
_PROG_TYPE_XDP = 6
_PROG_HAS_FRAGS = 1 << 5  # BPF_F_XDP_HAS_FRAGS (Linux 5.18): packets of several pages may come
_INSTRUCTION_BYTES = 8
_ATTRIBUTE_BYTES = 128  # zeroes behind what the kernel knows are allowed

MAP_TYPE_ARRAY = 2
MAP_FLAG_MMAPABLE = 1 << 10

LINK_NATIVE = 1 << 2  # XDP_FLAGS_DRV_MODE
LINK_GENERIC = 1 << 1  # XDP_FLAGS_SKB_MODE

# struct bpf_prog_info: bytes of instructions, name; what stands between is not asked for
_INFO = struct.Struct("<20xI40x16s")

_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Make the call; returns what it does, and the attributes as the kernel left them."""
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    result = _libc.syscall(ctypes.c_long(NUMBERS[platform.machine()]), command, buffer, len(buffer))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result), buffer.raw


def create_array(value_bytes: int, entries: int, flags: int = 0) -> int:
    """Make an array map; returns its file descriptor."""
    return bpf(_MAP_CREATE, struct.pack("<5I", MAP_TYPE_ARRAY, 4, value_bytes, entries, flags))[0]


def link_xdp(program_fd: int, ifindex: int, flags: int) -> int:
    """Attach a program to a device while any process has the file descriptor that this returns, the link, open."""
    return bpf(_LINK_CREATE, struct.pack("<4I", program_fd, ifindex, _ATTACH_TYPE_XDP, flags))[0]


def detach_link(link_fd: int) -> None:
    """Detach a link now, whoever else has it open."""
    bpf(_LINK_DETACH, struct.pack("<I", link_fd))


def update(map_fd: int, key: int | bytes, value: bytes) -> None:
    """Set an element of a map; a key that is a number has 32 bits."""
    key_buffer, value_buffer = _key(key), ctypes.create_string_buffer(value, len(value))
    bpf(_MAP_UPDATE_ELEM, _element(map_fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)))


def delete(map_fd: int, key: int | bytes) -> None:
    """Remove an element of a map; a key that is a number has 32 bits."""
    key_buffer = _key(key)
    bpf(_MAP_DELETE_ELEM, _element(map_fd, ctypes.addressof(key_buffer), 0))


def lookup(map_fd: int, key: int, value_bytes: int) -> bytes:
    """Read an element of a map whose keys are 32 bits."""
    key_buffer, value_buffer = ctypes.c_uint32(key), ctypes.create_string_buffer(value_bytes)
    bpf(_MAP_LOOKUP_ELEM, _element(map_fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)))
    return value_buffer.raw


class ProgramInfo(NamedTuple):
    """What the kernel tells of a program."""

    name: bytes
    bytes: int
    """Of its instructions, as they were verified; 0 to those who may not see them."""


def load_xdp(instructions: bytes, name: bytes) -> int:
    """Load a program that looks at no packet; returns its descriptor."""
    code, licence = ctypes.create_string_buffer(instructions, len(instructions)), ctypes.create_string_buffer(b"GPL")

    def load(flags: int) -> int:
        head = struct.pack(
            "<2I2Q2IQ2I16s",
            _PROG_TYPE_XDP, len(instructions) // _INSTRUCTION_BYTES, ctypes.addressof(code), ctypes.addressof(licence),
            0, 0, 0, 0, flags, name,
        )  # fmt: skip
        return bpf(_PROG_LOAD, head)[0]

    try:
        return load(_PROG_HAS_FRAGS)
    except OSError as error:
        if error.errno != errno.EINVAL:  # an older kernel
            raise
        return load(0)


def open_program(number: int) -> int:
    """A descriptor of the program that the kernel knows under a number."""
    return bpf(_PROG_GET_FD_BY_ID, struct.pack("<I", number))[0]


def program_info(program_fd: int) -> ProgramInfo:
    """What a program is (``struct bpf_prog_info``)."""
    found = ctypes.create_string_buffer(_INFO.size)
    bpf(_OBJ_GET_INFO_BY_FD, struct.pack("<2IQ", program_fd, _INFO.size, ctypes.addressof(found)))
    translated, name = _INFO.unpack(found.raw)
    return ProgramInfo(name.rstrip(b"\0"), translated)


def program_number(program_fd: int) -> int:
    """The number under which the kernel knows a program, as it stands in a device's link."""
    for line in Path(f"/proc/self/fdinfo/{program_fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "prog_id":
            return int(value)
    return 0


def _key(key: int | bytes) -> ctypes.Array[ctypes.c_char]:
    content = key.to_bytes(4, "little") if isinstance(key, int) else key
    return ctypes.create_string_buffer(content, len(content))


def _element(map_fd: int, key_address: int, value_address: int) -> bytes:
    return struct.pack("<IIQQQ", map_fd, 0, key_address, value_address, 0)


def possible_cpus() -> int:
    """How many cells an element of a per-CPU map has."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.replace(",", "-").rsplit("-", 1)[-1]) + 1
