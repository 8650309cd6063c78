"""The tier: invokes answered by extensions' programs, byte for byte as the worker answers them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from scapy.layers.inet import UDP, IPOption_NOP
from scapy.layers.l2 import Ether

from splinter import limits, wire
from splinter.errors import Status
from splinter.ext.compile import CompiledExtension
from splinter.net import netns
from splinter.net.lab import Lab
from splinter.net.tier import WINDOW_UNITS
from splinter.net.xdp import Verdict
from tests.support.kernel_side import for_kernel
from tests.support.tier_program import (
    HEADER_BYTES,
    TENANT_ID,
    TOKEN,
    TierProgram,
    frame,
    get,
    is_as_the_worker_s,
    is_left,
)  # fmt: skip
from tests.support.xdp_runs import Action

pytestmark = pytest.mark.xdp

TABLE = 1
WORD = 8
BODY_BYTES_MAX = limits.PACKET_BODY_BYTES_MAX  # name, arguments and padding; or a result
GROWTH = wire.KERNEL_GROWTH_BYTES
UDP_AT, IP_AT = 34, 14
_sequences = itertools.count(1)  # a request that was refused is refused again, whatever it asks for then
SOURCES = {
    "number": "@extension\ndef number(db: Store, b: bytes) -> u64:\n"
              "    return len(b) * 257 + (0 if len(b) == 0 else b[len(b) - 1])\n",
    "nothing": "@extension\ndef nothing(db: Store, b: bytes) -> None:\n    v = db.get(1, b[0:8])\n",
    "echo": "@extension\ndef echo(db: Store, n: u64, b: bytes) -> bytes:\n    return b[n:]\n",
    "stored": "@extension\ndef stored(db: Store, x: u64) -> bytes:\n    v = db.get(1, x)\n    return b'' if v is None else v\n",
    "part": "@extension\ndef part(db: Store, x: u64, a: u64, b: u64) -> bytes:\n    v = db.get(1, x)\n"
            "    return b'none at all' if v is None else v[a:b]\n",
    "built": "@extension\ndef built(db: Store, b: bytes) -> bytes:\n"
             "    out = buffer(2000)\n    out.append(b)\n    out.append(b)\n    return out\n",
    "fails": "@extension\ndef fails(db: Store, x: u64) -> u64:\n    assert x != 13\n    return x\n",
}  # fmt: skip


def compiled(name: str) -> CompiledExtension:
    return for_kernel(SOURCES[name])


@pytest.fixture(scope="module")
def loaded(lab: Lab) -> Iterator[TierProgram]:
    with netns.inside(lab.server.namespace), TierProgram() as program:
        assert program.program.tier_off == ""
        for slot, name in enumerate(SOURCES):
            program.install(compiled(name), slot)
        yield program


@pytest.fixture
def tier(loaded: TierProgram) -> TierProgram:
    loaded.tier["takes_partial"] = 0
    loaded.set_packet_bytes(limits.UDP_PAYLOAD_BYTES_MAX)
    loaded.tier["window_units"] = WINDOW_UNITS
    return loaded


@pytest.fixture
def rng() -> random.Random:
    return random.Random(29)


def payload(name: str, arguments: bytes, **fields: int) -> bytes:
    """A request to invoke an extension."""
    number = next(_sequences)
    told = {"opcode": wire.Opcode.INVOKE, "sequence": number, "acknowledged": number}
    return get(name.encode(), arguments, **{**told, **fields})


def asking(name: str, *args: object, padding: int = 0, **fields: int) -> bytes:
    """The same with arguments by their types, and bytes of nothing behind them."""
    return payload(name, compiled(name).signature.pack(args) + bytes(padding), **fields)


def is_run(tier: TierProgram, request: bytes, **options: object) -> bytes:
    """The program answers as the worker; returns the value."""
    return is_as_the_worker_s(tier, frame(request, **options), Verdict.KERNEL_RUN)  # type: ignore[arg-type]


def status_of(reply: bytes | None) -> int:
    assert reply is not None
    return bytes(Ether(reply)[UDP].payload)[wire.HEADER.offset("status")]


# --- lengths -------------------------------------------------------------------------------------------------------------


def test_arguments_of_every_length(tier: TierProgram, rng: random.Random) -> None:
    most = BODY_BYTES_MAX - len("number") - WORD
    for length in range(most + 1):
        content = rng.randbytes(length)
        told = is_run(tier, asking("number", content))
        assert compiled("number").signature.unpack(told) == length * 257 + (content[-1] if content else 0)
    is_left(tier, frame(asking("number", bytes(most)) + b"\0"), Verdict.OVER_PLAIN, Verdict.BAD_LENGTH)


def test_padding_of_every_length(tier: TierProgram) -> None:
    for padding in range(BODY_BYTES_MAX - len("number") - WORD - 3 + 1):
        assert is_run(tier, asking("number", b"abc", padding=padding)) == (3 * 257 + ord("c")).to_bytes(8, "little")


def test_results_of_every_length_that_fits_a_padded_packet(tier: TierProgram, rng: random.Random) -> None:
    for length in range(BODY_BYTES_MAX + 1):
        value = rng.randbytes(length)
        tier.store.put(TENANT_ID, TABLE, (5).to_bytes(8, "little"), value)
        padding = min(length, BODY_BYTES_MAX - len("stored") - WORD)
        assert is_run(tier, asking("stored", 5, padding=padding)) == value


def test_results_of_every_length_from_the_arguments(tier: TierProgram, rng: random.Random) -> None:
    """A result is copied to where the arguments begin, over them."""
    content = rng.randbytes(BODY_BYTES_MAX - len("echo") - 2 * WORD)
    for length in range(len(content) + 1):
        assert is_run(tier, asking("echo", 0, content[:length])) == content[:length]
        start = rng.randrange(length + 1)
        assert is_run(tier, asking("echo", start, content[:length])) == content[start:length]


def test_parts_of_objects_at_odd_and_even_places(tier: TierProgram, rng: random.Random) -> None:
    value = rng.randbytes(3000)
    tier.store.put(TENANT_ID, TABLE, (6).to_bytes(8, "little"), value)
    for _ in range(500):
        start, length = rng.randrange(len(value)), rng.choice((rng.randrange(40), rng.randrange(1200)))
        told = is_run(tier, asking("part", 6, start, start + length, padding=rng.randrange(length, 1300)))
        assert told == value[start : start + length]
    assert is_run(tier, asking("part", 7, 0, 0)) == b"none at all"


@pytest.mark.parametrize("length", range(0, 700, 7))
def test_results_that_are_built(tier: TierProgram, rng: random.Random, length: int) -> None:
    content = rng.randbytes(length)
    assert is_run(tier, asking("built", content, padding=min(length, BODY_BYTES_MAX - 5 - WORD - length))) == 2 * content


def test_nothing_is_a_result(tier: TierProgram) -> None:
    for padding in range(70):
        assert is_run(tier, asking("nothing", b"12345678", padding=padding)) == b""


@pytest.mark.parametrize("growth", [GROWTH - 1, GROWTH])
def test_a_result_grows_by_as_much_as_clients_are_told(tier: TierProgram, rng: random.Random, growth: int) -> None:
    value = rng.randbytes(len("stored") + WORD + growth)
    tier.store.put(TENANT_ID, TABLE, (5).to_bytes(8, "little"), value)
    assert is_run(tier, asking("stored", 5)) == value


def test_a_result_without_room_is_left_to_the_worker(tier: TierProgram, rng: random.Random) -> None:
    tier.store.put(TENANT_ID, TABLE, (5).to_bytes(8, "little"), rng.randbytes(1000))
    assert status_of(is_left(tier, frame(asking("stored", 5)), Verdict.OVER_SIZE)) == Status.OK
    padded = asking("stored", 5, padding=1000, status=132)
    assert status_of(is_left(tier, frame(padded), Verdict.OVER_SIZE)) == Status.REPLY_TOO_LARGE  # 1056, of 1064
    is_run(tier, asking("stored", 5, padding=1000, status=133))
    tier.set_packet_bytes(1063)
    assert status_of(is_left(tier, frame(asking("stored", 5, padding=1000)), Verdict.OVER_SIZE)) == Status.REPLY_TOO_LARGE
    tier.set_packet_bytes(1064)
    is_run(tier, asking("stored", 5, padding=1000))
    tier.set_packet_bytes(limits.UDP_PAYLOAD_BYTES_MAX)
    tier.store.put(TENANT_ID, TABLE, (5).to_bytes(8, "little"), rng.randbytes(BODY_BYTES_MAX + 1))
    assert status_of(is_left(tier, frame(asking("stored", 5, padding=1300)), Verdict.OVER_SIZE)) == Status.REPLY_TOO_LARGE


# --- frames --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [*range(40), 100, 255, 256, 1000, 1001])
def test_frames_with_a_tag_and_with_what_follows_the_datagram(tier: TierProgram, rng: random.Random, length: int) -> None:
    content = rng.randbytes(length)
    for name, args in (("number", (content,)), ("echo", (length // 2, content)), ("nothing", (bytes(8),))):
        for options in ({"tag": 9}, {"trailer": rng.randbytes(40)}, {"tag": 4095, "trailer": b"\xaa"}):
            is_run(tier, asking(name, *args), **options)


def test_whatever_the_client_says_of_itself_is_repeated(tier: TierProgram, rng: random.Random) -> None:
    for _ in range(300):
        fields = {
            "table": rng.randrange(limits.TABLES_MAX), "client": rng.randrange(1 << 64), "sequence": rng.randrange(1 << 64),
            "acknowledged": rng.randrange(1 << 64), "fragment_count": rng.randrange(1 << 16),
            "flags": rng.choice((0, 2, 4, 0x7E)), "status": rng.choice((0, 133, rng.randrange(100, 256))),
        }  # fmt: skip
        is_run(tier, asking("number", rng.randbytes(rng.randrange(200)), **fields))
        is_run(tier, asking("echo", 0, rng.randbytes(rng.randrange(200)), **fields))


def test_options_of_ip_are_left_to_the_worker_who_takes_none(tier: TierProgram) -> None:
    assert is_left(tier, frame(asking("number", b"abc"), options=[IPOption_NOP()]), Verdict.OVER_PLAIN) is None


@pytest.mark.parametrize("length", [0, 1, 8, 9])
def test_every_flipped_bit_is_found(tier: TierProgram, rng: random.Random, length: int) -> None:
    tier.refuses_each_flipped_bit(frame(asking("number", rng.randbytes(length))))


def test_damage_anywhere_in_arguments_of_any_length_is_found(tier: TierProgram, rng: random.Random) -> None:
    begin = UDP_AT + 8 + HEADER_BYTES + len("number")
    for length in (*range(1, 80), 255, 256, 257, 1000, 1001, BODY_BYTES_MAX - len("number") - WORD):
        packet = frame(asking("number", rng.randbytes(length)))
        for at in {len(packet) - 1, begin, begin + WORD, rng.randrange(begin, len(packet))}:
            damaged = bytearray(packet)
            damaged[at] ^= 1 << rng.randrange(8)
            assert is_left(tier, bytes(damaged), Verdict.OVER_DAMAGED) is None


def test_words_that_changed_places_are_not_seen_by_either(tier: TierProgram) -> None:
    """The sum of the Internet does not see it: whoever it is, both are the same."""
    packet = bytearray(frame(asking("echo", 0, b"abcdefgh")))
    packet[-4:] = packet[-2:] + packet[-4:-2]
    assert is_as_the_worker_s(tier, bytes(packet), Verdict.KERNEL_RUN) == b"abcdghef"


def test_no_checksum_and_one_of_the_pseudo_header_alone(tier: TierProgram) -> None:
    seen = Ether(frame(asking("number", b"abc")))
    pseudo = sum(int.from_bytes(bytes(seen)[at : at + 2], "big") for at in range(26, 34, 2)) + 17 + seen[UDP].len
    for takes_partial in (0, 1):
        tier.tier["takes_partial"] = takes_partial
        seen[UDP].chksum = 0
        assert is_left(tier, bytes(seen), Verdict.OVER_DAMAGED) is None
        seen[UDP].chksum = (pseudo & 0xFFFF) + (pseudo >> 16)
        if takes_partial:
            is_as_the_worker_s(tier, bytes(seen), Verdict.KERNEL_RUN)
        else:
            assert is_left(tier, bytes(seen), Verdict.OVER_DAMAGED) is None


# --- which extension ------------------------------------------------------------------------------------------------------


def test_names_of_every_length(tier: TierProgram, rng: random.Random) -> None:
    """Installed under it, and under none that it begins with."""
    one = compiled("echo")
    for length in range(1, limits.EXTENSION_NAME_BYTES_MAX + 1):
        name = "x" * (length - 1) + "y"
        tier.install(one, len(SOURCES), name)
        content = rng.randbytes(rng.randrange(50))
        arguments = one.signature.pack((0, content))
        assert is_run(tier, payload(name, arguments)) == content
        assert is_run(tier, payload(name, arguments), tag=1) == content
        assert status_of(is_left(tier, frame(payload(name[1:] + "z", arguments)), Verdict.OVER_INVOKE)) == Status.NO_EXTENSION
        assert tier.store.delete(TENANT_ID, limits.TABLE_EXTENSIONS, name.encode())
        assert status_of(is_left(tier, frame(payload(name, arguments)), Verdict.OVER_INVOKE)) == Status.NO_EXTENSION


def test_a_name_that_is_too_long_is_the_worker_s_to_refuse(tier: TierProgram) -> None:
    name = "x" * (limits.EXTENSION_NAME_BYTES_MAX + 1)
    assert status_of(is_left(tier, frame(payload(name, bytes(8))), Verdict.OVER_PLAIN)) == Status.NO_EXTENSION
    assert status_of(is_left(tier, frame(payload("", bytes(8))), Verdict.OVER_PLAIN)) == Status.BAD_KEY


def test_the_signature_may_be_given_and_is_compared_whole(tier: TierProgram) -> None:
    signature = compiled("number").signature.hash
    is_run(tier, asking("number", b"abc", object_version=signature))
    is_run(tier, asking("number", b"abc", object_version=0))
    for bit in range(64):
        wrong = frame(asking("number", b"abc", object_version=signature ^ 1 << bit))
        assert status_of(is_left(tier, wrong, Verdict.OVER_INVOKE)) == Status.BAD_SIGNATURE


def test_arguments_that_are_too_short_or_do_not_fit_are_the_worker_s_to_refuse(tier: TierProgram) -> None:
    for length in range(2 * WORD):
        assert status_of(is_left(tier, frame(payload("echo", bytes(length))), Verdict.OVER_INVOKE)) == Status.BAD_ARGUMENTS
    for word in (17 | 1 << 32, 16 | 1 << 32, 0xFFFF_FFFF, 0xFFFF_FFFF << 32 | 16, (1 << 64) - 1):
        outside = frame(payload("number", word.to_bytes(8, "little") + bytes(8)))
        assert status_of(is_left(tier, outside, Verdict.OVER_INVOKE)) == Status.BAD_ARGUMENTS


def test_a_further_fragment_is_the_worker_s(tier: TierProgram) -> None:
    is_left(tier, frame(asking("number", b"abc", fragment_index=1)), Verdict.OVER_PLAIN)


def test_an_error_is_the_worker_s_to_word(tier: TierProgram) -> None:
    is_run(tier, asking("fails", 12))
    assert status_of(is_left(tier, frame(asking("fails", 13)), Verdict.OVER_INVOKE)) == Status.EXTENSION_ERROR


def test_another_tenant_has_no_extension_of_the_name(tier: TierProgram) -> None:
    other = TENANT_ID + 3
    tier.store.open_tenant(other)
    tier.tenants[other] = tier.tenants[TENANT_ID]
    tier.tenants["token"][other] = TOKEN ^ 5
    request = asking("number", b"abc", tenant=other, token=TOKEN ^ 5)
    assert status_of(is_left(tier, frame(request), Verdict.OVER_INVOKE)) == Status.NO_EXTENSION
    ran = tier.run(frame(asking("number", b"abc", token=TOKEN ^ 5)))
    assert (ran.action, ran.verdicts) == (Action.DROP, {Verdict.WRONG_TOKEN})


def test_an_object_that_is_not_counted_yet_is_left_to_the_worker(tier: TierProgram) -> None:
    account = tier.store.accounts[TENANT_ID]
    tier.store.put(TENANT_ID, TABLE, (8).to_bytes(8, "little"), b"value")
    account["sequence"] -= 1  # as if its commit were not counted
    try:
        ran = tier.run(frame(asking("stored", 8)))
        assert (ran.action, ran.verdicts) == (Action.DROP, {Verdict.NO_SOCKET, Verdict.OVER_INVOKE})
    finally:
        account["sequence"] += 1
    assert is_run(tier, asking("stored", 8)) == b"value"
