"""One program, three worlds: CPython, compiled code, the kernel, for what only reads of the library and the examples."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from splinter_bench.subjects.only_reading import only_reading

from splinter import limits, wire
from splinter.errors import Status
from splinter.ext import LocalStore
from splinter.ext.kernel import layout
from splinter.net.xdp.extensions import NOT_LOADED
from tests.support import library
from tests.support.kernel_side import KernelSide, for_kernel
from tests.support.kernel_world import SLOT, TOKEN, KernelWorld
from tests.support.library import word

pytestmark = pytest.mark.xdp
PLACED_LEAST = 0.9

ECHO = "@extension\ndef f(db: Store, x: u64, b: bytes) -> bytes:\n    assert x != 13\n    return b[x:]\n"
READ = "@extension\ndef f(db: Store, x: u64) -> u64:\n    v = db.get(1, x)\n    return 0 if v is None else v.u64(0)\n"


@pytest.fixture(scope="module")
def made() -> Iterator[KernelWorld]:
    world = KernelWorld()
    yield world
    world.close()


@pytest.fixture
def world(made: KernelWorld) -> KernelWorld:
    """With nothing in it."""
    made.remove_objects()
    return made


@pytest.fixture
def side(world: KernelWorld) -> KernelSide:
    return KernelSide(world)


def test_the_kernel_takes_nine_of_ten_that_only_read(world: KernelWorld) -> None:
    refused = {name: reason for name, source in only_reading().items() if (reason := world.install(for_kernel(source)))}
    assert len(refused) <= (1 - PLACED_LEAST) * len(only_reading()), refused


@pytest.mark.parametrize(
    "expression",
    [
        "u // rotl64(8, u & 63)",
        "u // (1 << (u & 31))",
        "u % rotl64(8, u & 63)",
        "(u & 7) * rotl64(1, u & 31)",
        "rotl64(1, u & 31) * (u & 7)",
        "u64(a // (1 << (a & 31)))",
        "u64((a & 7) * (1 << (a & 31)))",
        "u64((a & 7) // int(rotl64(1, u & 31)))",
        "clz(rotl64(1, u & 63))",
        "ctz(rotl64(1, u & 63))",
    ],
)
def test_no_arithmetic_needs_a_table(side: KernelSide, expression: str) -> None:
    """LLVM counts trailing zeros by a table, which a program in the kernel cannot have; so it must not come to count them."""
    source = f"@extension\ndef f(db: Store, u: u64, a: i64) -> u64:\n    return {expression}\n"
    for u in (2, 7, 63, 1 << 62):
        side.run(expression, source, u, u)
    assert side.answered[expression] == 4


@pytest.mark.parametrize(
    ("check", "names"),
    [
        (library.check_get_and_put, {"get"}),
        (library.check_aggregate, {"aggregate"}),
        (library.check_scan, {"scan"}),
        (library.check_digests, {"md5", "sha256"}),
        (library.check_objects, {"obj_get"}),
        (library.check_associations, {"assoc_count", "assoc_get", "assoc_range", "assoc_time_range"}),
        (library.check_transfer, {"account_balance"}),
    ],
)
def test_the_library_gives_the_same(side: KernelSide, check, names: set[str]) -> None:
    check(side)
    assert names <= {name for name in side.answered if side.answered[name]}


def test_long_lists_are_the_same(side: KernelSide) -> None:
    library.check_long_list(side, 120, 3, 7)
    assert side.answered["assoc_range"] and side.left["assoc_range"]  # a result beyond the packet and what it can grow by


def test_errors_and_yields_are_left_to_the_worker(side: KernelSide) -> None:
    library.check_err(side)
    library.check_long(side)
    assert not side.answered and side.left == {"err": 2, "long": 1}


def test_the_examples_give_the_same(side: KernelSide) -> None:
    parents = {1: 0, **{child: child // 3 + 1 for child in range(2, 60)}}
    for child, parent in parents.items():
        side.put(word(child), word(parent), 1)
    sources = only_reading()
    for first, second in itertools.product((1, 2, 17, 58, 999), (3, 40, 59)):
        local = LocalStore()
        local.objects.update(side.store.objects)
        for name, args in (("lowest_common_ancestor", (first, second)), ("path_to_root", (first,))):
            assert side.run(name, sources[name], *args) == local.invoke(sources[name], *args)
    for id1, id2 in ((1, 2), (1, 3), (1, 4)):
        side.invoke("assoc_add", id1, 1, id2, id2, b"")
        side.invoke("assoc_add", id2, 2, 100 + id2, 5, b"post")
    assert side.run("newest", sources["newest"], 1) == word(104) + word(103) + word(102)
    assert set(side.answered) == {"lowest_common_ancestor", "path_to_root", "newest"} and not side.left


def test_the_example_of_the_page_is_the_same_in_three_worlds(side: KernelSide) -> None:
    """Of ``docs/explanation/kernel-tier.md``."""
    page = Path(__file__).parents[4] / "docs" / "explanation" / "kernel-tier.md"
    (source,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    for synset in range(1, 40):
        side.put(word(synset), word(synset // 2), 1)
    for synset in (0, 1, 7, 39, 99):
        assert side.run("path_to_root", source, synset) == side.store.invoke(source, synset)
    assert side.answered["path_to_root"] == 5


# --- the harness -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 63, 64, 65, 500, 1390])
def test_results_of_every_length(world: KernelWorld, length: int) -> None:
    compiled = for_kernel(ECHO)
    world.install(compiled)
    content = bytes(number % 251 for number in range(length))
    for start in {0, 1, length // 2, length}:
        assert world.invoke(compiled, start, content) == [content[start:]]


def test_a_result_grows_the_packet_as_far_as_it_can(world: KernelWorld) -> None:
    """By ``adjust_head``: from a request of a few bytes to a view of the store."""
    compiled = for_kernel(
        "@extension\ndef g(db: Store, x: u64) -> View:\n    v = db.get(1, x)\n    return b'' if v is None else v\n"
    )
    world.install(compiled)
    world.put({(1, word(length)): bytes(length % 256 for _ in range(length)) for length in (1, 50, 150, 1400, 1409, 5000)})
    for length in (1, 50, 150):
        assert world.invoke(compiled, length) == [bytes([length % 256]) * length]
    for length in (1409, 5000):
        assert world.invoke(compiled, length) is None


def test_a_request_that_the_worker_refuses_is_left_to_it(world: KernelWorld) -> None:
    compiled = for_kernel(READ)
    world.install(compiled)
    arguments = compiled.signature.pack((1,))
    assert world.reply("f", arguments) is not None
    assert world.reply("f", arguments, object_version=compiled.signature.hash) is not None
    assert world.reply("f", arguments, object_version=compiled.signature.hash ^ 1) is None
    assert world.reply("f", arguments[:7]) is None
    assert world.reply("g", arguments) is None
    assert world.reply("f" * 65, arguments) is None
    assert world.reply("f", arguments, fragment_index=1) is None
    assert world.reply("f", arguments, table=limits.TABLES_MAX) is None
    assert world.reply("f", arguments, version=2) is None
    assert world.reply("f", arguments, value_length=9) is None


def test_strangers_get_nothing(world: KernelWorld) -> None:
    compiled = for_kernel(READ)
    world.install(compiled)
    before = world.count("wrong_token")
    assert world.reply("f", compiled.signature.pack((1,)), token=TOKEN + 1) is None
    assert world.count("wrong_token") == before + 1


def test_a_damaged_request_is_not_executed(world: KernelWorld) -> None:
    compiled = for_kernel(READ)
    world.install(compiled)
    request = bytearray(world.request("f", compiled.signature.pack((1,))))
    request[-1] ^= 1
    assert world.sent(bytes(request)) is None


def test_room_for_the_reply_is_the_clients_to_say(world: KernelWorld) -> None:
    compiled = for_kernel(ECHO)
    world.install(compiled)
    content = bytes(700)
    small = limits.UDP_PAYLOAD_BYTES_MIN // limits.ROOM_UNIT_BYTES
    assert world.reply("f", compiled.signature.pack((0, content)), status=small) is None
    assert world.reply("f", compiled.signature.pack((400, content)), status=small) is not None


def test_the_reply_repeats_what_a_workers_does(world: KernelWorld) -> None:
    compiled = for_kernel(READ)
    world.install(compiled)
    world.put({(1, word(4)): word(99)})
    told = world.reply("f", compiled.signature.pack((4,)), client=1234, sequence=77, table=9)
    assert told is not None
    header, value = told
    assert (header.magic, header.version, header.opcode, header.status) == (
        wire.MAGIC,
        wire.VERSION,
        wire.Opcode.INVOKE,
        Status.OK,
    )
    assert (header.tenant, header.table, header.key_length, header.token) == (1, 9, 0, 0)
    assert (header.client, header.sequence, header.object_version) == (1234, 77, 0)
    assert header.acknowledged == limits.UDP_PAYLOAD_BYTES_MAX and value == word(99)


def test_a_program_of_another_identity_hands_over(world: KernelWorld) -> None:
    """As when a tail call meets what has just replaced another tenant's program."""
    one, other = for_kernel(READ), for_kernel(READ.replace("v.u64(0)", "v.u64(0) + 1"))
    world.install(one)
    world.put({(1, word(1)): word(5)})
    assert world.invoke(one, 1) == [5]
    world.publish(one, other.kernel.identity)
    assert world.invoke(one, 1) is None
    world.publish(one, 0)
    assert world.invoke(one, 1) is None
    world.publish(one, one.kernel.identity)
    assert world.invoke(one, 1) == [5]
    world.programs.place(SLOT, NOT_LOADED)
    assert world.invoke(one, 1) is None


