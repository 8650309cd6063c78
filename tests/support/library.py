"""The extension library's behaviour, written once and checked on three sides: CPython, compiled code, a running server.

``tests/unit/ext_library`` and ``tests/system/ext_library`` call these checks.
"""

from __future__ import annotations

import functools
import hashlib
import random
import struct
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from splinter.client import Client
from splinter.errors import ExtensionRuntimeError
from splinter.ext import library
from splinter.ext.abi import ExtensionError, error_message
from splinter.ext.compile import CompiledExtension, compile_source
from splinter.ext.faults import ExtensionFault
from splinter.ext.library import forest_train
from splinter.ext.python.local import LocalStore
from tests.support.runner import Runner

# The sum of the library's accounts.
MONEY = """
from splinter.ext import Error, Store, extension, u64

@extension
def money(db: Store, accounts: u64) -> u64:
    total: u64 = 0
    for account in range(accounts):
        balance = db.get(40, account)
        total += balance.u64(0)
    return total
"""
SOURCES = {name: source for entry in library.NAMES for name, source in library.entry(entry).sources.items()}


@functools.cache
def _compiled(name: str) -> CompiledExtension:
    return compile_source(SOURCES[name])


class Side(Protocol):
    """Where extensions run."""

    def put(self, key: bytes, value: bytes, table: int) -> None: ...

    def invoke(self, name: str, *args: Any) -> Any: ...


class LocalSide:
    """CPython."""

    def __init__(self) -> None:
        self.store = LocalStore()

    def put(self, key: bytes, value: bytes, table: int) -> None:
        self.store.put(table, key, value)

    def invoke(self, name: str, *args: Any) -> Any:
        return self.store.invoke(SOURCES[name], *args)


class NativeSide(LocalSide):
    """Compiled code in this process. A budget of 1 makes it yield wherever it can."""

    def __init__(self, budget: int) -> None:
        super().__init__()
        self.runner = Runner(self.store, budget)

    def invoke(self, name: str, *args: Any) -> Any:
        return self.runner.run(_compiled(name), *args)


class ServerSide:
    """A tenant of a running server, with the whole library installed."""

    def __init__(self, client: Client) -> None:
        self.client = client
        for source in SOURCES.values():
            client.install(source)

    def put(self, key: bytes, value: bytes, table: int) -> None:
        self.client.put(key, value, table=table)

    def invoke(self, name: str, *args: Any) -> Any:
        return self.client.invoke(name, *args)


def fails_with(error: ExtensionError, action: Callable[[], Any], code: int = 0) -> None:
    """Check that an invoke ends with this error, and this code of the extension's own."""
    with pytest.raises(ExtensionRuntimeError) as raised:
        action()
    if isinstance(raised.value, ExtensionFault):
        assert raised.value.error == error
    else:
        assert str(raised.value).endswith(error_message("", error, 0).partition(": ")[2])
    assert raised.value.code == code


def word(number: int) -> bytes:
    """A key or value: 8 bytes, little-endian."""
    return number.to_bytes(8, "little")


# --- small ones -------------------------------------------------------------------------------------------------------


def check_get_and_put(side: Side) -> None:
    side.invoke("put", 1, b"dog", b"a canine")
    assert side.invoke("get", 1, b"dog") == b"a canine"
    side.invoke("put", 1, b"dog", b"")
    assert side.invoke("get", 1, b"dog") == b""
    fails_with(ExtensionError.RAISED, lambda: side.invoke("get", 2, b"dog"), 1)
    fails_with(ExtensionError.KEY, lambda: side.invoke("put", 1, b"", b""))


def check_aggregate(side: Side) -> None:
    keys = [b"agg%03d" % i for i in range(100)]
    values = [random.Random(5).getrandbits(64) for _ in keys]
    for key, value in zip(keys, values, strict=True):
        side.put(key, word(value) + b"more", 1)
    assert side.invoke("aggregate", 1, 6, b"".join(keys)) == sum(values) % 2**64
    assert side.invoke("aggregate", 1, 6, keys[7] + b"agg999" + keys[7]) == 2 * values[7] % 2**64
    assert side.invoke("aggregate", 1, 6, b"") == 0
    fails_with(ExtensionError.RAISED, lambda: side.invoke("aggregate", 1, 6, b"agg00"), 1)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("aggregate", 1, 0, b"agg000"), 1)


def check_scan(side: Side) -> None:
    for i in range(300):
        side.put(word(i), word(i * 7 % 300), 2)
    assert side.invoke("scan", 2, 5, 0) == 5
    assert side.invoke("scan", 2, 5, 250) == 5 * pow(7, 250, 300) % 300
    side.put(word(1000), word(1001), 2)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("scan", 2, 1000, 2), 1)


