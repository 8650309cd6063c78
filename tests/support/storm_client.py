"""One client of a storm of kills: random operations on keys that nobody else writes, every reply checked.

As the keys are its own, it knows what each reply must say: a get returns what the last acknowledged put stored, under its
version; a delete finds exactly what was put; a compare-and-put under the known version succeeds; a counter's answers are
without gaps. A request that is executed twice, or one that is acknowledged and lost, cannot hide.
"""

from __future__ import annotations

from splinter.client import Client
from splinter.errors import TaskKilledError
from splinter.wire import OBJECT_ABSENT
from tests.support.storm_member import Member

TABLE, COUNTERS, CHURNED = 1, 2, 3
_KEYS, _COUNTS = 200, 8
_YIELDS_MAX = 40
_GRIND_MAX = 20_000  # writes of one invoke of a grinding client: some milliseconds
_BATCH_MAX = 96
_VALUE_BYTES = (64, 512, 2_000, 12_000)  # less than one of these: of one fragment up to eleven

COUNT_UP = f"""
def count_up(db: Store, key: u64, times: u64, before: u64, after: u64) -> u64:
    for _ in range(before):
        yield
    value = buffer(8)
    value.append_u64(0)
    count = u64(0)
    counted = u64(0)
    while counted < times:
        version = db.version({COUNTERS}, key)
        count = u64(0)
        if version != 0:
            node = db.get({COUNTERS}, key)
            if node is None:
                continue
            count = node.u64(0)
        value.set_u64(0, count + 1)
        if db.put_if({COUNTERS}, key, value, version):
            counted += 1
    for _ in range(after):
        yield
    return count + 1
"""
EXTENSIONS = f"""
from splinter.ext import Store, buffer, extension, u64

@extension
{COUNT_UP.strip()}

@extension(isolation="none")
{COUNT_UP.replace("count_up", "grind").strip()}

@extension(isolation="none")
def churn(db: Store, key: u64, first: u64, times: u64) -> u64:
    deleted = u64(0)
    for i in range(times):
        db.put({CHURNED}, key, first + i)
        if i % 2 == 0 and db.delete({CHURNED}, key):
            deleted += 1
    return deleted
"""


