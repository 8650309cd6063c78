"""TAO's published mix in the four ways of ``splinter bench benefit``.

The graph: users with a list of associations each, their number with a power-law tail, all of a list in one page; requests by
Zipf. Reads ask for one half of the users and writes for the other, so that every reply to a read is known. By gets, the client
reads a list's head, then its page; a write reads both and puts both (a new object: its counter read and put, then itself). It
puts the same bytes again, so that this can go on for ever; deleting an object is a put as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splinter.ext.library import entry
from splinter.ext.library.tao import COUNTERS, LAST_ID, LISTS, OBJECTS, PAGES
from splinter.limits import REQUEST_HEADER_BYTES
from splinter.wire import Opcode
from splinter_bench.seed import SEED
from splinter_bench.subjects.redis import RedisServer, bulk, command, integer, store
from splinter_bench.subjects.redis_lua import fcall
from splinter_bench.subjects.session import Session
from splinter_bench.workloads import tao
from splinter_bench.workloads.catalogue import Shape
from splinter_bench.workloads.distribution import THETA_DEFAULT, Distribution
from splinter_bench.workloads.workload import VALUE_BYTES_DEFAULT, Account, Operation, Workload, request

LIMIT = 50  # associations of one answer
_DEGREE_MAX = 60  # associations of a list: a page has room for 78
_TAIL = 1.5
_OTHER_TYPE_TARGET = 1
_QUESTIONS = 1 << 16
_OK = b"+OK\r\n"
_U64, _PAIR, _TRIPLE = struct.Struct("<Q"), struct.Struct("<QQ"), struct.Struct("<QQQ")
_HEAD, _RECORD = struct.Struct("<QQQII"), struct.Struct("<QQH")
_TIME_MAX = 1 << 53  # what a number of Lua holds exactly
_COUNTER = b"c"  # in Redis, where tables are prefixes of keys
_OF_GETS = b"g"  # before it, in the graph that no function writes


@dataclass(frozen=True)
class Step:
    """One request of a client that has no functions: a get, or a put of what is there."""

    table: int
    key: bytes
    put: bytes | None = None


class Graph:
    """Users 1 … ``users`` are read, as many more are written."""

    def __init__(self, users: int) -> None:
        random = np.random.default_rng(SEED)
        self.users, self.data = users, bytes(VALUE_BYTES_DEFAULT)
        self.targets: dict[tuple[int, int], list[int]] = {}  # of each list, the newest first
        degrees = np.minimum(random.pareto(_TAIL, 2 * users) + 1, _DEGREE_MAX).astype(int)
        popular = Distribution("zipf", 1, users, THETA_DEFAULT)
        for user, degree in enumerate(degrees.tolist(), start=1):
            self.targets[user, tao.TYPE] = list(dict.fromkeys(popular.sample(random, degree).tolist()))
            if user > users:
                self.targets[user, tao.OTHER_TYPE] = [_OTHER_TYPE_TARGET]
        self.choice = tao.draw(random, _QUESTIONS)
        asked = popular.sample(random, _QUESTIONS)
        asked[self.choice >= len(tao.READ_SHARES)] += users
        lists = [self.targets[user, tao.TYPE] for user in asked.tolist()]
        place = (random.random(_QUESTIONS) * [len(found) for found in lists]).astype(int)
        self.asked = list(zip(asked.tolist(), [f[p] for f, p in zip(lists, place.tolist(), strict=True)], strict=True))

    def page(self, user: int, kind: int) -> bytes:
        """Records of a list; the last one has time 1."""
        targets = self.targets[user, kind]
        return b"".join(_RECORD.pack(id2, len(targets) - place, 0) for place, id2 in enumerate(targets))

    def head(self, user: int, kind: int) -> bytes:
        """What stands under a list's key."""
        count = len(self.targets[user, kind])
        return _HEAD.pack(count, 1, count, 0, count)

    def record(self, user: int, id2: int) -> bytes:
        """One association, as it is stored."""
        targets = self.targets[user, tao.TYPE]
        return _RECORD.pack(id2, len(targets) - targets.index(id2), 0)

    def value(self) -> bytes:
        """Of an object."""
        return _U64.pack(tao.TYPE) + self.data

    def items(self) -> Iterator[tuple[int, bytes, bytes]]:
        """Everything that is stored: table, key, value."""
        for user, kind in self.targets:
            yield LISTS, _PAIR.pack(user, kind), self.head(user, kind)
            yield PAGES, _TRIPLE.pack(user, kind, 0), self.page(user, kind)
        for user in range(1, 2 * self.users + 1):
            yield OBJECTS, _U64.pack(user), self.value()
        yield COUNTERS, LAST_ID, _U64.pack(2 * self.users)

    def steps(self, name: str, user: int, id2: int) -> list[Step]:
        """A question as a client without functions asks it."""
        head, page = (_PAIR.pack(user, tao.TYPE), _TRIPLE.pack(user, tao.TYPE, 0))
        read = [Step(LISTS, head), Step(PAGES, page)]
        thing = Step(OBJECTS, _U64.pack(user))
        match name:
            case "assoc_get" | "assoc_range" | "assoc_time_range":
                return read
            case "assoc_count":
                return read[:1]
            case "obj_get":
                return [thing]
            case "assoc_add" | "assoc_delete":
                return self._changed(user, tao.TYPE)
            case "assoc_change_type":
                return self._changed(user, tao.TYPE) + self._changed(user, tao.OTHER_TYPE)
            case "obj_add":
                last = Step(COUNTERS, LAST_ID)
                return [last, replace(last, put=_U64.pack(2 * self.users)), replace(thing, put=self.value())]
            case "obj_update":
                return [thing, replace(thing, put=self.value())]
            case _:
                return [replace(thing, put=self.value())]

    def _changed(self, user: int, kind: int) -> list[Step]:
        head, page = Step(LISTS, _PAIR.pack(user, kind)), Step(PAGES, _TRIPLE.pack(user, kind, 0))
        return [head, page, replace(page, put=self.page(user, kind)), replace(head, put=self.head(user, kind))]

    def questions(self) -> Iterator[tuple[str, int, int]]:
        """Name, id1 and id2 of each."""
        for number, (user, id2) in zip(self.choice.tolist(), self.asked, strict=True):
            yield tao.NAMES[number], user, id2


