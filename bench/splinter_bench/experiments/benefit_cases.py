"""What is asked in two modes: by gets, and by code that runs where the data is; of Splinter and of Redis.

Each case stores the same bytes under the same keys everywhere. Before anything is measured, Splinter's answers are compared
with the expected ones by the Python client; Redis's are compared one by one, by its load generator.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splinter.errors import SplinterError
from splinter.ext.library import entry
from splinter.limits import FRAGMENT_BYTES, PACKET_BODY_BYTES_MAX
from splinter.wire import Header
from splinter_bench.experiments import benefit_tao
from splinter_bench.generators.text_client import Script
from splinter_bench.seed import SEED
from splinter_bench.subjects import redis_tao
from splinter_bench.subjects.invokes import aggregates
from splinter_bench.subjects.redis import RedisServer, bulk, command, integer, store
from splinter_bench.subjects.redis_lua import AGGREGATE, FOREST, SCAN, fcall, load_functions
from splinter_bench.subjects.session import Session
from splinter_bench.workloads import tao
from splinter_bench.workloads.wordnet import load_wordnet
from splinter_bench.workloads.workload import (
    NUMBER_BYTES,
    SCHEDULE_ENTRIES,
    Account,
    Operation,
    Packet,
    Workload,
    get_operation,
    invoke_operation,
    key_template,
    uniform,
    value_template,
)

GETS, INVOKE, KERNEL = "Splinter gets", "Splinter invoke", "Splinter invoke, kernel"
REDIS_GETS, REDIS_LUA = "Redis gets", "Redis Lua"
WAYS = (GETS, INVOKE, KERNEL, REDIS_GETS, REDIS_LUA)
TREE, AGGREGATION, TAO, FORESTS = "tree traversal", "aggregate", "TAO's mix", "decision forest"
_TABLE = 1
_FUNCTIONS = {"scan": SCAN, "aggregate": AGGREGATE, "forest": FOREST, **redis_tao.FUNCTIONS}
_U64 = struct.Struct("<Q")
_CHECKS = 5  # of Splinter's answers, in each case
_FOREST_CALLS = 64  # different rows


@dataclass(frozen=True)
class Sizes:
    """Which cases, and how large. A test takes less."""

    steps: tuple[int, ...] = (1, 2, 4, 8, 16)
    records: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    paths: int = 500  # of each length; WordNet has 723 of 16 steps
    keys: int = 10_000
    users: int = 5000  # of TAO's graph that are read; as many more are written
    forest: bool = True

    def points(self) -> int:
        """How many :func:`points` has of these sizes."""
        return len(self.steps) + len(self.records) + 1 + self.forest


@dataclass(frozen=True)
class Point:
    """One question. By gets it takes ``requests`` of Splinter's, one after the other or all at once (``is_fan``).

    ``account`` is who invokes. ``scripts`` are Redis's by way; empty where Redis is not measured. ``is_mix``: questions of
    several kinds, so that ``requests`` is their mean, for Redis's gets too, and a question's time the mean of all.
    """

    case: str
    x: int
    gets: Workload
    requests: float
    is_fan: bool
    invoke: Workload
    account: Account
    scripts: dict[str, Script]
    is_mix: bool = False


def points(session: Session, server: RedisServer | None, sizes: Sizes) -> Iterator[Point]:
    """Prepare everything, case by case. Raises :class:`SplinterError` when an answer is wrong."""
    if server is not None:
        load_functions(server, session.netns, _FUNCTIONS)
    cases = [_trees, _aggregates, _mix, *([_forests] if sizes.forest else [])]
    for case in cases:
        yield from case(session, server, sizes)


def _schedule(numbers: list[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The numbers again and again, for as many requests as a schedule has."""
    return np.resize(np.array(numbers, np.int64), max(SCHEDULE_ENTRIES // len(numbers), 1) * len(numbers))


def _sequence(name: str, operation: Operation, numbers: list[int]) -> Workload:
    keys = _schedule(numbers)
    return Workload(name, (operation,), np.zeros(len(keys), np.uint8), keys)


def _check(name: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise SplinterError(f"{name}: the answer is {found!r}, and not {expected!r}")


def _trees(session: Session, server: RedisServer | None, sizes: Sizes) -> Iterator[Point]:
    """Up the hypernyms of WordNet's nouns: each synset's value begins with the next one's key."""
    wordnet = load_wordnet()
    nouns = wordnet.nouns()
    random.Random(SEED).shuffle(nouns)
    paths = {}
    for steps in sizes.steps:
        deep = (path for path in map(wordnet.path_to_root, nouns) if len(path) > steps)
        paths[steps] = [path for path, _ in zip(deep, range(sizes.paths), strict=False)]
    needed = {synset for found in paths.values() for path in found for synset in path}
    items = [(_U64.pack(synset), wordnet.synsets[synset].pack()) for synset in sorted(needed)]
    values = dict(items)
    account = session.tenant(_TABLE)
    session.use_stack()
    client = session.client(account)
    client.put_many(items, table=_TABLE)
    signature = client.install(entry("scan").sources["scan"]).signature
    if server is not None:
        store(server, items, session.netns)
    step = replace(get_operation(account, NUMBER_BYTES, NUMBER_BYTES), reply=None)
    for steps, found in paths.items():
        for path in found[:_CHECKS]:
            session.use_stack()
            _check(TREE, client.invoke("scan", table=_TABLE, key=path[0], steps=steps), path[steps])
        arguments = signature.pack((_TABLE, 0, steps))
        scan = invoke_operation(account, "scan", arguments, number_at=NUMBER_BYTES)
        scripts = {}
        if server is not None:
            keys = [_U64.pack(synset) for path in found for synset in path[:steps]]
            calls = [fcall("scan", [_U64.pack(path[0])], b"%d" % steps) for path in found]
            scripts = {
                REDIS_GETS: Script(REDIS_GETS, [command(b"GET", k) for k in keys], [bulk(values[k]) for k in keys], 1, steps),
                REDIS_LUA: Script(REDIS_LUA, calls, [bulk(_U64.pack(path[steps])) for path in found]),
            }
        gets = _sequence("get", step, [synset for path in found for synset in path[:steps]])
        yield Point(TREE, steps, gets, steps, False, _sequence("scan", scan, [path[0] for path in found]), account, scripts)


def _aggregates(session: Session, server: RedisServer | None, sizes: Sizes) -> Iterator[Point]:
    """The sum over a list of records: look-ups that do not depend on each other."""
    account = session.tenant(_TABLE)
    prefix, filler = key_template()[:-NUMBER_BYTES], value_template()[NUMBER_BYTES:]
    items = [(prefix + _U64.pack(n), _U64.pack(n) + filler) for n in range(sizes.keys)]
    session.use_stack()
    session.client(account).put_many(items, table=_TABLE)
    if server is not None:
        store(server, items, session.netns)
    for records in sizes.records:
        invoke, lists = aggregates(session, account, records, sizes.keys)
        scripts = {}
        if server is not None:
            keys = [[prefix + _U64.pack(n) for n in numbers] for numbers in lists]
            all_numbers = [number for numbers in lists for number in numbers]
            gets = [command(b"GET", prefix + _U64.pack(n)) for n in all_numbers]
            replies = [bulk(_U64.pack(n) + filler) for n in all_numbers]
            scripts = {
                REDIS_GETS: Script(REDIS_GETS, gets, replies, pipeline=records),
                REDIS_LUA: Script(REDIS_LUA, [fcall("aggregate", k) for k in keys], [integer(sum(ns)) for ns in lists]),
            }
        yield Point(AGGREGATION, records, uniform(get_operation(account), sizes.keys), records, True, invoke, account, scripts)


def _mix(session: Session, server: RedisServer | None, sizes: Sizes) -> Iterator[Point]:
    """TAO's published mix of operations: :mod:`.benefit_tao`."""
    graph = benefit_tao.Graph(sizes.users)
    by_gets, by_invoke = benefit_tao.store_graph(session, graph)
    client = session.client(by_invoke)
    for user in range(1, min(_CHECKS, sizes.users) + 1):
        id2 = graph.targets[user, tao.TYPE][-1]
        for name, (arguments, answer) in benefit_tao.answers(graph, user, id2).items():
            found = client.invoke(name, **arguments)
            _check(f"{TAO}, {name}", bytes(found) if isinstance(answer, bytes) else found, answer)
    gets, requests = benefit_tao.gets(graph, by_gets)
    scripts = {}
    if server is not None:
        scripts = {
            REDIS_GETS: Script(REDIS_GETS, *benefit_tao.redis_gets(graph, server, session.netns)),
            REDIS_LUA: Script(REDIS_LUA, *benefit_tao.redis_functions(graph)),
        }
    invoke = benefit_tao.invokes(graph, by_invoke)
    yield Point(TAO, sizes.users, gets, requests, False, invoke, by_invoke, scripts, is_mix=True)


def _forests(session: Session, server: RedisServer | None, sizes: Sizes) -> Iterator[Point]:
    """Which class a row belongs to: by gets, the client reads all trees; they do not depend on each other."""
    from splinter.ext.library.forest import FORESTS as TABLE
    from splinter.ext.library.forest_train import pack_forest, pack_row, train

    _, model, rows = train()
    number = 1
    items = pack_forest(model, number)
    chosen = [pack_row(row) for row in rows[:_FOREST_CALLS]]
    expected = list(map(int, model.predict(rows[:_FOREST_CALLS])))
    account = session.tenant(TABLE)
    session.use_stack()
    client = session.client(account)
    for key, value in items:
        client.put(key, value, table=TABLE)
    signature = client.install(entry("forest").sources["forest"]).signature
    for row, answer in list(zip(chosen, expected, strict=True))[:_CHECKS]:
        _check(FORESTS, client.invoke("forest", model=number, row=row), answer)
    gets = _in_turn("get", [_get_of(account, key, _fragments(value)) for key, value in items])
    invokes = [invoke_operation(account, "forest", signature.pack((number, row))) for row in chosen]
    scripts = {}
    if server is not None:
        store(server, items, session.netns)
        calls = [fcall("forest", [items[0][0]], row) for row in chosen]
        scripts = {
            REDIS_GETS: Script(
                REDIS_GETS, [command(b"GET", key) for key, _ in items], [bulk(value) for _, value in items], len(items)
            ),
            REDIS_LUA: Script(REDIS_LUA, calls, [integer(answer) for answer in expected]),
        }
    yield Point(FORESTS, len(items) - 1, gets, len(items), True, _in_turn("forest", invokes), account, scripts)


def _in_turn(name: str, operations: list[Operation]) -> Workload:
    choice = np.resize(np.arange(len(operations), dtype=np.uint16), SCHEDULE_ENTRIES // len(operations) * len(operations))
    return Workload(name, tuple(operations), choice, np.zeros(len(choice), np.int64))


def _fragments(value: bytes) -> int:
    return 1 if len(value) <= PACKET_BODY_BYTES_MAX else -(-len(value) // FRAGMENT_BYTES)


def _get_of(account: Account, key: bytes, fragments: int = 1) -> Operation:
    """A get of one certain key, with as many packets as its value takes."""
    like = get_operation(account, len(key))
    header = Header.unpack(like.payload)
    packets = []
    for index in range(fragments):
        header.fragment_index = index  # type: ignore[attr-defined]
        packets.append(Packet(header.pack() + key))
    return replace(like, payload=packets[0].payload, key_at=None, reply=None, others=tuple(packets[1:]))
