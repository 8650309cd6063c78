"""Large values of which a disk has lost a piece: a start with ``--salvage`` leaves out the whole value and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter import limits
from tests.support.folder_servers import FolderServers
from tests.support.waiting import wait_for

PARTS = 20  # of a value; a group of a snapshot has some of them, one of the log has those that came together


def value_of(name: int) -> bytes:
    """A value of several parts, in which each 16 bytes tell their place and the value's name."""
    size = PARTS * limits.VALUE_BYTES_MAX // 16
    return b"".join(b"%03d-%011d;" % (name, number) for number in range(size))


@pytest.fixture
def servers(unique_name: str, tmp_path: Path) -> Iterator[FolderServers]:
    made = FolderServers(unique_name, tmp_path / "data", "--durability", "always", module="tests.support.audited_serve")
    yield made
    made.stop()


def flip(file: Path, piece: bytes) -> None:
    """One bit of a piece of a value."""
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(piece)] ^= 1
    file.write_bytes(damaged)


@pytest.mark.parametrize("place", ["log", "snapshots"])
@pytest.mark.parametrize("part", [0, PARTS - 1])
def test_a_large_value_with_a_damaged_part_is_left_out_whole(servers: FolderServers, place: str, part: int) -> None:
    server = servers.start()
    durability = "none" if place == "snapshots" else "always"
    tenant = server.admin().create_tenant(quota_bytes=32 << 20, packets_per_second=0, durability=durability)
    client = server.client(tenant)
    for number in range(3):
        client.put(b"large %d" % number, value_of(number), table=number)
        client.put(b"small %d" % number, b"value %d" % number)
    if place == "snapshots":
        server.admin().limit_tenant(tenant.tenant, durability="always")  # its objects are in no log
        wait_for(lambda: list((servers.data / "snapshots").glob("*.snap")), 60, "a snapshot")
    servers.stop()
    used = len(value_of(1))
    piece = value_of(1)[(used * part // PARTS + 64) :][:32]
    (file,) = [path for path in (servers.data / place).iterdir() if piece in path.read_bytes()]
    flip(file, piece)
    assert f"{file.name} is damaged at byte" in servers.refused()

    server = servers.start("--salvage")
    lack = re.findall(r"large values that lack a part: (\d+)\n", server.started.said())
    client = server.client(tenant)
    found = {number: client.get(b"large %d" % number, table=number) for number in range(3)}
    gone = {number for number in range(3) if found[number] is None}
    assert all(found[number] == value_of(number) for number in found.keys() - gone)
    assert 1 in gone
    small = {number for number in range(3) if client.get(b"small %d" % number) == b"value %d" % number}
    if place == "log":  # a group of a snapshot has what lies together in memory
        assert gone == {1} and lack == ["1"] and small == {0, 1, 2}
    (told,) = server.admin().list_tenants()
    assert told.bytes_used < 3 * used
    client.put(b"large 1", value_of(7), table=1)  # its parts' places are free
    servers.crash()
    server = servers.start()  # what was left out does not come back
    assert server.client(tenant).get(b"large 1", table=1) == value_of(7)
