"""The tier: gets answered by the XDP program, as the worker answers them. By BPF_PROG_TEST_RUN: nothing is attached or sent."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import UDP, IPOption_NOP
from scapy.layers.l2 import Ether
from splinter_bench.process import pinned

from splinter import limits, wire
from splinter.errors import Status
from splinter.net import netns
from splinter.net.bpf import BpfRefusedError, Code, load, syscall
from splinter.net.lab import SERVER_DEVICE, Lab
from splinter.net.tenants import TENANT_REMOVING
from splinter.net.tier import WINDOW_UNITS, forms
from splinter.net.xdp import Verdict, XdpProgram, program
from splinter.store.commits import VERSION_VOID
from splinter.store.epochs import EPOCH_OFFLINE, epoch_leave, epoch_oldest
from splinter.store.layout import CPU_BYTES
from tests.support.epochs import is_safe, retire_stamp
from tests.support.large import put_large
from tests.support.tier_program import TENANT_ID, TOKEN, TierProgram, frame, get, is_as_the_worker_s, is_left
from tests.support.xdp_runs import Action

pytestmark = pytest.mark.xdp

VALUE_BYTES_MAX = limits.PACKET_BODY_BYTES_MAX
GROWTH = wire.KERNEL_GROWTH_BYTES


@pytest.fixture(scope="module")
def loaded(lab: Lab) -> Iterator[TierProgram]:
    with netns.inside(lab.server.namespace), TierProgram() as program:
        assert program.program.tier_off == ""
        yield program


@pytest.fixture
def tier(loaded: TierProgram) -> TierProgram:
    loaded.tier["takes_partial"] = 0
    loaded.set_packet_bytes(limits.UDP_PAYLOAD_BYTES_MAX)
    loaded.work[:] = 0
    loaded.tier["window_units"] = WINDOW_UNITS
    return loaded


@pytest.fixture
def rng() -> random.Random:
    return random.Random(23)


@pytest.mark.parametrize("key_bytes", range(1, 256))
def test_every_key_length_hits_and_misses(tier: TierProgram, rng: random.Random, key_bytes: int) -> None:
    key, other = rng.randbytes(key_bytes), rng.randbytes(key_bytes)
    table = rng.randrange(limits.TABLES_MAX)
    tier.store.put(TENANT_ID, table, key, rng.randbytes(100))
    is_as_the_worker_s(tier, frame(get(key, table=table)), Verdict.KERNEL_HIT)
    missing = next(one for one in (other, b"\1" * key_bytes, b"\2" * key_bytes) if one != key)
    is_as_the_worker_s(tier, frame(get(missing, table=table)), Verdict.KERNEL_MISS)


@pytest.mark.parametrize("key_bytes", [1, 2, 8, 31, 32, 33, 255])
@pytest.mark.parametrize("byte", [0x00, 0xFF])
def test_bytes_that_are_all_alike_are_as_good_as_others(tier: TierProgram, key_bytes: int, byte: int) -> None:
    """All sums of them are 0, in ones' complement."""
    key, value = bytes([byte]) * key_bytes, bytes([byte]) * 40
    is_as_the_worker_s(tier, frame(get(key, table=2)), Verdict.KERNEL_MISS)
    tier.store.put(TENANT_ID, 2, key, value)
    for padding in (b"", bytes([byte]) * 40):
        is_as_the_worker_s(tier, frame(get(key, padding, table=2)), Verdict.KERNEL_HIT)


@pytest.mark.parametrize("key_bytes", [1, 7, 8, 30])
@pytest.mark.parametrize("value_bytes", [*range(70), 100, 255, 256, 1000, *range(VALUE_BYTES_MAX - 9, VALUE_BYTES_MAX + 1)])
def test_every_value_length_in_a_packet_that_is_padded(
    tier: TierProgram, rng: random.Random, key_bytes: int, value_bytes: int
) -> None:
    key = rng.randbytes(key_bytes)
    tier.store.put(TENANT_ID, 0, key, rng.randbytes(value_bytes))
    padding = rng.randbytes(max(0, value_bytes - key_bytes))
    is_as_the_worker_s(tier, frame(get(key, padding)), Verdict.KERNEL_HIT)
    is_as_the_worker_s(tier, frame(get(key, padding), tag=9), Verdict.KERNEL_HIT)