def check_long(side: Side) -> None:
    for i in range(0, 130, 2):
        side.put(word(50 + i), b"x" * i, 3)
    assert side.invoke("long", 3, 50) == sum(range(0, 128, 2))


def check_err(side: Side) -> None:
    fails_with(ExtensionError.RAISED, lambda: side.invoke("err", 2**64 - 1), 2**64 - 1)
    fails_with(ExtensionError.ASSERTION, lambda: side.invoke("err", 0))


def check_digests(side: Side) -> None:
    generator = random.Random(11)
    edges = [0, 1, 54, 55, 56, 57, 63, 64, 65, 118, 119, 120, 127, 128, 129]
    for length in [*edges, *(generator.randrange(1300) for _ in range(12))]:
        value = generator.randbytes(length)
        side.put(b"digest", value, 4)
        assert side.invoke("md5", 4, b"digest") == hashlib.md5(value).digest()
        assert side.invoke("sha256", 4, b"digest") == hashlib.sha256(value).digest()
    fails_with(ExtensionError.RAISED, lambda: side.invoke("md5", 4, b"nothing"), 1)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("sha256", 4, b"nothing"), 1)


# --- TAO --------------------------------------------------------------------------------------------------------------

Association = tuple[int, int, bytes]  # id2, time, data
FOREVER = 2**64 - 1
REPLY_BYTES_MAX = 1408


def associations(packed: bytes) -> list[Association]:
    """The records of a reply."""
    found, at = [], 0
    while at < len(packed):
        id2, time, length = struct.unpack_from("<QQH", packed, at)
        found.append((id2, time, packed[at + 18 : at + 18 + length]))
        at += 18 + length
    assert at == len(packed)
    return found


class ModelList:
    """What an association list must do."""

    def __init__(self) -> None:
        self.records: list[Association] = []

    def add(self, id2: int, time: int, data: bytes) -> bool:
        is_new = not self.delete(id2)
        place = next((i for i, record in enumerate(self.records) if record[1] <= time), len(self.records))
        self.records.insert(place, (id2, time, data))
        return is_new

    def delete(self, id2: int) -> bool:
        before = len(self.records)
        self.records = [record for record in self.records if record[0] != id2]
        return len(self.records) < before

    def range(self, position: int, limit: int, high: int = FOREVER, low: int = 0) -> list[Association]:
        found, size = [], 0
        for record in [r for r in self.records if low <= r[1] <= high][position:]:
            size += 18 + len(record[2])
            if len(found) == limit or size > REPLY_BYTES_MAX:
                break
            found.append(record)
        return found


def read_list(side: Side, id1: int, atype: int) -> list[Association]:
    """A whole list, reply by reply."""
    whole: list[Association] = []
    while part := associations(side.invoke("assoc_range", id1, atype, len(whole), 1000)):
        whole += part
    return whole


def check_objects(side: Side) -> None:
    first = side.invoke("obj_add", 3, b"Alice")
    second = side.invoke("obj_add", 4, b"")
    assert second == first + 1
    assert side.invoke("obj_get", first) == word(3) + b"Alice"
    assert side.invoke("obj_get", second) == word(4)
    assert side.invoke("obj_update", first, b"Bob") is True
    assert side.invoke("obj_get", first) == word(3) + b"Bob"
    assert side.invoke("obj_delete", first) is True
    assert side.invoke("obj_delete", first) is False
    assert side.invoke("obj_update", first, b"Carol") is False
    assert side.invoke("obj_get", first) == b""
    assert side.invoke("obj_add", 3, b"Dave") == second + 1