def store_graph(session: Session, graph: Graph) -> tuple[Account, Account]:
    """Two tenants that have it: one for gets, one with the extensions for invokes."""
    accounts = session.tenant(), session.tenant()
    session.use_stack()
    tables: dict[int, list[tuple[bytes, bytes]]] = {}
    for table, key, value in graph.items():
        tables.setdefault(table, []).append((key, value))
    for account in accounts:
        client = session.client(account)
        for table, items in tables.items():
            client.put_many(items, table=table)
    for text in entry("tao").sources.values():
        session.client(accounts[1]).install(text)
    return accounts


def answers(graph: Graph, user: int, id2: int) -> dict[str, tuple[dict[str, Any], Any]]:
    """Arguments of some reads by name of the extension, and what is to come back."""
    first = {"id1": user, "atype": tao.TYPE}
    return {
        "assoc_range": (first | {"position": 0, "limit": LIMIT}, graph.page(user, tao.TYPE)[: LIMIT * _RECORD.size]),
        "assoc_get": (first | {"id2s": _U64.pack(id2), "high": _TIME_MAX, "low": 0}, graph.record(user, id2)),
        "assoc_count": (first, len(graph.targets[user, tao.TYPE])),
        "obj_get": ({"id": user}, graph.value()),
    }


def gets(graph: Graph, account: Account) -> tuple[Workload, float]:
    """All questions' gets and puts one after the other, and how many there are to a question."""
    operations: list[Operation] = []
    places: dict[tuple[int, int, bytes | None, bytes | None], int] = {}
    choice, numbers = [], []
    for name, user, id2 in graph.questions():
        for step in graph.steps(name, user, id2):
            # Gets of users differ in the number at the start of the key; every put is an operation of its own.
            is_numbered = step.put is None and step.table != COUNTERS
            key = bytes(_U64.size) + step.key[_U64.size :] if is_numbered else step.key
            same = (step.table, len(key), key, step.put)
            if same not in places:
                places[same] = len(operations)
                operations.append(_operation(replace(account, table=step.table), key, step.put, is_numbered))
            choice.append(places[same])
            numbers.append(user)
    workload = Workload("tao by gets", tuple(operations), np.array(choice, np.uint16), np.array(numbers, np.int64))
    return workload, len(choice) / _QUESTIONS