@pytest.mark.parametrize("growth", [GROWTH - 1, GROWTH])
def test_a_reply_grows_by_as_much_as_clients_are_told(tier: TierProgram, rng: random.Random, growth: int) -> None:
    key = rng.randbytes(30)
    tier.store.put(TENANT_ID, 0, key, rng.randbytes(30 + growth))
    is_as_the_worker_s(tier, frame(get(key)), Verdict.KERNEL_HIT)


def test_what_does_not_fit_is_left_to_the_worker(tier: TierProgram, rng: random.Random) -> None:
    key = rng.randbytes(30)
    tier.store.put(TENANT_ID, 0, key, rng.randbytes(1000))
    is_left(tier, frame(get(key)), Verdict.OVER_SIZE)  # no room in front of the packet
    padding = bytes(1000)
    is_left(tier, frame(get(key, padding, status=100)), Verdict.OVER_SIZE)  # the client's way back takes 800 bytes
    is_as_the_worker_s(tier, frame(get(key, padding, status=133)), Verdict.KERNEL_HIT)  # 1064
    is_left(tier, frame(get(key, padding, status=132)), Verdict.OVER_SIZE)  # 1056, and header and value have 1064
    tier.set_packet_bytes(1063)
    is_left(tier, frame(get(key, padding)), Verdict.OVER_SIZE)
    tier.set_packet_bytes(1064)
    is_as_the_worker_s(tier, frame(get(key, padding)), Verdict.KERNEL_HIT)
    tier.store.put(TENANT_ID, 0, key, rng.randbytes(VALUE_BYTES_MAX + 1))  # of two fragments
    tier.set_packet_bytes(limits.UDP_PAYLOAD_BYTES_MAX)
    is_left(tier, frame(get(key, bytes(VALUE_BYTES_MAX - 30))), Verdict.OVER_SIZE)
    tier.store.put(TENANT_ID, 0, key, rng.randbytes(limits.VALUE_BYTES_MAX))
    is_left(tier, frame(get(key, bytes(VALUE_BYTES_MAX - 30))), Verdict.OVER_SIZE)


def test_a_value_in_parts_is_left_to_the_worker(tier: TierProgram, rng: random.Random) -> None:
    put_large(tier.store, TENANT_ID, 0, b"key", 5, rng.randbytes(limits.VALUE_BYTES_MAX + 1))
    for padding in (b"", bytes(16), bytes(1000)):
        is_left(tier, frame(get(b"key", padding)), Verdict.OVER_SIZE)
    tier.store.put(TENANT_ID, 0, b"key", rng.randbytes(16))
    is_as_the_worker_s(tier, frame(get(b"key", bytes(16))), Verdict.KERNEL_HIT)


def test_a_client_with_the_smallest_packets_gets_what_fits_them(tier: TierProgram, rng: random.Random) -> None:
    most = limits.UDP_PAYLOAD_BYTES_MIN - 64
    tier.store.put(TENANT_ID, 0, b"k", rng.randbytes(most - 4))
    is_as_the_worker_s(tier, frame(get(b"k", bytes(most), status=1)), Verdict.KERNEL_HIT)
    tier.store.put(TENANT_ID, 0, b"k", rng.randbytes(most + 1))
    is_left(tier, frame(get(b"k", bytes(most), status=1)), Verdict.OVER_SIZE)


NOT_PLAIN = {
    "a version to read from": {"object_version": 2},
    "a further fragment": {"fragment_index": 1},
    "no key": {"key_length": 0, "value_length": 3},
    "a system's table": {"table": limits.TABLES_MAX},
    "extensions": {"table": limits.TABLE_EXTENSIONS},
    "clients' results": {"table": limits.TABLE_CLIENTS},
}
MISTAKES = {
    "another version of the protocol": ({"version": 2}, Verdict.BAD_VERSION),
    "lengths that add up to less": ({"key_length": 2}, Verdict.BAD_LENGTH),
    "lengths that add up to more": ({"value_length": 1}, Verdict.BAD_LENGTH),
    "a value as long as the world": ({"value_length": 0xFFFFFFFF}, Verdict.BAD_LENGTH),
    "a key as long as the world": ({"key_length": 0xFFFF}, Verdict.BAD_LENGTH),
}


