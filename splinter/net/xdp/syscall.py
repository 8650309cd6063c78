"""The ``bpf`` system call, as far as bcc 0.26 does not wrap it: links, test runs, raw map access.

See ``man 2 bpf`` and ``union bpf_attr`` in ``linux/bpf.h``. Every function raises ``OSError`` with the kernel's reason.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from enum import IntEnum
from pathlib import Path

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}  # of bpf(2)

_MAP_CREATE = 0
_MAP_LOOKUP_ELEM = 1
_MAP_UPDATE_ELEM = 2
_MAP_DELETE_ELEM = 3
_PROG_TEST_RUN = 10
_LINK_CREATE = 28
_LINK_DETACH = 34

_ATTACH_TYPE_XDP = 37
_ATTRIBUTE_BYTES = 128  # zeroes behind what the kernel knows are allowed

MAP_TYPE_ARRAY = 2
MAP_FLAG_MMAPABLE = 1 << 10

LINK_NATIVE = 1 << 2  # XDP_FLAGS_DRV_MODE
LINK_GENERIC = 1 << 1  # XDP_FLAGS_SKB_MODE

_XDP_MD = struct.Struct("<6I")  # data, data_end, data_meta, ingress device, RX queue, egress device
_TEST_OUT_BYTES = 4096
_TEST_LIVE_FRAMES = 1 << 1  # BPF_F_TEST_XDP_LIVE_FRAMES
_LIVE_BATCH = 64  # packets that go through the program before they go to the device

_libc = ctypes.CDLL(None, use_errno=True)


class Action(IntEnum):
    """What an XDP program returns."""

    ABORTED = 0
    DROP = 1
    PASS = 2
    TX = 3
    REDIRECT = 4


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTE_BYTES)
    result = _libc.syscall(ctypes.c_long(NUMBERS[platform.machine()]), command, buffer, len(buffer))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result), buffer.raw


def create_array(value_bytes: int, entries: int, flags: int = 0) -> int:
    """Make an array map; returns its file descriptor."""
    return _bpf(_MAP_CREATE, struct.pack("<5I", MAP_TYPE_ARRAY, 4, value_bytes, entries, flags))[0]


def link_xdp(program_fd: int, ifindex: int, flags: int) -> int:
    """Attach a program to a device while any process has the file descriptor that this returns, the link, open."""
    return _bpf(_LINK_CREATE, struct.pack("<4I", program_fd, ifindex, _ATTACH_TYPE_XDP, flags))[0]


def detach_link(link_fd: int) -> None:
    """Detach a link now, whoever else has it open."""
    _bpf(_LINK_DETACH, struct.pack("<I", link_fd))


def update(map_fd: int, key: int | bytes, value: bytes) -> None:
    """Set an element of a map; a key that is a number has 32 bits."""
    key_buffer, value_buffer = _key(key), ctypes.create_string_buffer(value, len(value))
    _bpf(_MAP_UPDATE_ELEM, _element(map_fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)))


def delete(map_fd: int, key: int | bytes) -> None:
    """Remove an element of a map; a key that is a number has 32 bits."""
    key_buffer = _key(key)
    _bpf(_MAP_DELETE_ELEM, _element(map_fd, ctypes.addressof(key_buffer), 0))


def lookup(map_fd: int, key: int, value_bytes: int) -> bytes:
    """Read an element of a map whose keys are 32 bits."""
    key_buffer, value_buffer = ctypes.c_uint32(key), ctypes.create_string_buffer(value_bytes)
    _bpf(_MAP_LOOKUP_ELEM, _element(map_fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)))
    return value_buffer.raw


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


def test_run(program_fd: int, packet: bytes, ifindex: int, queue: int) -> tuple[Action, bytes]:
    """Run an XDP program once over a packet (at least 14 bytes) as if it had come in by a queue of a device.

    Nothing is received or sent. Returns what the program returned, and the packet as it left it.
    """
    data_in = ctypes.create_string_buffer(packet, len(packet))
    data_out = ctypes.create_string_buffer(_TEST_OUT_BYTES)
    context = _XDP_MD.pack(0, len(packet), 0, ifindex, queue, 0)
    context_in = ctypes.create_string_buffer(context, len(context))
    head = struct.pack(
        "<4I2Q4I2Q",
        program_fd, 0, len(packet), len(data_out), ctypes.addressof(data_in), ctypes.addressof(data_out),
        1, 0, len(context), 0, ctypes.addressof(context_in), 0,
    )  # fmt: skip
    answer = _bpf(_PROG_TEST_RUN, head)[1]
    _, action, _, out_bytes = struct.unpack_from("<4I", answer)
    return Action(action), data_out.raw[:out_bytes]


def run_live(program_fd: int, packet: bytes, ifindex: int, count: int) -> None:
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
    _bpf(_PROG_TEST_RUN, head)


def possible_cpus() -> int:
    """How many cells an element of a per-CPU map has."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.replace(",", "-").rsplit("-", 1)[-1]) + 1
