"""Dump and restore by the control connection: what is told, to whom, and what comes of what a client may send."""

from __future__ import annotations

import ctypes
import json
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from splinter import limits
from splinter.client.admin import Admin
from splinter.client.dump import Dump
from splinter.client.dump_format import DumpedObject, DumpedPart, dumped
from splinter.client.dump_reader import DumpReader
from splinter.client.restore import Into, Restore, Restored
from splinter.errors import (
    BusyError,
    ControlError,
    DiskFailedError,
    PermissionDeniedError,
    QuotaExceededError,
    RequestError,
    SplinterError,
    Status,
    UnknownTenantError,
)
from splinter.server.control.dumps import part_of_chain
from splinter.store.index import word_object
from splinter.store.layout import BUCKET, DURABILITY_ALWAYS, ENTRY_DELETING
from splinter.store.objects import object_key, object_key_length, object_table
from splinter.wire import PART, PART_KEY_STRUCT
from tests.support.dumps import HEADER, TENANT, resealed, sealed
from tests.support.large import large_value, parts_in, put_head, put_large, put_parts
from tests.support.waiting import WAIT_SECONDS, wait_for
from tests.unit.server.control.conftest import CREDENTIAL, Control

SOURCE = """
from splinter.ext import extension, Store, u64

@extension
def twice(db: Store, x: u64) -> u64:
    return x + x

@extension
def thrice(db: Store, x: u64) -> u64:
    return x + x + x
"""
SHORT_SECONDS = 1
Contents = dict[tuple[int, bytes], bytes]


def fill(control: Control, tenant: int, count: int, size: int = 20) -> Contents:
    """Give a tenant objects in three tables."""
    made = {(number % 3, b"key %d" % number): bytes([number % 256]) * (size + number % 7) for number in range(count)}
    for (table, key), value in made.items():
        control.store.put(tenant, table, key, value)
    return made


def contents(store: Any, tenant: int) -> Contents:
    """What a tenant has."""
    return {(one.table, one.key): one.value for table in range(4) for one in store.scan(table, tenant=tenant)}


def objects(pieces: Any) -> list[DumpedObject]:
    """The objects of a dump, which is as it should be."""
    return [record for record in DumpReader(pieces) if isinstance(record, DumpedObject)]


def lines(pieces: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in b"".join(pieces).splitlines()]


@pytest.fixture
def admin(control: Control) -> Admin:
    return control.admin()


@pytest.fixture
def impatient(control_stopped: Control, monkeypatch: pytest.MonkeyPatch) -> Control:
    """A control process that waits for nothing for long."""
    monkeypatch.setattr(limits, "DUMP_WAIT_SECONDS", SHORT_SECONDS)
    control_stopped.start()
    return control_stopped


def test_a_dump_has_all_and_goes_to_another_tenant_of_another_server(control: Control, admin: Admin):
    admin.create_tenant(7, quota_bytes=1 << 22, task_yields_max=9, packets_per_second=1000)
    admin.create_tenant(8)
    made, other = fill(control, 7, 3000), fill(control, 8, 500)
    pieces = list(admin.dump(7))
    found = objects(pieces)
    assert len(found) == len(made) and {(one.table, one.key): one.value for one in found} == made
    done = admin.restore(pieces, to=9)
    assert (done.tenants, done.objects, done.over, done.extensions) == (1, 3000, 0, 0)
    (created,) = done.created
    told = admin.get_tenant(9, token=True)
    assert created == (9, told.token)
    assert (told.quota_bytes, told.task_yields_max, told.packets_per_second, told.objects) == (1 << 22, 9, 1000, 3000)
    assert contents(control.store, 9) == made
    assert contents(control.store, 7) == made and contents(control.store, 8) == other
    control.end(15)
    assert control.store.problems() == []


