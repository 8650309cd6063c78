"""BPF maps: made, pinned, opened, read and written. Every function raises ``OSError`` with the kernel's reason."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from splinter.net.bpf.syscall import NAME_BYTES_MAX, Command, bpf

MMAPABLE = 1 << 10  # flag of an array whose memory user space can map


class Kind(IntEnum):
    """Kinds of maps that we use (``enum bpf_map_type``)."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_ARRAY = 6
    XSKMAP = 17


@dataclass(frozen=True)
class MapForm:
    """What a map is like. All but hashes have keys of 32 bits, 0 … ``entries - 1``."""

    kind: Kind
    value_bytes: int
    entries: int
    flags: int = 0
    key_bytes: int = 4

    @classmethod
    def shared(cls, value_bytes: int, entries: int) -> MapForm:
        """An array whose memory is mapped."""
        return cls(Kind.ARRAY, value_bytes, entries, MMAPABLE)

    @property
    def mapped_bytes(self) -> int:
        """Bytes of an array's memory: whole pages."""
        return -(-self.value_bytes * self.entries // mmap.PAGESIZE) * mmap.PAGESIZE

    def make(self, name: str) -> int:
        """Make the map; returns its descriptor."""
        return create(self.kind, self.key_bytes, self.value_bytes, self.entries, self.flags, name)


def create(kind: Kind, key_bytes: int, value_bytes: int, entries: int, flags: int = 0, name: str = "") -> int:
    """Make a map; returns its descriptor. ``name`` is for who lists the kernel's maps: its first 15 bytes are kept."""
    form = struct.pack("<7I16s", kind, key_bytes, value_bytes, entries, flags, 0, 0, name.encode()[:NAME_BYTES_MAX])
    return bpf(Command.MAP_CREATE, form)[0]


def pin(fd: int, path: Path) -> None:
    """Keep a map, program or link at a path of a mounted bpffs, whoever closes it."""
    text = ctypes.create_string_buffer(os.fsencode(path))
    bpf(Command.OBJ_PIN, struct.pack("<QI", ctypes.addressof(text), fd))


def open_pinned(path: Path) -> int:
    """Descriptor of what is pinned at a path."""
    text = ctypes.create_string_buffer(os.fsencode(path))
    return bpf(Command.OBJ_GET, struct.pack("<QI", ctypes.addressof(text), 0))[0]


def update(fd: int, key: int | bytes, value: bytes) -> None:
    """Set an element; a key that is a number has 32 bits."""
    key_buffer, value_buffer = _key(key), ctypes.create_string_buffer(value, len(value))
    bpf(Command.MAP_UPDATE_ELEM, _element(fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)))


def delete(fd: int, key: int | bytes) -> None:
    """Remove an element; a key that is a number has 32 bits."""
    key_buffer = _key(key)
    bpf(Command.MAP_DELETE_ELEM, _element(fd, ctypes.addressof(key_buffer), 0))


def lookup(fd: int, key: int | bytes, value_bytes: int) -> bytes:
    """Read an element; a key that is a number has 32 bits. A per-CPU map's has a cell for each CPU."""
    key_buffer, value_buffer = _key(key), ctypes.create_string_buffer(value_bytes)
    bpf(Command.MAP_LOOKUP_ELEM, _element(fd, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)))
    return value_buffer.raw


def keys(fd: int) -> list[int]:
    """The keys, of 32 bits, of all elements of a hash that nobody changes meanwhile."""
    found: list[int] = []
    following = ctypes.c_uint32()
    before = 0  # address of the key behind which the next is asked for; 0: of the first
    while True:
        try:
            bpf(Command.MAP_GET_NEXT_KEY, _element(fd, before, ctypes.addressof(following)))
        except FileNotFoundError:
            return found
        found.append(following.value)
        last = ctypes.c_uint32(following.value)
        before = ctypes.addressof(last)


def form_of(fd: int) -> MapForm | None:
    """What a map is like, as the kernel says; None of what is no map, or of a kind that we do not use."""
    told = dict(line.split(":", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines() if ":" in line)
    try:
        kind, key, value, entries = (int(told[name]) for name in ("map_type", "key_size", "value_size", "max_entries"))
        return MapForm(Kind(kind), value, entries, int(told["map_flags"], 0), key)
    except (KeyError, ValueError):
        return None


def possible_cpus() -> int:
    """How many cells an element of a per-CPU map has."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.replace(",", "-").rsplit("-", 1)[-1]) + 1


def _key(key: int | bytes) -> ctypes.Array[ctypes.c_char]:
    content = key.to_bytes(4, "little") if isinstance(key, int) else key
    return ctypes.create_string_buffer(content, len(content))


def _element(fd: int, key_address: int, value_address: int) -> bytes:
    return struct.pack("<IIQQQ", fd, 0, key_address, value_address, 0)