@pytest.mark.parametrize("fields", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_worker(tier: TierProgram, fields: dict[str, int]) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    is_left(tier, frame(get(b"key", **fields)), Verdict.OVER_PLAIN)


@pytest.mark.parametrize(("fields", "note"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_the_worker_s_to_answer(tier: TierProgram, fields: dict[str, int], note: Verdict) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    is_left(tier, frame(get(b"key", **fields)), Verdict.OVER_PLAIN, note)


def test_a_key_that_is_too_long_is_the_worker_s_to_refuse(tier: TierProgram) -> None:
    is_left(tier, frame(get(bytes(256))), Verdict.OVER_PLAIN)


def test_a_packet_longer_than_any_is_the_worker_s_to_refuse(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    is_as_the_worker_s(tier, frame(get(b"key", bytes(VALUE_BYTES_MAX - 3))), Verdict.KERNEL_HIT)
    is_left(tier, frame(get(b"key", bytes(VALUE_BYTES_MAX - 2))), Verdict.OVER_PLAIN)


def test_options_of_ip_are_left_to_the_worker_who_takes_none(tier: TierProgram) -> None:
    packet = frame(get(b"key"), options=[IPOption_NOP()])
    is_left(tier, packet, Verdict.OVER_PLAIN)
    assert tier.ask_worker(packet) is None


@pytest.mark.parametrize("opcode", [code for code in wire.Opcode if code not in (wire.Opcode.GET, wire.Opcode.INVOKE)])
def test_all_other_requests_are_the_worker_s(tier: TierProgram, opcode: wire.Opcode) -> None:
    is_left(tier, frame(get(b"key", opcode=opcode)))


def test_an_invoke_of_what_is_not_installed_is_the_worker_s_to_refuse(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"name", b"of no extension")
    is_left(tier, frame(get(b"name", opcode=wire.Opcode.INVOKE)), Verdict.OVER_INVOKE)


def test_every_flipped_bit_is_found(tier: TierProgram) -> None:
    """Bits that the program needs to know whose request it is are judged before; no flipped bit gets an answer."""
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    packet = frame(get(b"key", b"padding"))
    tier.refuses_each_flipped_bit(packet)


@pytest.mark.parametrize("size", range(1, 40))
def test_damage_in_each_length_of_packet_is_found(tier: TierProgram, rng: random.Random, size: int) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    packet = bytearray(frame(get(b"key", rng.randbytes(size))))
    packet[-1] ^= 0x10
    is_left(tier, bytes(packet), Verdict.OVER_DAMAGED)


def test_the_sum_of_the_pseudo_header_is_taken_where_the_worker_takes_it(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    seen = Ether(frame(get(b"key")))
    blank = Ether(bytes(seen))
    blank[UDP].remove_payload()
    length = seen[UDP].len
    pseudo = sum(int.from_bytes(part, "big") for part in (
        bytes(seen)[26:28], bytes(seen)[28:30], bytes(seen)[30:32], bytes(seen)[32:34])) + 17 + length  # fmt: skip
    seen[UDP].chksum = (pseudo & 0xFFFF) + (pseudo >> 16)
    packet = bytes(seen)
    is_left(tier, packet, Verdict.OVER_DAMAGED)
    assert tier.ask_worker(packet) is None
    tier.tier["takes_partial"] = 1
    is_as_the_worker_s(tier, packet, Verdict.KERNEL_HIT)
    whole = bytearray(frame(get(b"key")))
    is_as_the_worker_s(tier, bytes(whole), Verdict.KERNEL_HIT)
    whole[-1] ^= 1
    is_left(tier, bytes(whole), Verdict.OVER_DAMAGED)
    assert tier.ask_worker(bytes(whole)) is None


def test_no_checksum_is_none(tier: TierProgram) -> None:
    seen = Ether(frame(get(b"key")))
    seen[UDP].chksum = 0
    for takes_partial in (0, 1):
        tier.tier["takes_partial"] = takes_partial
        is_left(tier, bytes(seen), Verdict.OVER_DAMAGED)


def test_what_follows_the_datagram_in_the_frame_is_not_of_the_reply(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"v")
    is_as_the_worker_s(tier, frame(get(b"key"), trailer=b"\xaa" * 40), Verdict.KERNEL_HIT)


def test_a_commit_that_is_not_counted_is_left_to_the_worker(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    slot = find_slot(tier, b"key")
    version = int(slot.view("<u8")[0])
    for unclear in (version + 1, VERSION_VOID, 0):
        slot.view("<u8")[0] = unclear
        is_left(tier, frame(get(b"key")), Verdict.OVER_COMMIT)
    slot.view("<u8")[0] = version
    is_as_the_worker_s(tier, frame(get(b"key")), Verdict.KERNEL_HIT)


def test_a_miss_during_a_deletion_is_left_to_the_worker(tier: TierProgram) -> None:
    account = tier.store.accounts[TENANT_ID]
    deleted = int(account["deleted"])
    account["deleted"] = account["sequence"] + 1
    is_left(tier, frame(get(b"nosuch")), Verdict.OVER_COMMIT)
    account["deleted"] = account["sequence"]
    is_as_the_worker_s(tier, frame(get(b"nosuch")), Verdict.KERNEL_MISS)
    account["deleted"] = deleted


def test_a_deleted_object_is_found_no_more(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"gone", b"value")
    tier.store.delete(TENANT_ID, 0, b"gone")
    is_as_the_worker_s(tier, frame(get(b"gone")), Verdict.KERNEL_MISS)


def test_nobody_finds_another_tenant_s_or_table_s_object(tier: TierProgram) -> None:
    tier.store.open_tenant(TENANT_ID + 1)
    tier.store.put(TENANT_ID + 1, 0, b"whose", b"hers")
    tier.store.put(TENANT_ID, 1, b"whose", b"of table 1")
    is_as_the_worker_s(tier, frame(get(b"whose")), Verdict.KERNEL_MISS)
    is_as_the_worker_s(tier, frame(get(b"whose", table=1)), Verdict.KERNEL_HIT)


def test_strangers_and_removed_tenants_are_dropped_as_ever(tier: TierProgram) -> None:
    ran = tier.run(frame(get(b"key", token=TOKEN ^ 1)))
    assert (ran.action, ran.verdicts) == (Action.DROP, {Verdict.WRONG_TOKEN})
    flags = int(tier.tenants["flags"][TENANT_ID])
    tier.tenants["flags"][TENANT_ID] = TENANT_REMOVING
    ran = tier.run(frame(get(b"key")))
    assert (ran.action, ran.verdicts) == (Action.DROP, {Verdict.UNKNOWN_TENANT})
    tier.tenants["flags"][TENANT_ID] = flags


def test_both_tokens_are_good_while_one_is_being_changed(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    tier.tenants["former_token"][TENANT_ID] = 99
    is_as_the_worker_s(tier, frame(get(b"key", token=99)), Verdict.KERNEL_HIT)
    tier.tenants["former_token"][TENANT_ID] = 0


def test_every_object_of_a_crowded_index_is_found(tier: TierProgram, rng: random.Random) -> None:
    """Buckets overflow: chains are walked as the worker walks them."""
    keys = [f"crowd {number}".encode() for number in range(60_000)]
    tier.store.open_tenant(TENANT_ID + 2)
    token = 12345
    tier.tenants[TENANT_ID + 2] = tier.tenants[TENANT_ID]
    tier.tenants["token"][TENANT_ID + 2] = token
    for key in keys:
        tier.store.put(TENANT_ID + 2, 0, key, key)
    assert tier.store.usage().overflow_used > 0
    for key in rng.sample(keys, 2_000):
        is_as_the_worker_s(tier, frame(get(key, tenant=TENANT_ID + 2, token=token)), Verdict.KERNEL_HIT)
    for key in keys:
        tier.store.delete(TENANT_ID + 2, 0, key)


def test_a_packet_under_way_holds_back_reclamation(tier: TierProgram) -> None:
    """The first and the last CPU's cell; the others are alike."""
    store = tier.store
    assert tier.cpus.itemsize == CPU_BYTES and len(tier.cpus) == store.descriptor["cpus"]
    epoch_leave(store.address, 0)  # the worker
    for cpu in (0, len(tier.cpus) - 1):
        now = int(store.descriptor["epoch"])
        tier.cpus["epoch"][cpu] = now
        stamp = retire_stamp(store)
        assert not is_safe(store, stamp)
        assert epoch_oldest(store.address) == now
        tier.cpus["epoch"][cpu] = EPOCH_OFFLINE
        assert is_safe(store, stamp)


def test_a_packet_that_meets_another_one_on_its_cpu_is_left_to_the_worker(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    tier.cpus["epoch"] = 1  # as while another one is under way
    ran = None
    try:
        with pytest.raises(AssertionError):  # that all are offline
            ran = tier.run(frame(get(b"key")))
        assert ran is None
        assert (tier.cpus["epoch"] == 1).all()
    finally:
        tier.cpus["epoch"] = EPOCH_OFFLINE
    assert tier.program.counters()["over_cpu"] == 1


def test_work_is_counted_for_its_tenant(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", bytes(600))
    is_as_the_worker_s(tier, frame(get(b"key", bytes(600))), Verdict.KERNEL_HIT)
    is_as_the_worker_s(tier, frame(get(b"nosuch")), Verdict.KERNEL_MISS)
    work = tier.work[:, TENANT_ID]
    assert work["gets"].sum() == 2
    assert work["units"].sum() == 2 * 4 + (8 + 64 + 3 + 600 + 600) // 64 + (8 + 64 + 6 + 14) // 64
    assert tier.work["gets"].sum() == 2


def spend(tier: TierProgram, tenant: int, units: int) -> None:
    """As if so much had been done for a tenant, in the present window of each CPU."""
    tier.work["window"][:, tenant] = tier.cpus["window"]
    tier.work["spent"][:, tenant] += units
    tier.cpus["units"] += units


def test_a_tenant_beside_others_has_half_of_a_window(tier: TierProgram) -> None:
    tier.store.put(TENANT_ID, 0, b"key", b"value")
    tier.cpus["since_ns"] = time.monotonic_ns() + (1 << 40)  # no window ends
    tier.cpus["units"] = 0
    try:
        spend(tier, TENANT_ID, WINDOW_UNITS)
        is_as_the_worker_s(tier, frame(get(b"key")), Verdict.KERNEL_HIT)  # alone it has all of it
        spend(tier, TENANT_ID + 1, 1)
        is_left(tier, frame(get(b"key")), Verdict.OVER_SHARE)
        tier.work["spent"][:, TENANT_ID] = WINDOW_UNITS // 2
        with pinned(min(os.sched_getaffinity(0))):  # what the first one has spent is of one CPU
            is_as_the_worker_s(tier, frame(get(b"key")), Verdict.KERNEL_HIT)
            is_left(tier, frame(get(b"key")), Verdict.OVER_SHARE)
    finally:
        tier.cpus["since_ns"] = tier.cpus["jiffy"] = 0
    is_as_the_worker_s(tier, frame(get(b"key")), Verdict.KERNEL_HIT)  # in the next window


NEEDED = {"accounts", "store_state", *forms(1)}
REFUSED = "the kernel refused the program splinter: Invalid argument"


def test_a_program_that_the_kernel_refuses_is_loaded_without_its_tier(
    tier: TierProgram, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []

    def load_without_tier(code: Code, name: str) -> int:
        loads.append(len(code.instructions))
        if len(loads) == 1:
            raise BpfRefusedError(name, OSError(22, "Invalid argument"), "")
        return load(code, name)

    monkeypatch.setattr(program, "load", load_without_tier)
    given = {name: tier.program.map_fd(name) for name in NEEDED}
    with netns.inside(lab.server.namespace), served(given) as other:
        assert other.tier_off == REFUSED
        assert loads[1] < loads[0] / 2  # and the tier costs nothing that way


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_without_the_store_in_maps_there_is_no_tier(tier: TierProgram, lab: Lab, missing: str) -> None:
    given = {name: tier.program.map_fd(name) for name in NEEDED - {missing}}
    with netns.inside(lab.server.namespace), served(given) as other:
        assert other.tier_off == "the store is not in maps"


def test_other_machines_have_no_tier(tier: TierProgram, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setitem(syscall.NUMBERS, "aarch64", syscall.NUMBERS["x86_64"])
    with netns.inside(lab.server.namespace), served({}) as other:
        assert other.tier_off == "it is made for x86_64"


def served(given: dict[str, int]) -> XdpProgram:
    """Another program, of no store."""
    return XdpProgram(SERVER_DEVICE, port=7172, cores=1, queues=1, index_buckets=1, slabs=1, given=given)


def test_the_message_of_a_miss_is_the_one_that_the_program_knows() -> None:
    assert Status.NOT_FOUND.text == "no such object"


def find_slot(tier: TierProgram, key: bytes) -> np.ndarray:
    """The bytes of an object's header."""
    from splinter.store.operations import store_find
    from tests.support.requester import address_of

    at = store_find(tier.store.address, TENANT_ID, 0, address_of(key), len(key), 0)
    offset = at - tier.store.slabs_region.address
    return tier.store.slabs_region.array(np.dtype("u1"), 32, offset)
