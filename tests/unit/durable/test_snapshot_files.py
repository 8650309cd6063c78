"""Snapshot files: what is not whole is no snapshot, and what is damaged is told with its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from splinter.durable.groups import GROUP_ALIGN_BYTES, GROUP_BYTES, TENANT_PLACE, DamageError, Kind
from splinter.durable.snapshots import SnapshotReader, SnapshotWriter, first_group, places_in, snapshots_in

IDENTITY = 0x1234_5678_9ABC


def write(folder: Path, pieces: int = 3) -> Path:
    """A snapshot of one tenant, with so many groups of objects."""
    places = np.zeros(1, TENANT_PLACE)
    places[0] = (1, 2, 3, 4)
    writer = SnapshotWriter(folder, IDENTITY, 77, places)
    for number in range(pieces):
        writer.objects(memoryview(bytes([number]) * 64))
    return writer.finish()


def read(path: Path, told: list[DamageError] | None = None) -> list[tuple[Kind, bytes]]:
    """All its groups; ``told`` salvages."""
    reader = SnapshotReader(path, IDENTITY, salvage=told.append if told is not None else None)
    return [(group.kind, bytes(group.payload)) for group in reader]


def test_what_was_written_is_read(tmp_path: Path):
    path = write(tmp_path)
    assert (snapshots_in(tmp_path), first_group(path)) == ([path], 77)
    groups = list(SnapshotReader(path, IDENTITY))
    for group in groups[0], groups[-1]:
        assert [tuple(place) for place in places_in(group)] == [(1, 2, 3, 4)]
    assert [bytes(group.payload) for group in groups[1:-1]] == [bytes([number]) * 64 for number in range(3)]


def test_one_that_was_not_finished_is_none(tmp_path: Path):
    writer = SnapshotWriter(tmp_path, IDENTITY, 5, np.zeros(0, TENANT_PLACE))
    writer.objects(memoryview(b"12345678"))
    assert snapshots_in(tmp_path) == []
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
    SnapshotWriter(tmp_path, IDENTITY, 5, np.zeros(0, TENANT_PLACE))  # its process died
    assert first_group(SnapshotWriter(tmp_path, IDENTITY, 5, np.zeros(0, TENANT_PLACE)).finish()) == 5


def test_every_flipped_bit_is_found(tmp_path: Path):
    path = write(tmp_path)
    whole = path.read_bytes()
    sizes = [GROUP_BYTES + 32, *[GROUP_BYTES + 64] * 3, GROUP_BYTES + 32, GROUP_BYTES + 16]
    for byte in range(len(whole)):
        group, place = divmod(byte, GROUP_ALIGN_BYTES)
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[byte] ^= 1 << bit
            path.write_bytes(damaged)
            if place >= sizes[group]:
                read(path)  # bytes that nobody reads
                continue
            with pytest.raises(DamageError):
                read(path)


@pytest.mark.parametrize("cut", range(0, 5 * GROUP_ALIGN_BYTES + GROUP_BYTES + 16, 100))
def test_one_that_is_too_short_is_told(tmp_path: Path, cut: int):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DamageError):
        read(path)


def test_what_is_whole_can_be_salvaged(tmp_path: Path):
    path = write(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[2 * GROUP_ALIGN_BYTES + GROUP_BYTES + 1] ^= 4
    path.write_bytes(damaged)
    told: list[DamageError] = []
    groups = read(path, told)
    assert [payload[0] for kind, payload in groups if kind == Kind.OBJECTS] == [0, 2]
    assert told[0].place == 2 * GROUP_ALIGN_BYTES