def test_all_tenants_in_one_walk(control: Control, admin: Admin):
    made = {}
    for tenant in (3, 4, 500):
        admin.create_tenant(tenant)
        made[tenant] = fill(control, tenant, 700)
    dump = admin.dump()
    pieces = list(dump)
    assert (dump.tenants, dump.objects, dump.bytes) == (3, 2100, sum(map(len, pieces)))
    assert dump.done == dump.total > 1
    told = lines(pieces)
    assert [one["type"] for one in told[:5]] == ["splinter-dump", "tenant", "tenant", "tenant", "object"]
    for tenant in made:
        admin.remove_tenant(tenant)
    done = admin.restore(pieces)
    assert {tenant for tenant, _ in done.created} == set(made)
    assert {tenant: contents(control.store, tenant) for tenant in made} == made


def test_one_tenant_of_a_dump_of_all(control: Control, admin: Admin):
    for tenant in (3, 4):
        admin.create_tenant(tenant)
        fill(control, tenant, 10 * tenant)
    pieces = list(admin.dump())
    assert admin.restore(pieces, tenant=4, to=5).objects == 40
    assert contents(control.store, 5) == contents(control.store, 4)
    with pytest.raises(UnknownTenantError, match="the dump has no tenant 6"):
        admin.restore(pieces, tenant=6)
    with pytest.raises(SplinterError, match="say which one"):
        admin.restore(pieces, to=6)
    assert [one.tenant for one in admin.list_tenants()] == [3, 4, 5]


def test_tokens_are_told_to_who_asks_for_them_only(control: Control, admin: Admin):
    made = admin.create_tenant(7)
    fill(control, 7, 3)
    secret = f"{made.token:016x}".encode()
    assert secret not in b"".join(admin.dump(7)) and secret not in b"".join(admin.dump())
    pieces = list(admin.dump(7, with_tokens=True))
    assert secret in b"".join(pieces)
    admin.remove_tenant(7)
    assert admin.restore(pieces).created == [(7, made.token)]
    admin.remove_tenant(7)
    assert admin.restore(pieces, token="12ab").created == [(7, 0x12AB)]
    with pytest.raises(SplinterError, match="keeps its token"):
        admin.restore(pieces, token="12ab", into=Into.MERGE)


@pytest.mark.parametrize("op", ["dump.begin", "dump.extensions", "dump.objects", "restore.begin", "restore.objects"])
def test_nobody_but_the_administrator_is_let_in(control: Control, admin: Admin, op: str):
    made = admin.create_tenant(7)
    connection = control.connect()
    for who in ({}, {"token": made.token}, {"credential": "wrong"}):
        with pytest.raises(PermissionDeniedError):
            connection.request(op, tenant=7, **who)


def test_extensions_are_named_where_there_are_no_sources(control: Control, admin: Admin):
    token = admin.create_tenant(7).token
    control.connect().request("extension.install", tenant=7, token=token, source=SOURCE, every=True)
    dump = admin.dump(7)
    pieces = list(dump)
    assert dump.without_source == [(7, "thrice"), (7, "twice")]
    done = admin.restore(pieces, to=8)
    assert [(tenant, name) for tenant, name, _ in done.not_installed] == [(8, "thrice"), (8, "twice")]


def test_extensions_are_installed_again_as_they_were(control: Control, admin: Admin):
    admin.create_tenant(7)

    def extension(name: str, source: str = SOURCE, together: bool = False) -> dict[str, Any]:
        return {"type": "extension", "tenant": 7, "name": name, "source": source, "together": together}

    def made(*extensions: dict[str, Any]) -> list[bytes]:
        return [sealed(HEADER, TENANT, *extensions)]

    def names(tenant: int) -> list[str]:
        reply = control.connect().request("extension.list", tenant=tenant, credential=CREDENTIAL)
        return [one["name"] for one in reply["extensions"]]

    done = admin.restore(made(extension("thrice", together=True), extension("twice", together=True)), to=8)
    assert (done.extensions, done.not_installed, names(8)) == (2, [], ["thrice", "twice"])
    done = admin.restore(made(extension("twice", together=True)), to=9)  # the other one was uninstalled
    assert (done.extensions, names(9)) == (1, ["twice"])
    done = admin.restore(made(extension("thrice")), to=10)
    assert (done.extensions, names(10)) == (1, ["thrice"])
    done = admin.restore(made(extension("thrice"), extension("odd", source="def")), to=11)
    assert [name for _, name, _ in done.not_installed] == ["odd"] and names(11) == ["thrice"]
    done = admin.restore(made(extension("thrice")), to=8, into=Into.REPLACE)
    assert names(8) == ["thrice"]