def test_a_spent_budget_hands_over(world: KernelWorld) -> None:
    loop = "    for i in range(n):\n        t = t + i & 0xFFFF\n"
    source = f"@extension\ndef f(db: Store, n: u64) -> u64:\n    t: u64 = 0\n{loop}    return t\n"
    compiled = for_kernel(source)
    world.install(compiled)
    assert world.invoke(compiled, 100) == [sum(range(100)) & 0xFFFF]
    assert world.invoke(compiled, 50 * layout.BUDGET) is None


def test_what_is_not_committed_is_left_to_the_worker(world: KernelWorld) -> None:
    """An odd version, and one beyond the tenant's sequence; and a miss while a commit that deletes is under way."""
    compiled = for_kernel(READ)
    world.install(compiled)
    world.put({(1, word(1)): word(5)})
    account = world.store.accounts[1]
    assert world.invoke(compiled, 1) == [5]
    assert world.invoke(compiled, 2) == [0]
    account["sequence"] -= 1
    assert world.invoke(compiled, 1) is None
    account["sequence"] += 1
    before = int(account["deleted"])
    account["deleted"] = account["sequence"] + 1
    assert world.invoke(compiled, 2) is None
    assert world.invoke(compiled, 1) == [5]
    account["deleted"] = before
    with world.odd_version(1, word(1)):
        assert world.invoke(compiled, 1) is None
    assert world.invoke(compiled, 1) == [5]


def test_invocations_are_counted(world: KernelWorld) -> None:
    compiled = for_kernel(ECHO)
    world.install(compiled)
    world.programs.clear(SLOT)
    assert [world.invoke(compiled, 0, b"x") for _ in range(3)] == [[b"x"]] * 3
    assert world.invoke(compiled, 13, b"x" * 20) is None
    assert world.programs.invocations(SLOT) == 3
    world.programs.clear(SLOT)
    assert world.programs.invocations(SLOT) == 0
