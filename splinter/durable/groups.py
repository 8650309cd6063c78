"""The group: what is written to a file at once, with checksums. Log and snapshots are made of groups.

A group is a header (GROUP) and its payload; the next one begins at the following multiple of GROUP_ALIGN_BYTES. Headers hold
the number of the group, which counts on, and the identity of the folder, which nobody outside knows: so neither an old group in
a file that is used again, nor bytes of a tenant's value that look like a group, are taken for one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import crc32c
import numpy as np

from splinter.errors import DataFolderError

GROUP_ALIGN_BYTES = 512  # a disk's sector: what is torn is torn there
FORMAT = 1
_MAGIC = 0x50524753  # "SGRP"


class Kind(IntEnum):
    """What a payload holds."""

    CHANGES = 1  # of the log: entries (splinter.store.commit_layout.LOGGED)
    TENANTS = 2  # of a snapshot, the first group and the last but one, alike: TENANT_PLACE records
    OBJECTS = 3  # of a snapshot: copied slots (splinter.store.walk)
    END = 4  # of a snapshot, the last group: END


GROUP = np.dtype(
    [
        ("magic", "<u4"),
        ("format", "<u2"),
        ("kind", "<u2"),
        ("number", "<u8"),  # of the log's groups, from 1, without a gap; of a snapshot's from 0
        ("bytes", "<u8"),  # of the payload
        ("folder", "<u8"),  # identity of the data folder
        ("unix_ns", "<u8"),  # when it was written, by the store's clock
        ("boot_ns", "<u8"),  # the same by CLOCK_BOOTTIME
        ("boot", "<u8"),  # digest of the kernel's boot id
        ("payload_crc", "<u4"),  # CRC-32C of the payload
        ("header_crc", "<u4"),  # CRC-32C of what stands before
    ]
)
GROUP_BYTES = GROUP.itemsize
assert GROUP_BYTES == 64

TENANT_PLACE = np.dtype(  # of a tenant id, when a snapshot began
    [("tenant", "<u8"), ("generation", "<u8"), ("number", "<u8"), ("sequence", "<u8")]
)
END = np.dtype([("groups", "<u8"), ("objects_bytes", "<u8")])


class DamageError(DataFolderError):
    """What a file holds is not what was written there."""

    def __init__(self, path: Path, place: int, what: str) -> None:
        super().__init__(f"{path} is damaged at byte {place}: {what}")
        self.path, self.place, self.what = path, place, what


@dataclass(frozen=True)
class Group:
    """One that was read, and is whole."""

    header: np.void
    payload: np.ndarray  # uint8, of the file's mapping: it must not outlive that

    @property
    def number(self) -> int:
        """Its number."""
        return int(self.header["number"])

    @property
    def kind(self) -> Kind:
        """What it holds."""
        return Kind(int(self.header["kind"]))


def span(payload_bytes: int) -> int:
    """Bytes of a group in its file, up to where the next one begins."""
    return -(-(GROUP_BYTES + payload_bytes) // GROUP_ALIGN_BYTES) * GROUP_ALIGN_BYTES


def boot_digest() -> int:
    """Of this boot of the kernel."""
    return int(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")[:15], 16)


def framed(kind: Kind, number: int, folder: int, boot: int, now: int, pieces: Iterable[memoryview]) -> list[memoryview]:
    """A group in pieces, for one ``writev``: the header, the payload's pieces as they are, and zeros up to the next group."""
    views, crc, size = [], 0, 0
    for view in pieces:
        crc = crc32c.crc32c(view, crc)
        size += len(view)
        views.append(view)
    header = np.zeros(1, GROUP)
    header[0] = (
        _MAGIC, FORMAT, kind, number, size, folder, now, time.clock_gettime_ns(time.CLOCK_BOOTTIME), boot, crc, 0,
    )  # fmt: skip
    header["header_crc"] = crc32c.crc32c(header.tobytes()[: GROUP_BYTES - 4])
    return [memoryview(header.tobytes()), *views, memoryview(bytes(span(size) - GROUP_BYTES - size))]


def header_at(data: np.ndarray, place: int, folder: int) -> np.void | None:
    """The header at a place of a file's bytes, if a whole one of this folder stands there."""
    if place + GROUP_BYTES > len(data):
        return None
    raw = data[place : place + GROUP_BYTES]
    header: np.void = np.frombuffer(raw, GROUP)[0]
    return header if header["folder"] == folder and _is_whole(raw, header) else None


def folder_at(data: np.ndarray) -> int | None:
    """The identity of the folder to which the whole header belongs that a file's bytes begin with; None: with none."""
    raw = data[:GROUP_BYTES]
    if len(raw) < GROUP_BYTES:
        return None
    header: np.void = np.frombuffer(raw, GROUP)[0]
    return int(header["folder"]) if _is_whole(raw, header) else None


def _is_whole(raw: np.ndarray, header: np.void) -> bool:
    return bool(header["magic"] == _MAGIC and crc32c.crc32c(raw[: GROUP_BYTES - 4].data) == header["header_crc"])


def group_at(data: np.ndarray, place: int, folder: int) -> Group | None:
    """The whole group at a place of a file's bytes; None: there is none."""
    header = header_at(data, place, folder)
    if header is None or place + GROUP_BYTES + int(header["bytes"]) > len(data):
        return None
    payload = data[place + GROUP_BYTES : place + GROUP_BYTES + int(header["bytes"])]
    if crc32c.crc32c(payload.data) != header["payload_crc"]:
        return None
    return Group(header, payload)


def later_group(data: np.ndarray, place: int, folder: int, number: int) -> int | None:
    """Where, from a place on, a whole header of a group stands that has a greater number; None: nowhere."""
    first = -(-place // GROUP_ALIGN_BYTES)
    numbers = _numbers(data, first)
    rows = np.flatnonzero(numbers > np.uint64(number))
    places = ((first + int(row)) * GROUP_ALIGN_BYTES for row in rows)
    return next((place for place in places if header_at(data, place, folder) is not None), None)


def last_group(data: np.ndarray, folder: int, first: int, end: int) -> int | None:
    """Where a whole header of the last group stands whose number is from ``first`` up to ``end``, without that; None:
    nowhere."""
    numbers = _numbers(data, 0)
    rows = np.flatnonzero((numbers >= np.uint64(first)) & (numbers < np.uint64(end)))
    places = (int(row) * GROUP_ALIGN_BYTES for row in rows[np.argsort(numbers[rows])][::-1])
    return next((place for place in places if header_at(data, place, folder) is not None), None)


def _numbers(data: np.ndarray, first: int) -> np.ndarray:
    """What may be a group's number, of all sectors from ``first`` on; 0 where nothing looks like a group."""
    rows = data[: len(data) // GROUP_ALIGN_BYTES * GROUP_ALIGN_BYTES].reshape(-1, GROUP_ALIGN_BYTES)[first:, :GROUP_BYTES]
    heads = np.ascontiguousarray(rows).view(GROUP)[:, 0]
    return np.where(heads["magic"] == _MAGIC, heads["number"], np.uint64(0))