def source_of(**results: str) -> str:
    """A source with extensions of these names and types of results: by the type one tells which source an extension is of."""
    made = (f"@extension\ndef {name}(db: Store, x: {kind}) -> {kind}:\n    return x\n" for name, kind in results.items())
    return "\n".join(["from splinter.ext import extension, Store, i64, u64\n", *made])


def test_of_a_source_only_the_names_that_it_has_in_the_dump_are_installed(control: Control, admin: Admin):
    """Others of its functions were uninstalled, or replaced from another source, before the dump was made."""
    old, new = source_of(z="u64", m="u64", gone="u64"), source_of(a="i64", m="i64")

    def line(name: str, source: str) -> dict[str, Any]:
        return {"type": "extension", "tenant": 7, "name": name, "source": source, "together": True}

    def told(tenant: int) -> dict[str, tuple[str, int]]:
        reply = control.connect().request("extension.list", tenant=tenant, credential=CREDENTIAL)
        return {one["name"]: (one["signature"]["result"], one["version"]) for one in reply["extensions"]}

    wanted = {"a": ("i64", 1), "m": ("i64", 1), "z": ("u64", 1)}
    dumps = [sealed(HEADER, TENANT, line("a", new), line("m", new), line("z", old))]
    assert admin.restore(dumps, to=8).extensions == 3
    assert told(8) == wanted
    admin.create_tenant(9)
    own = source_of(gone="i64", own="i64")
    control.connect().request("extension.install", tenant=9, credential=CREDENTIAL, source=own, every=True)
    assert admin.restore(dumps, to=9, into=Into.MERGE).extensions == 3
    assert told(9) == wanted | {"gone": ("i64", 1), "own": ("i64", 1)}
    done = admin.restore([sealed(HEADER, TENANT, line("m", old), line("none", old))], to=10)
    assert [(name, "no extension 'none'" in why) for _, name, why in done.not_installed] == [("m", True), ("none", True)]
    assert told(10) == {}


# --- into what there is ------------------------------------------------------------------------------------------------------


def test_a_tenant_with_objects_is_mixed_into_on_demand_only(control: Control, admin: Admin):
    admin.create_tenant(7)
    admin.create_tenant(8)
    made = fill(control, 7, 50)
    pieces = list(admin.dump(7))
    control.store.put(8, 0, b"key 0", b"old")
    control.store.put(8, 3, b"own", b"value")
    before = contents(control.store, 8)
    with pytest.raises(ControlError, match="tenant 8 has objects"):
        admin.restore(pieces, to=8)
    assert contents(control.store, 8) == before
    assert admin.restore(pieces, to=8, into=Into.MERGE).created == []
    assert contents(control.store, 8) == made | {(3, b"own"): b"value"}
    admin.restore(pieces, to=8, into=Into.REPLACE)
    assert contents(control.store, 8) == made


def test_nothing_is_created_when_one_of_the_tenants_must_not_be_mixed_into(control: Control, admin: Admin):
    for tenant in (3, 4):
        admin.create_tenant(tenant)
        fill(control, tenant, 5)
    pieces = list(admin.dump())
    admin.remove_tenant(3)
    with pytest.raises(ControlError, match="tenant 4 has objects"):
        admin.restore(pieces)
    assert [one.tenant for one in admin.list_tenants()] == [4]