class StormClient(Member):
    """No other client writes its keys. Every second one grinds: it has extensions write without pause, so that kills find
    workers in the midst of a write."""

    def __init__(self, client: Client, number: int, seed: int) -> None:
        super().__init__(client, number, seed)
        self._known: dict[bytes, tuple[bytes, int]] = {}  # value and version; 0: the version was not told
        self._counts = dict.fromkeys(range(number * _COUNTS, (number + 1) * _COUNTS), 0)
        self._churned: int | None = None  # what is in the churned object
        self._churns = 0  # values used
        self.operations = [self._grind, self._churn] if number % 2 == 0 else [
            self._put, self._put, self._get, self._get, self._delete, self._compare_and_put, self._put_many, self._get_many,
            self._pipeline, self._count_up, self._count_up,
        ]  # fmt: skip
        self.finals = [self._read_all, self._read_counts, self._read_churned]

    def _key(self) -> bytes:
        return f"{self._number} {self._dice.randrange(_KEYS)}".encode()

    def _value(self) -> bytes:
        return self._dice.randbytes(self._dice.randrange(8, self._dice.choice(_VALUE_BYTES)))

    def _check(self, key: bytes, value: bytes | None, version: int | None = None) -> None:
        expected, expected_version = self._known.get(key, (None, 0))
        what = f"client {self._number}, key {key!r}"
        if value is None and expected is not None:
            self.tally.lost.append(f"{what}: there is nothing, {len(expected)} bytes were put")
        elif value != expected:
            found = f"{len(value or b'')} bytes {(value or b'')[:16]!r}"
            self.tally.lost.append(f"{what}: {found} in place of {expected and expected[:16]!r}")
        elif version is not None and expected_version not in (0, version):
            self.tally.wrong.append(f"{what}: version {version} in place of {expected_version}")

    def _put(self) -> None:
        key, value = self._key(), self._value()
        version = self._client.put(key, value, table=TABLE)
        self._known[key] = (value, version)
        self._wrote()

    def _get(self) -> None:
        key = self._key()
        value, version = self._client.get_with_version(key, table=TABLE)
        self.tally.requests += 1
        self._check(key, value, version)

    def _delete(self) -> None:
        key = self._key()
        found = self._client.delete(key, table=TABLE)
        self._wrote()
        if found != (key in self._known):
            self.tally.wrong.append(f"client {self._number}, key {key!r}: a delete says {found}")
        self._known.pop(key, None)

    def _compare_and_put(self) -> None:
        key, value = self._key(), self._value()
        known = self._known.get(key)
        if known is not None and known[1] == 0:
            return
        version = self._client.put(key, value, table=TABLE, if_version=known[1] if known else OBJECT_ABSENT)
        self._known[key] = (value, version)
        self._wrote()

    def _put_many(self) -> None:
        items = {self._key(): self._value() for _ in range(self._dice.randrange(1, _BATCH_MAX))}
        self._client.put_many(items.items(), table=TABLE)
        self._known.update({key: (value, 0) for key, value in items.items()})
        self._wrote(len(items))

    def _pipeline(self) -> None:
        """Gets, puts and deletes of keys that may be the same: each finds what those before it have left."""
        pipeline, expected = self._client.pipeline(), list[object]()
        known, changes = {key: value for key, (value, _) in self._known.items()}, set[bytes]()
        for _ in range(self._dice.randrange(1, _BATCH_MAX)):
            key, kind = self._key(), self._dice.randrange(3)
            if kind == 0:
                pipeline.get(key, table=TABLE)
                expected.append(known.get(key))
                continue
            changes.add(key)
            if kind == 1:
                known[key] = self._value()
                pipeline.put(key, known[key], table=TABLE)
                expected.append(int)
            else:
                pipeline.delete(key, table=TABLE)
                expected.append(known.pop(key, None) is not None)
        found = pipeline.execute()
        if [int if should_be is int else each for each, should_be in zip(found, expected, strict=True)] != expected:
            self.tally.lost.append(f"client {self._number}: a pipeline of {len(found)} requests found something else")
        for key in changes:
            self._known.pop(key, None)
        self._known |= {key: (known[key], 0) for key in changes & known.keys()}
        self._wrote(len(found))

    def _get_many(self) -> None:
        keys = list({self._key() for _ in range(self._dice.randrange(1, _BATCH_MAX))})
        self._check_all(keys)

    def _check_all(self, keys: list[bytes]) -> None:
        values = self._client.get_many(keys, table=TABLE)
        self.tally.requests += len(keys)
        for key, value in zip(keys, values, strict=True):
            self._check(key, value)

    def _count_up(self) -> None:
        self._count("count_up", 1, *(self._dice.randrange(_YIELDS_MAX) for _ in range(2)))

    def _grind(self) -> None:
        self._count("grind", self._dice.randrange(1, _GRIND_MAX), 0, 0)

    def _count(self, name: str, times: int, *yields: int) -> None:
        key = self._dice.choice(list(self._counts))
        before = self._counts[key]
        try:
            count = self._client.invoke(name, key, times, *yields)
        except TaskKilledError:  # nothing of it is done, but without isolation what it had come to
            self.tally.killed += 1
            self._look_at_count(key, before, before + (times if name == "grind" else 0))
        else:
            self._counts[key] = before + times
            if count != self._counts[key]:
                self.tally.wrong.append(f"client {self._number}, counter {key}: {count} in place of {self._counts[key]}")
            self._wrote()

    def _look_at_count(self, key: int, least: int, most: int) -> None:
        self._counts[key] = self._stored_count(key)
        if not least <= self._counts[key] <= most:
            self.tally.lost.append(f"client {self._number}, counter {key}: {self._counts[key]} in place of {least} to {most}")

    def _churn(self) -> None:
        first, times = self._churns, 2 * self._dice.randrange(1, _GRIND_MAX // 2)
        self._churns += times
        try:
            deleted = self._client.invoke("churn", self._number, first, times)
        except TaskKilledError:  # what it wrote stands
            self.tally.killed += 1
            found = self._stored(CHURNED, self._number)
            if found is not None and not first <= found < first + times and found != self._churned:
                self.tally.lost.append(f"client {self._number}: {found} was churned in place of {first} to {first + times}")
            self._churned = found
            return
        self._churned = first + times - 1
        self._wrote()
        if deleted != times // 2:
            self.tally.wrong.append(f"client {self._number}: {deleted} of {times // 2} churned objects deleted")
        self._read_churned()

    def _read_churned(self) -> None:
        found = self._stored(CHURNED, self._number)
        if found != self._churned:
            self.tally.lost.append(f"client {self._number}: churned is {found} in place of {self._churned}")

    def _read_all(self) -> None:
        self._check_all([f"{self._number} {i}".encode() for i in range(_KEYS)])

    def _read_counts(self) -> None:
        for key, count in self._counts.items():
            found = self._stored_count(key)
            self.tally.counted += count
            self.tally.counters += found
            if found != count:
                self.tally.lost.append(f"client {self._number}, counter {key}: {found} at the end, {count} acknowledged")

    def _stored_count(self, key: int) -> int:
        return self._stored(COUNTERS, key) or 0

    def _stored(self, table: int, key: int) -> int | None:
        self.tally.requests += 1
        found = self._client.get(key, table=table)
        return None if found is None else int.from_bytes(found, "little")
