"""Objects that expire against a dictionary: any sequence of puts, lifetimes, deletes, sweeps and invokes, while the clock goes
on, gives the same answers; and so does a store that is made from its log, or from a snapshot."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from splinter_bench.subjects.in_worker import WorkerInProcess

from splinter import limits
from splinter.durable.snapshots import copied
from splinter.errors import RequestError
from splinter.store.clock import look_at_store_clock
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.expiry import sweep
from splinter.store.journal import participant_at
from splinter.store.layout import DURABILITY_INTERVAL
from splinter.store.publication import EXPECT_ABSENT
from splinter.store.reclaim import reclaim
from splinter.store.store import Store
from splinter.store.walk import turns_over, walk_begins, walk_ends
from tests.support.lifetimes import COMPILED, HOUR, ISOLATIONS, TABLE, TENANT, Worker, near
from tests.support.logs import groups, logged, restored, state_of

KEYS = st.integers(0, 5)
HOURS = st.sampled_from([1, 2, 5, 50])
# Half an hour beside all that the clock goes on by: nothing ends at the very moment that is looked at.
LIFETIMES = st.one_of(st.none(), st.sampled_from([0.5, 1.5, 3.5, 20.5, 200.5]))
NS = 10**9


class Model(NamedTuple):
    """An object: its value, and at how many hours of the clock it ends."""

    value: int
    ends: float


def key_of(number: int) -> bytes:
    return number.to_bytes(8, "little")


class ExpiryMachine(RuleBasedStateMachine):
    """One worker and its store, whose changes are logged."""

    @initialize()
    def make(self) -> None:
        self.made = WorkerInProcess(limits.STORE_BYTES_MIN)
        self.made.add_tenant(TENANT)
        self.rings = logged(self.made.store, TENANT, DURABILITY_INTERVAL)
        for compiled in COMPILED.values():
            self.made.install(TENANT, compiled)
        self.worker = Worker(self.made)
        self.store = self.made.store
        self.store.put(TENANT, TABLE, b"first", b"", ttl=1)  # from here on all look at the clock
        self.store.delete(TENANT, TABLE, b"first") or self.sweeps()
        self.hours = 0.0
        self.model: dict[int, Model] = {}
        self.numbers = 0

    def there(self, key: int) -> Model | None:
        found = self.model.get(key)
        return found if found is not None and found.ends > self.hours else None

    def ends(self, lifetime: float | None) -> float:
        return math.inf if lifetime is None else self.hours + lifetime

    def next(self) -> int:
        self.numbers += 1
        return self.numbers

    @rule(hours=HOURS)
    def time_passes(self, hours: int) -> None:
        self.hours += hours
        self.worker.advance(hours * HOUR)

    # --- by the store's own operations, as clients' requests have them ----------------------------------------------------

    @rule(key=KEYS, lifetime=LIFETIMES, is_careful=st.booleans())
    def put(self, key: int, lifetime: float | None, is_careful: bool) -> None:
        value, ns = self.next(), 0 if lifetime is None else round(lifetime * HOUR * NS)
        there = self.store.lookup(TENANT, TABLE, key_of(key))
        assert (there is None) == (self.there(key) is None)
        expected = 0 if not is_careful else EXPECT_ABSENT if there is None else there.version
        self.store.put(TENANT, TABLE, key_of(key), key_of(value), ttl=ns, expected_version=expected)
        self.model[key] = Model(value, self.ends(lifetime))

    @rule(key=KEYS, lifetime=LIFETIMES)
    def lives(self, key: int, lifetime: float | None) -> None:
        found, ns = self.there(key), 0 if lifetime is None else round(lifetime * HOUR * NS)
        if found is None:
            with pytest.raises(RequestError, match="no such object"):
                self.store.expire(TENANT, TABLE, key_of(key), ns)
        else:
            self.store.expire(TENANT, TABLE, key_of(key), ns)
            self.model[key] = Model(found.value, self.ends(lifetime))

    @rule(key=KEYS)
    def delete(self, key: int) -> None:
        assert self.store.delete(TENANT, TABLE, key_of(key)) == (self.there(key) is not None)
        self.model.pop(key, None)

    @rule()
    def sweeps(self) -> None:
        for participant in (0, limits.PARTICIPANT_CONTROL):
            epoch_enter(self.store.address, participant, OLDEST_NONE)
            look_at_store_clock(self.store.address, participant_at(self.store.address, participant))
            self.store.participants["sweep_ns"][participant] = 0
            sweep(self.store.address, participant, 1 << 16)
            reclaim(self.store.address, participant, 1 << 16)
            epoch_leave(self.store.address, participant)

    # --- by extensions ----------------------------------------------------------------------------------------------------

    def ask(self, isolation: str, name: str, *arguments: float) -> float:
        told = self.worker.invoke(isolation + name, *arguments)
        assert isinstance(told, float), told
        return told

    @rule(key=KEYS, lifetime=LIFETIMES, isolation=st.sampled_from(ISOLATIONS))
    def extension_puts(self, key: int, lifetime: float | None, isolation: str) -> None:
        value = self.next()
        if lifetime is None:
            self.ask(isolation, "put_for_ever", key, value)
        else:
            self.ask(isolation, "put", key, value, lifetime * HOUR)
        self.model[key] = Model(value, self.ends(lifetime))

    @rule(key=KEYS, lifetime=LIFETIMES, isolation=st.sampled_from(ISOLATIONS))
    def extension_lives(self, key: int, lifetime: float | None, isolation: str) -> None:
        found = self.there(key)
        name, arguments = ("persist", ()) if lifetime is None else ("expire", (lifetime * HOUR,))
        assert self.ask(isolation, name, key, *arguments) == (found is not None)
        if found is not None:
            self.model[key] = Model(found.value, self.ends(lifetime))

    @rule(key=KEYS, isolation=st.sampled_from(ISOLATIONS), hours=st.sampled_from([1.5, 30.5]))
    def extension_puts_what_is_new(self, key: int, isolation: str, hours: float) -> None:
        is_new = self.there(key) is None
        assert self.ask(isolation, "put_new", key, int(hours * HOUR)) == is_new
        if is_new:
            self.model[key] = Model(5, self.hours + hours)

    @rule(key=KEYS, isolation=st.sampled_from(ISOLATIONS))
    def extension_adds(self, key: int, isolation: str) -> None:
        before = self.there(key) or Model(0, math.inf)
        assert self.ask(isolation, "add", key, 1000) == before.value + 1000
        self.model[key] = Model(before.value + 1000, before.ends)

    @rule(key=KEYS, isolation=st.sampled_from(ISOLATIONS))
    def extension_asks(self, key: int, isolation: str) -> None:
        found = self.there(key)
        assert self.ask(isolation, "exists", key) == (found is not None)
        assert self.ask(isolation, "value", key) == (-1 if found is None else found.value)
        left = 0.0 if found is None else (found.ends - self.hours) * HOUR
        assert near(self.ask(isolation, "ttl", key), left)

    @rule(key=KEYS, isolation=st.sampled_from(ISOLATIONS))
    def extension_deletes(self, key: int, isolation: str) -> None:
        assert self.ask(isolation, "delete", key) == (self.there(key) is not None)
        self.model.pop(key, None)

    @rule(key=KEYS, hours=HOURS)
    def time_passes_while_one_runs(self, key: int, hours: int) -> None:
        """It reads the object, waits, and writes the next key: one that ends meanwhile is a conflict, and it begins anew."""
        beginning = self.hours
        self.worker.begin("writes", key, 3)
        self.time_passes(hours)
        told = self.worker.told(self.worker.end_in_a_later_turn())
        assert told == 0.0 or math.isnan(told)  # for ever, twice
        found = self.model.get(key)
        has_ended = found is not None and beginning < found.ends <= self.hours
        self.model[key + 1] = Model(1, (self.hours if has_ended else beginning) + 60 / HOUR)

    # --- always -----------------------------------------------------------------------------------------------------------

    @invariant()
    def it_is_the_model(self) -> None:
        if not hasattr(self, "store"):
            return
        there = {key: found for key in self.model if (found := self.there(key)) is not None}
        self.is_model(self.store, there)
        assert int(self.store.accounts["objects"][TENANT]) >= len(there)

    def is_model(self, store: Store, there: dict[int, Model]) -> None:
        found = {int.from_bytes(stored.key, "little"): stored for stored in store.scan(TABLE, tenant=TENANT)}
        assert found.keys() == there.keys()
        for key, stored in found.items():
            left = (stored.expires - store.now_ns) / NS if stored.expires else math.inf
            assert int.from_bytes(stored.value, "little") == there[key].value
            assert near(left, (there[key].ends - self.hours) * HOUR)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        there = {key: found for key in self.model if (found := self.there(key)) is not None}
        # Installed extensions are the catalog's; and a snapshot's log goes on from the number of its last commit.
        for again, without in ((self.from_log(), {"objects"}), (self.from_snapshot(), {"objects", "sequence"})):
            again.descriptor["clock_base"] = self.store.descriptor["clock_base"]
            found, expected = state_of(again, TENANT), state_of(self.store, TENANT)
            assert {name: found[name] for name in found.keys() - without} == {
                name: expected[name] for name in expected.keys() - without
            }
            assert found["objects"] == expected["objects"] - len(COMPILED)
            self.is_model(again, there)
            assert again.problems() == []
        self.sweeps()
        assert self.store.problems() == []
        assert int(self.store.accounts["objects"][TENANT]) == len(there) + len(COMPILED)  # all else was given back
        self.is_model(self.store, there)
        self.made.close()

    def from_log(self) -> Store:
        return restored([groups(self.rings, self.rings.heads())], self.store)

    def from_snapshot(self) -> Store:
        epoch = walk_begins(self.store.address)
        for participant in (0, limits.PARTICIPANT_CONTROL):  # whoever was in the middle of a turn ends it
            epoch_leave(self.store.address, participant)
        assert turns_over(self.store.address, epoch)
        copy = b"".join(bytes(piece) for piece in copied(self.store, 1 << 20))
        walk_ends(self.store.address)
        return restored([], self.store, snapshot=copy, numbers=self.store.accounts["number"].astype(np.int64))


TestExpiry = ExpiryMachine.TestCase
TestExpiry.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