def test_what_the_quota_refuses_is_told_with_its_line(control: Control, admin: Admin):
    admin.create_tenant(7)
    fill(control, 7, 3000, 100)
    pieces = list(admin.dump(7))
    admin.create_tenant(8, quota_bytes=100_000)
    done = Restored()
    with pytest.raises(QuotaExceededError, match=r"line (\d+): tenant 8: ") as refused:
        admin.restore(pieces, to=8, done=done)
    assert 0 < done.objects < 3000 and done.objects == len(contents(control.store, 8))
    line = int(str(refused.value).partition(":")[0].removeprefix("line "))
    first = next(number for number, one in enumerate(lines(pieces), 1) if one["type"] == "object")
    assert line == first + done.objects


def test_durability_that_the_server_does_not_have(control: Control, admin: Admin):
    admin.create_tenant(7)
    pieces = [resealed(list(admin.dump(7)), b'"durability":"none"', b'"durability":"always"')]
    with pytest.raises(ControlError, match=r"no data folder.* durability 'none'"):
        admin.restore(pieces, to=8)
    assert admin.restore(pieces, to=8, durability="none").tenants == 1


# --- time to live ------------------------------------------------------------------------------------------------------------


def test_what_expires_keeps_its_moment_and_what_is_over_is_left_out(control: Control, admin: Admin):
    admin.create_tenant(7)
    hour = 3600 * 10**9
    control.store.put(7, 0, b"for ever", b"")
    control.store.put(7, 0, b"for an hour", b"v", ttl=hour)
    control.store.put(7, 0, b"over", b"v", ttl=1)
    pieces = list(admin.dump(7))
    told = {one.key: one.expires_unix_ms for one in objects(pieces)}
    assert told.keys() == {b"for ever", b"for an hour"} and told[b"for ever"] == 0
    assert abs(told[b"for an hour"] - (time.time_ns() + hour) // 10**6) < 60_000
    assert admin.restore(pieces, to=8).objects == 2
    found = control.store.lookup(8, 0, b"for an hour")
    assert found is not None and abs(found.expires - control.store.lookup(7, 0, b"for an hour").expires) < 2 * 10**9
    assert control.store.lookup(8, 0, b"for ever").expires == 0
    late = resealed(pieces, b"%d" % told[b"for an hour"], b"1")
    done = admin.restore([late], to=9)
    assert (done.objects, done.over) == (1, 1) and contents(control.store, 9) == {(0, b"for ever"): b""}


# --- the walk -------------------------------------------------------------------------------------------------------------


def told_keys(admin: Admin, tenant: int = 7) -> list[bytes]:
    return sorted(one.key for one in objects(admin.dump(tenant)))


def entries(control: Control) -> Any:
    """All entries of the index, a row for each bucket."""
    return control.store.index_region.array(BUCKET)["entries"]


def place_of(control: Control, key: bytes) -> tuple[int, int]:
    """Bucket and place of the entry of a key in table 0."""
    words = entries(control).view(np.int64)  # as compiled code has them: any bit may be set
    for bucket, place in zip(*words.nonzero(), strict=True):
        found = word_object(control.store.address, int(words[bucket][place]))
        if object_table(found) == 0 and ctypes.string_at(object_key(found), object_key_length(found)) == key:
            return bucket, place
    raise KeyError(key)


def test_a_chain_that_shows_a_key_twice_tells_it_once(control: Control, admin: Admin):
    """As when it is deleted behind the walk and made again before it."""
    admin.create_tenant(7)
    control.store.put(7, 0, b"key", b"value")
    found = entries(control)
    bucket, place = place_of(control, b"key")
    found[bucket][place + 1] = found[bucket][place]
    assert told_keys(admin) == [b"key"]
    found[bucket][place + 1] = 0


def test_a_deletion_under_way_is_waited_for(impatient: Control, monkeypatch: pytest.MonkeyPatch):
    """It may be taken back, and then the object has been there all the time."""
    control, admin = impatient, impatient.admin()
    admin.create_tenant(7)
    control.store.put(7, 0, b"key", b"value")
    found = entries(control)
    bucket, place = place_of(control, b"key")
    word = int(found[bucket][place])
    found[bucket][place] = ENTRY_DELETING
    with pytest.raises(BusyError, match="not finished"):
        told_keys(admin)
    monkeypatch.setattr(limits, "DUMP_WAIT_SECONDS", WAIT_SECONDS)
    back = threading.Timer(SHORT_SECONDS / 3, lambda: found[bucket].__setitem__(place, word))  # behind the walk's first look
    back.start()
    assert told_keys(admin) == [b"key"]
    back.join()


def test_a_chain_that_is_larger_than_a_message(control: Control, admin: Admin):
    admin.create_tenant(7)
    admin.create_tenant(8)
    store = control.store
    store.descriptor["buckets"], buckets = 1, store.descriptor["buckets"]  # one chain for all
    store.descriptor["buckets_used"], used = 1, store.descriptor["buckets_used"]
    keys = [b"%d" % number for number in range(40)]
    for key in keys:
        store.put(7, 0, key, bytes(limits.VALUE_BYTES_MAX))
    store.put(8, 0, keys[0], b"other")
    try:
        assert told_keys(admin) == sorted(keys)
        assert len(objects(admin.dump())) == len(keys) + 1
        assert told_keys(admin, 8) == keys[:1]
    finally:
        for key in keys:
            store.delete(7, 0, key)
        store.delete(8, 0, keys[0])
        del buckets, used


def test_a_part_of_a_chain_goes_on_behind_the_last_one():
    chain = [dumped(table, b"%d" % number, bytes(100), tenant=7) for table in (2, 1) for number in (9, 5, 10)]
    found, behind, rounds = b"", None, 0
    while True:
        piece, behind = part_of_chain(b"".join(chain), behind, 300)
        found += piece
        rounds += 1
        if behind is None:
            break
        chain = chain[::-1]  # however they stand then
    assert sorted(found[at : at + len(chain[0])] for at in range(0, len(found), len(chain[0]))) == sorted(chain)
    assert rounds == 3
    assert part_of_chain(b"".join(chain), None, 1)[0] == min(chain, key=lambda one: (one[2:4], one[24:26]))


def test_what_is_not_on_the_disk_yet_is_not_told(impatient: Control):
    control, admin = impatient, impatient.admin()
    admin.create_tenant(7)
    control.store.put(7, 0, b"key", b"value")
    account = control.store.accounts[7]
    account["durability"], account["durable"] = DURABILITY_ALWAYS, account["sequence"] - 1
    for tenant in (7, None):
        with pytest.raises(DiskFailedError, match="does not catch up"):
            list(admin.dump(tenant))
    account["durable"] = account["sequence"]
    assert told_keys(admin) == [b"key"]
    account["durability"] = 0


def test_a_restore_is_on_the_disk_when_it_is_told(impatient: Control):
    control, admin = impatient, impatient.admin()
    admin.create_tenant(7)
    control.store.put(7, 0, b"key", b"value")
    pieces = list(admin.dump(7))
    admin.create_tenant(8)
    control.store.accounts[8]["durability"] = DURABILITY_ALWAYS
    with pytest.raises(DiskFailedError):
        admin.restore(pieces, to=8)
    control.store.accounts[8]["durability"] = 0


# --- large values ------------------------------------------------------------------------------------------------------------


def values_of(pieces: Any) -> dict[tuple[int, bytes], bytes]:
    """The values of a dump, large ones put together, by tenant and key; no key comes twice."""
    found: dict[tuple[int, bytes], bytes] = {}
    parts = b""
    for record in DumpReader(pieces):
        if isinstance(record, DumpedPart):
            parts += record.value
        elif isinstance(record, DumpedObject):
            assert (record.tenant, record.key) not in found
            found[record.tenant, record.key], parts = parts or record.value, b""
    return found


@pytest.mark.parametrize("size", [limits.VALUE_BYTES_MAX + 1, 3 * limits.PART_BYTES, limits.LARGE_BYTES_MAX])
def test_a_large_value_is_told_as_a_whole_also_when_it_is_replaced_all_the_time(control: Control, admin: Admin, size: int):
    admin.create_tenant(7)
    put_large(control.store, 7, 0, b"key", 1, bytes(size))
    connection, asked = control.connect(), 0

    def request(op: str, **fields: Any) -> dict[str, Any]:
        """Between any two messages there is another value."""
        nonlocal asked
        asked += 1
        assert asked < 50, "the dump does not end"
        if size < limits.LARGE_BYTES_MAX:  # the store has no room for two of these
            put_large(control.store, 7, 0, b"key", 1 + asked, bytes([asked]) * size)
        return connection.request(op, credential=CREDENTIAL, **fields)

    dump = Dump(request, 7)
    ((_, value),) = values_of(dump).items()
    assert len(value) == size and value == value[:1] * size and dump.unreadable == []
    control.end(15)
    assert control.store.problems() == []


@pytest.mark.parametrize("other", [None, b"short", bytes(limits.VALUE_BYTES_MAX)])
def test_a_value_that_cannot_be_read_is_named_and_all_else_is_dumped(control: Control, admin: Admin, other: bytes | None):
    store = control.store
    made = {tenant: fill(control, tenant, 100) for tenant in (3, 7) if admin.create_tenant(tenant)}
    put_large(store, 7, 2, b"bad", 5, bytes(200_000))
    put_large(store, 7, 2, b"good", 6, bytes(200_000))
    lost = PART_KEY_STRUCT.pack(5, 1)
    if other is None:
        assert store.delete(7, limits.TABLE_PARTS, lost)
    else:
        store.put(7, limits.TABLE_PARTS, lost, PART.struct.pack(2, 3, 0) + b"bad" + other[8 + 3 :])
    for only in (None, 7):
        dump = admin.dump(only)
        pieces = list(dump)
        assert dump.unreadable == [(7, 2, b"bad")] and dump.incomplete == [7]
        assert admin.restore(pieces, tenant=7, to=8, into=Into.REPLACE).incomplete == [8]
        assert (7, b"bad") not in values_of(pieces) and values_of(pieces)[7, b"good"] == bytes(200_000)
        assert len(values_of(pieces)) == 101 + (100 if only is None else 0)
        assert contents(store, 8).keys() == made[7].keys() | {(2, b"good")}
    store.delete(7, 2, b"bad")


def test_a_large_value_is_put_when_all_of_it_is_read_and_before_more_is(control: Control, admin: Admin):
    admin.create_tenant(7)
    store, value = control.store, os.urandom(1_000_000)
    put_large(store, 7, 0, b"key", 5, value)
    dump = b"".join(admin.dump(7))
    head = dump.index(b'{"type":"object"')
    behind = dump.index(b"\n", head) + 1
    admin.create_tenant(8)

    def pieces() -> Iterator[bytes]:
        yield dump[:head]
        assert parts_in(store, 8) == []
        yield dump[head:behind]
        wait_for(lambda: large_value(store, 8, 0, b"key") == value, what="the value")
        yield dump[behind:]

    assert admin.restore(pieces(), to=8).objects == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_large_value_whose_parts_were_forgotten_is_put_anew(control: Control, admin: Admin, times: int):
    admin.create_tenant(7)
    store, value = control.store, bytes(2 * limits.RESTORE_PIECE_BYTES)
    put_large(store, 7, 0, b"key", 5, value)
    pieces, connection, seen = list(admin.dump(7)), control.connect(), set()
    admin.create_tenant(8)

    def request(op: str, **fields: Any) -> dict[str, Any]:
        """What is swept when a minute is over is deleted here."""
        reply = connection.request(op, credential=CREDENTIAL, **fields)
        first = next(iter(parts_in(store, 8)), None)
        if first is not None and first.key[:8] not in seen and len(seen) < times:
            seen.add(first.key[:8])
            store.delete(8, limits.TABLE_PARTS, first.key)
        return reply

    restore = Restore(request, to=8)
    if times < 3:
        assert restore.run(pieces).objects == 1
        assert large_value(store, 8, 0, b"key") == value
    else:
        with pytest.raises(SplinterError, match=f"line {len(lines(pieces)) - 1}: tenant 8: no such object"):
            restore.run(pieces)
        assert restore.done.objects == 0 and parts_in(store, 8) == []


def test_a_large_value_that_is_over_or_refused_takes_no_room(control: Control, admin: Admin):
    admin.create_tenant(7)
    store = control.store
    hour = 3600 * 10**9
    for number in range(3):
        put_large(store, 7, 0, b"big %d" % number, number, bytes(1_000_000))
    put_parts(store, 7, 0, b"over", 9, bytes(1_500_000))
    assert put_head(store, 7, 0, b"over", 9, 1_500_000, ttl=hour)[0] == Status.OK
    store.put(7, 0, b"small", b"v")
    pieces = list(admin.dump(7))
    (expires,) = {one.expires_unix_ms for one in objects(pieces)} - {0}
    late = [resealed(pieces, b"%d" % expires, b"1")]
    admin.create_tenant(8, quota_bytes=4 << 20)
    done = admin.restore(late, to=8)
    assert (done.objects, done.over) == (4, 1)
    assert len(parts_in(store, 8)) == 3 * 16
    admin.create_tenant(9, quota_bytes=5 << 19)  # for two of them
    done = Restored()
    with pytest.raises(QuotaExceededError, match=r"line \d+: tenant 9"):
        admin.restore(late, to=9, done=done)
    there = list(store.scan(0, tenant=9))
    assert done.objects == len(there) and len(parts_in(store, 9)) == 16 * sum(one.key != b"small" for one in there)
    admin.remove_tenant(7)
    for tenant in (8, 9):
        admin.remove_tenant(tenant)


# --- cursors and objects that a client makes up ---------------------------------------------------------------------------


@pytest.fixture
def begun(control: Control, admin: Admin) -> Iterator[dict[str, Any]]:
    """Fields of a request for objects that is granted."""
    admin.create_tenant(7)
    fill(control, 7, 20)
    reply = control.connect().request("dump.begin", credential=CREDENTIAL, tenant=7)
    yield {
        "credential": CREDENTIAL,
        "store": reply["store"],
        "tenant": 7,
        "generation": reply["tenants"][0]["generation"],
        "bucket": 0,
    }


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"bucket": -1}, "is 0 …"),
    ({"bucket": 1 << 40}, "is 0 …"),
    ({"bucket": "0"}, "is an integer"),
    ({"bucket": None}, "is missing"),
    ({"store": 1}, "another store"),
    ({"store": None}, "is missing"),
    ({"behind": b""}, "5 to 259 bytes"),
    ({"behind": bytes(300)}, "5 to 259 bytes"),
    ({"behind": "text1234"}, "is binary"),
    ({"tenant": 0}, "is 1 …"),
    ({"tenant": 9}, "no tenant 9"),
    ({"generation": 99}, "another one has its id"),
]