def check_associations(side: Side, id1: int = 1) -> None:
    assert side.invoke("assoc_count", id1, 2) == 0
    assert side.invoke("assoc_range", id1, 2, 0, 10) == b""
    assert side.invoke("assoc_delete", id1, 2, 5) is False
    assert side.invoke("assoc_add", id1, 2, 5, 100, b"five") is True
    assert side.invoke("assoc_add", id1, 2, 6, 300, b"") is True
    assert side.invoke("assoc_add", id1, 2, 7, 200, b"seven") is True
    assert side.invoke("assoc_add", id1, 3, 7, 50, b"another type") is True
    newest_first = [(6, 300, b""), (7, 200, b"seven"), (5, 100, b"five")]
    assert associations(side.invoke("assoc_range", id1, 2, 0, 10)) == newest_first
    assert associations(side.invoke("assoc_range", id1, 2, 1, 1)) == newest_first[1:2]
    assert side.invoke("assoc_range", id1, 2, 3, 1) == b""
    assert associations(side.invoke("assoc_time_range", id1, 2, 200, 100, 10)) == newest_first[1:]
    assert associations(side.invoke("assoc_time_range", id1, 2, 200, 100, 1)) == newest_first[1:2]
    assert side.invoke("assoc_time_range", id1, 2, 99, 0, 10) == b""
    assert associations(side.invoke("assoc_get", id1, 2, word(5) + word(6) + word(9), FOREVER, 0)) == [
        newest_first[0], newest_first[2],
    ]  # fmt: skip
    assert associations(side.invoke("assoc_get", id1, 2, word(5) + word(6), 299, 0)) == newest_first[2:]
    assert side.invoke("assoc_get", id1, 2, b"", FOREVER, 0) == b""
    assert side.invoke("assoc_add", id1, 2, 5, 400, b"5") is False
    assert associations(side.invoke("assoc_range", id1, 2, 0, 1)) == [(5, 400, b"5")]
    assert side.invoke("assoc_count", id1, 2) == 3
    assert side.invoke("assoc_delete", id1, 2, 7) is True
    assert side.invoke("assoc_count", id1, 2) == 2
    assert side.invoke("assoc_count", id1, 3) == 1
    for id2 in (5, 6):
        assert side.invoke("assoc_delete", id1, 2, id2) is True
    assert side.invoke("assoc_range", id1, 2, 0, 10) == b""
    assert side.invoke("assoc_add", id1, 2, 8, 1, b"again") is True
    assert associations(side.invoke("assoc_range", id1, 2, 0, 10)) == [(8, 1, b"again")]
    fails_with(ExtensionError.RAISED, lambda: side.invoke("assoc_add", id1, 2, 9, 1, b"x" * 256), 1)


def check_long_list(side: Side, steps: int, seed: int, id1: int) -> None:
    """Random changes of a list of many pages, compared with the model all along."""
    generator = random.Random(seed)
    model = ModelList()
    for step in range(steps):
        id2 = generator.randrange(steps)
        if generator.random() < 0.8:
            time = generator.randrange(1, 40) if step % 2 else step + 40  # many equal times, and ever newer ones
            data = generator.randbytes(generator.choice((0, 0, 10, 100, 255)))
            assert side.invoke("assoc_add", id1, 9, id2, time, data) == model.add(id2, time, data)
        else:
            assert side.invoke("assoc_delete", id1, 9, id2) == model.delete(id2)
        if step % 10 == 0:
            position, limit = generator.randrange(len(model.records) + 2), generator.randrange(30)
            high, low = generator.randrange(steps + 80), generator.randrange(60)
            found = side.invoke("assoc_range", id1, 9, position, limit)
            assert associations(found) == model.range(position, limit)
            found = side.invoke("assoc_time_range", id1, 9, high, low, limit)
            assert associations(found) == model.range(0, limit, high, low)
    assert side.invoke("assoc_count", id1, 9) == len(model.records)
    assert read_list(side, id1, 9) == model.records
    for record in model.records[::7]:
        assert associations(side.invoke("assoc_get", id1, 9, word(record[0]), FOREVER, 0)) == [record]


# --- decision trees ---------------------------------------------------------------------------------------------------


def check_trees(side: Side, table: str, every: int) -> None:
    """Predictions equal scikit-learn's, on each ``every``-th row."""
    tree, forest, rows = forest_train.train(table)
    model = 77
    side.put(word(model), forest_train.pack_tree(tree), 48)
    for key, value in forest_train.pack_forest(forest, model):
        side.put(key, value, 49)
    rows = rows[::every]
    packed = [forest_train.pack_row(row) for row in rows]
    assert [side.invoke("tree", model, row) for row in packed] == tree.predict(rows).tolist()
    assert [side.invoke("forest", model, row) for row in packed] == forest.predict(rows).tolist()
    fails_with(ExtensionError.RAISED, lambda: side.invoke("tree", model + 1, packed[0]), 1)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("forest", model + 1, packed[0]), 1)
    fails_with(ExtensionError.INDEX, lambda: side.invoke("tree", model, packed[0][:8]))


# --- transfer ---------------------------------------------------------------------------------------------------------


def check_transfer(side: Side) -> None:
    assert side.invoke("account_open", 1, 100) is True
    assert side.invoke("account_open", 2, 50) is True
    assert side.invoke("account_open", 1, 7) is False
    assert side.invoke("transfer", 1, 2, 30) is True
    assert [side.invoke("account_balance", account) for account in (1, 2)] == [70, 80]
    assert side.invoke("transfer", 1, 2, 71) is False
    assert side.invoke("transfer", 2, 1, 80) is True
    assert side.invoke("transfer", 1, 2, 150) is True
    assert [side.invoke("account_balance", account) for account in (1, 2)] == [0, 150]
    fails_with(ExtensionError.RAISED, lambda: side.invoke("transfer", 1, 9, 0), 1)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("transfer", 9, 1, 0), 1)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("transfer", 1, 1, 0), 2)
    fails_with(ExtensionError.RAISED, lambda: side.invoke("account_balance", 9), 1)