def _operation(account: Account, key: bytes, put: bytes | None, is_numbered: bool) -> Operation:
    if put is not None:
        return Operation("put", request(account, Opcode.PUT, key, put))
    return Operation("get", request(account, Opcode.GET, key), key_at=REQUEST_HEADER_BYTES if is_numbered else None)


def invokes(graph: Graph, account: Account) -> Workload:
    """All questions, one invoke each but for those that change an association's type."""
    operations = tao.operations(Shape((account,)))
    return Workload("tao", tuple(operations[name] for name in tao.NAMES), graph.choice, np.array(graph.asked, np.int64))


def _redis_key(table: int, key: bytes) -> bytes:
    return {LISTS: b"l", PAGES: b"l", OBJECTS: b"o", COUNTERS: _COUNTER}[table] + key


def redis_gets(graph: Graph, server: RedisServer, netns: str | None) -> tuple[list[bytes], list[bytes]]:
    """Store the graph twice; requests and replies of all questions by GET and SET.

    Functions have a graph of their own, as in Splinter: what they write would not be what gets are expected to read.
    """
    graphs = {_redis_key(table, key): value for table, key, value in graph.items()}
    items = {_OF_GETS + key: value for key, value in graphs.items()}
    graphs[_COUNTER + LAST_ID] = b"%d" % (2 * graph.users)  # what INCR counts
    store(server, [*items.items(), *graphs.items()], netns)
    steps = (step for question in graph.questions() for step in graph.steps(*question))
    requests, replies = [], []
    for step in steps:
        key = _OF_GETS + _redis_key(step.table, step.key)
        requests.append(command(b"GET", key) if step.put is None else command(b"SET", key, step.put))
        replies.append(bulk(items[key]) if step.put is None else _OK)
    return requests, replies


def redis_functions(graph: Graph) -> tuple[list[bytes], list[bytes]]:
    """Requests and replies of all questions by FCALL; the functions are those of :mod:`.redis_tao`."""
    made = [_function(graph, name, user, id2) for name, user, id2 in graph.questions()]
    return [asked for asked, _ in made], [reply for _, reply in made]


def _function(graph: Graph, name: str, user: int, id2: int) -> tuple[bytes, bytes]:
    head, other = (_redis_key(LISTS, _PAIR.pack(user, kind)) for kind in (tao.TYPE, tao.OTHER_TYPE))
    thing, wanted, done = _redis_key(OBJECTS, _U64.pack(user)), _U64.pack(id2), integer(1)
    fresh = _RECORD.pack(id2, 1, 0)
    match name:
        case "assoc_get":
            return fcall(name, [head], wanted), bulk(graph.record(user, id2))
        case "assoc_range":
            return fcall(name, [head], b"%d" % LIMIT), bulk(graph.page(user, tao.TYPE)[: LIMIT * _RECORD.size])
        case "assoc_time_range":
            asked = fcall(name, [head], b"%d" % _TIME_MAX, b"0", b"%d" % LIMIT)
            return asked, bulk(graph.page(user, tao.TYPE)[: LIMIT * _RECORD.size])
        case "assoc_count":
            return fcall(name, [head]), integer(len(graph.targets[user, tao.TYPE]))
        case "obj_get":
            return fcall(name, [thing]), bulk(graph.value())
        case "assoc_add":
            return fcall("assoc_change", [head], wanted, fresh), done
        case "assoc_delete":
            return fcall("assoc_change", [head], wanted, b""), done
        case "assoc_change_type":
            return fcall("assoc_change", [head, other], wanted, b"", fresh), done
        case "obj_add":
            return fcall(name, [_COUNTER + LAST_ID], graph.value()), done
        case "obj_update":
            return fcall(name, [thing], graph.data), done
        case _:
            return fcall(name, [thing]), done