@pytest.mark.parametrize(("fields", "what"), HOSTILE)
def test_places_that_cannot_be_are_refused(control: Control, begun: dict[str, Any], fields: dict[str, Any], what: str):
    connection = control.connect()
    assert connection.request("dump.objects", **begun)["objects"]
    with pytest.raises((ControlError, RequestError), match=what):
        connection.request("dump.objects", **{**begun, **fields})


def test_any_place_that_can_be_is_answered(control: Control, begun: dict[str, Any]):
    connection = control.connect()
    buckets = connection.request("dump.begin", credential=CREDENTIAL)["buckets"]
    assert connection.request("dump.objects", **{**begun, "bucket": buckets})["next"] is None
    for behind in (bytes(5), b"\xff" * 259, b"\0\7\0\0key"):
        connection.request("dump.objects", **begun, behind=behind)


UNSOUND = [
    b"",
    bytes(23),
    bytes(24),
    dumped(0, b"key", b"value")[:-8],
    dumped(0, b"key", b"value") + b"\0",
    dumped(limits.TABLES_MAX, b"key", b"value"),
    dumped(limits.TABLE_EXTENSIONS, b"key", b"value"),
    dumped(0, b"", b"value"),
    dumped(0, bytes(256), b""),
    dumped(0, b"key", bytes(limits.VALUE_BYTES_MAX + 1)),
    dumped(0, b"key", b"value", -1),
    dumped(0, b"good", b"value") + dumped(0, b"", b"value"),
]


