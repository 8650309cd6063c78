"""Objects that a look-up meets and must pass over: of the same tag, and but for one thing of the same key.

Such a pair of keys is one in billions. So the index is made to lead to an object from where another key's entry would be.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from splinter.limits import SLAB_BYTES
from splinter.net import netns
from splinter.net.lab import Lab
from splinter.net.xdp import Verdict
from splinter.store.layout import BUCKET, ENTRY_TAG_SHIFT
from tests.support.tenants import write_tenant
from tests.support.tier_program import TENANT_ID, TierProgram, frame, get, without_flag
from tests.support.xdp_runs import Action

pytestmark = pytest.mark.xdp

Key = tuple[int, int, bytes]  # tenant, table, key

OTHER = 9
VALUE = b"another key's value"


@pytest.fixture(scope="module")
def tier(lab: Lab) -> Iterator[TierProgram]:
    with netns.inside(lab.server.namespace), TierProgram() as program:
        assert program.program.tier_off == ""
        write_tenant(program.tenants, OTHER, 0x1234)
        program.store.open_tenant(OTHER)
        yield program


@contextmanager
def led_to(tier: TierProgram, found: list[Key], wanted: Key) -> Iterator[None]:
    """The index with more entries: first in the bucket of ``wanted``, with its tag, come the objects of ``found``."""
    buckets = tier.store.index_region.array(BUCKET)
    leading = []
    bucket, tag = tier.place_of(*wanted)
    for key in found:
        at, its_tag = tier.place_of(*key)
        entry = next(int(entry) for entry in buckets[at]["entries"] if int(entry) >> ENTRY_TAG_SHIFT == its_tag)
        leading.append(tag << ENTRY_TAG_SHIFT | entry & (1 << ENTRY_TAG_SHIFT) - 1)
    entries = buckets[bucket]["entries"]
    before = entries.copy()
    held = [int(entry) for entry in before if entry]
    assert len(leading) + len(held) <= len(entries)
    entries[: len(leading) + len(held)] = leading + held
    try:
        yield
    finally:
        entries[:] = before


def is_missed(tier: TierProgram, wanted: Key) -> None:
    _, table, key = wanted
    ran = tier.run(frame(get(key, bytes(40), table=table)))
    assert (ran.action, ran.verdicts) == (Action.TX, {Verdict.KERNEL_MISS})
    assert without_flag(ran.packet) == tier.ask_worker(frame(get(key, bytes(40), table=table)))


@pytest.mark.parametrize("key_bytes", [1, 2, 3, 4, 7, 8, 9, 16, 17, 24, 25, 31, 32, 33, 40, 41, 63, 64, 65, 96, 97, 128, 255])
def test_every_byte_of_a_key_is_compared(tier: TierProgram, key_bytes: int) -> None:
    rng = random.Random(key_bytes)
    key = rng.randbytes(key_bytes)
    tier.store.put(TENANT_ID, 0, key, VALUE)
    for place in range(key_bytes):
        other = bytearray(key)
        other[place] ^= 1 << rng.randrange(8)
        wanted = (TENANT_ID, 0, bytes(other))
        with led_to(tier, [(TENANT_ID, 0, key)], wanted):
            is_missed(tier, wanted)
    tier.store.delete(TENANT_ID, 0, key)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ((OTHER, 0, b"key"), (TENANT_ID, 0, b"key")),
        ((TENANT_ID, 1, b"key"), (TENANT_ID, 0, b"key")),
        ((TENANT_ID, 256, b"key"), (TENANT_ID, 0, b"key")),
        ((TENANT_ID, 0, b"\0key"), (TENANT_ID, 0, b"key")),
        ((TENANT_ID, 0, b"k" * 40), (TENANT_ID, 0, b"k" * 39)),
    ],
    ids=["tenant", "table", "table's high byte", "length", "length in blocks"],
)
def test_all_of_an_identity_is_compared(tier: TierProgram, found: Key, wanted: Key) -> None:
    tier.store.put(*found, VALUE)
    with led_to(tier, [found], wanted):
        is_missed(tier, wanted)
    tier.store.delete(*found)


def test_an_object_behind_another_one_of_its_tag_is_found(tier: TierProgram) -> None:
    """Behind one, that is; behind two a worker looks."""
    others = [(TENANT_ID, 0, key) for key in (b"kez", b"kex")]
    wanted = (TENANT_ID, 0, b"key")
    for key in (*others, wanted):
        tier.store.put(*key, bytes(reversed(key[2])))
    packet = frame(get(wanted[2]))
    with led_to(tier, others[:1], wanted):
        ran = tier.run(packet)
        assert (ran.action, ran.verdicts) == (Action.TX, {Verdict.KERNEL_HIT})
        assert without_flag(ran.packet) == tier.ask_worker(packet)
        assert ran.packet.endswith(b"yek")
    with led_to(tier, others, wanted):
        assert tier.run(packet).verdicts == {Verdict.OVER_COMMIT, Verdict.NO_SOCKET}
        assert tier.ask_worker(packet).endswith(b"yek")  # type: ignore[union-attr]
    for key in (*others, wanted):
        tier.store.delete(*key)


@pytest.mark.parametrize("value_bytes", [32 - 8, 96 - 8, 224 - 8])
def test_an_object_may_end_where_its_slab_ends(tier: TierProgram, value_bytes: int) -> None:
    """Objects that fill their slots, as many as a slab of their size has: all are found, so the one in its last slot is."""
    slot_bytes = 32 + 8 + value_bytes
    keys = [number.to_bytes(8, "little") for number in range(2 * SLAB_BYTES // slot_bytes)]
    for key in keys:
        tier.store.put(TENANT_ID, 3, key, key * (value_bytes // 8))
    for key in keys:
        ran = tier.run(frame(get(key, bytes(value_bytes), table=3)))
        assert ran.verdicts == {Verdict.KERNEL_HIT}
        assert ran.packet.endswith(key * (value_bytes // 8))
    for key in keys:
        tier.store.delete(TENANT_ID, 3, key)