@pytest.mark.parametrize("form", range(len(UNSOUND)))
def test_objects_that_are_none_are_refused_and_nothing_is_put(control: Control, begun: dict[str, Any], form: int):
    fields = {name: begun[name] for name in ("credential", "tenant", "generation")}
    before = contents(control.store, 7)
    with pytest.raises(ControlError, match=r"in the form|bytes, not"):
        control.connect().request("restore.objects", **fields, objects=UNSOUND[form])
    assert contents(control.store, 7) == before


def test_objects_go_to_no_other_tenant_of_the_id(control: Control, admin: Admin, begun: dict[str, Any]):
    fields = {name: begun[name] for name in ("credential", "tenant", "generation")}
    objects_told = dumped(0, b"key", b"value")
    assert control.connect().request("restore.objects", **fields, objects=objects_told)["done"] == 1
    admin.remove_tenant(7)
    with pytest.raises(UnknownTenantError):
        control.connect().request("restore.objects", **fields, objects=objects_told)
    admin.create_tenant(7)
    with pytest.raises(UnknownTenantError, match="another one has its id"):
        control.connect().request("restore.objects", **fields, objects=objects_told)
    assert contents(control.store, 7) == {}


def test_a_tenant_that_is_removed_meanwhile(control: Control, admin: Admin):
    for tenant in (3, 4):
        admin.create_tenant(tenant)
        fill(control, tenant, 2000, 400)
    dump = admin.dump(3)
    pieces = iter(dump)
    next(pieces), next(pieces)
    admin.remove_tenant(3)
    admin.create_tenant(3)
    with pytest.raises(UnknownTenantError):
        list(pieces)
    fill(control, 3, 2000, 400)
    dump = admin.dump()
    pieces = iter(dump)
    got = [next(pieces), next(pieces)]
    admin.remove_tenant(3)
    admin.create_tenant(3)
    control.store.put(3, 0, b"of the next tenant", b"")
    found = objects([*got, *pieces])
    assert dump.incomplete == [3]
    assert b"of the next tenant" not in {one.key for one in found}
    assert len([one for one in found if one.tenant == 4]) == 2000


def test_other_requests_have_their_turn_while_a_dump_is_read(control: Control, admin: Admin):
    admin.create_tenant(7)
    fill(control, 7, 5000, 400)
    pieces = iter(admin.dump(7))
    next(pieces)
    other = control.admin()
    for _ in pieces:
        assert other.get_tenant(7).tenant == 7


def test_a_dump_is_read_once_per_object(control: Control, admin: Admin):
    admin.create_tenant(7)
    assert isinstance(admin.dump(7), Dump)
    with pytest.raises(UnknownTenantError):
        list(admin.dump(9))
    with pytest.raises(ValueError, match="tenant is an integer"):
        admin.dump(0)
