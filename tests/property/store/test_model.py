"""The store against a dictionary: any sequence of operations by several participants gives the same answers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from splinter import limits
from splinter.errors import QuotaExceededError, UnknownTenantError, VersionChangedError
from splinter.store.classes import class_bytes, class_for
from splinter.store.layout import OBJECT_BYTES
from splinter.store.store import Store
from tests.support.rosters import roster_bytes

KEYS = st.one_of(st.binary(min_size=1, max_size=3), st.binary(min_size=1, max_size=limits.KEY_BYTES_MAX))
SIZES = st.one_of(st.integers(0, 300), st.integers(0, limits.VALUE_BYTES_MAX))
TABLES = st.sampled_from([0, 1, limits.TABLES_MAX - 1])
PARTICIPANTS = st.sampled_from([0, 1, limits.PARTICIPANT_CONTROL])
_CHUNK_BYTES_MAX = 1024
TENANTS = (1, 2, limits.TENANTS_MAX - 1)


def charge(key: bytes, value: bytes) -> int:
    """What an object costs its tenant."""
    return int(class_bytes(class_for(OBJECT_BYTES + len(key) + len(value))))


class StoreMachine(RuleBasedStateMachine):
    """One store; the model is a dictionary from (tenant, table, key) to (value, version)."""

    places = Bundle("places")

    @initialize()
    def make(self) -> None:
        self.store = Store.create(limits.STORE_BYTES_MIN, participants=2)
        self.model: dict[tuple[int, int, bytes], tuple[bytes, int]] = {}
        self.quotas: dict[int, int] = {}
        self.numbers = itertools.count(1)
        self.store.open_tenant(TENANTS[0])
        self.quotas[TENANTS[0]] = limits.TENANT_QUOTA_BYTES_DEFAULT

    def used(self, tenant: int) -> int:
        return sum(charge(key, value) for (owner, _, key), (value, _) in self.model.items() if owner == tenant)

    @rule(target=places, tenant=st.sampled_from(TENANTS), table=TABLES, key=KEYS)
    def place(self, tenant: int, table: int, key: bytes) -> tuple[int, int, bytes]:
        return tenant, table, key

    @rule(place=places, size=SIZES, participant=PARTICIPANTS, check=st.sampled_from(["none", "right", "wrong"]))
    def put(self, place: tuple[int, int, bytes], size: int, participant: int, check: str) -> None:
        tenant, table, key = place
        value = (next(self.numbers).to_bytes(4, "little") * (size // 4 + 1))[:size]
        old = self.model.get(place)
        expected = {"none": 0, "right": old[1] if old else 0, "wrong": 1}[check]
        before = self.used(tenant) + roster_bytes(self.store, tenant)
        after = before + charge(key, value) - (charge(key, old[0]) if old else 0)
        try:
            version = self.store.put(tenant, table, key, value, expected_version=expected, participant=participant)
        except UnknownTenantError:
            assert tenant not in self.quotas
        except VersionChangedError:
            assert check == "wrong"
        except QuotaExceededError:
            grown = after if old else after + _CHUNK_BYTES_MAX  # a new key may need a chunk of the roster
            assert grown > self.quotas[tenant] and after > before
        else:
            assert tenant in self.quotas and check != "wrong"
            assert self.used(tenant) <= max(before, self.quotas[tenant])
            self.model[place] = (value, version)

    @rule(place=places, participant=PARTICIPANTS)
    def delete(self, place: tuple[int, int, bytes], participant: int) -> None:
        tenant, table, key = place
        if tenant not in self.quotas:
            with pytest.raises(UnknownTenantError):
                self.store.delete(tenant, table, key, participant=participant)
            return
        assert self.store.delete(tenant, table, key, participant=participant) == (place in self.model)
        self.model.pop(place, None)

    @rule(place=places, participant=PARTICIPANTS)
    def get(self, place: tuple[int, int, bytes], participant: int) -> None:
        stored = self.store.lookup(*place, participant=participant)
        assert self.model.get(place) == (None if stored is None else (stored.value, stored.version))

    @rule(tenant=st.sampled_from(TENANTS), quota=st.sampled_from([0, 1000, 100_000, limits.TENANT_QUOTA_BYTES_DEFAULT]))
    def open_tenant(self, tenant: int, quota: int) -> None:
        self.store.open_tenant(tenant, quota)
        self.quotas[tenant] = quota

    @rule(tenant=st.sampled_from(TENANTS))
    def close_tenant(self, tenant: int) -> None:
        self.store.close_tenant(tenant)
        for _ in self.store.sweep_tenant(tenant):
            pass
        self.quotas.pop(tenant, None)
        self.model = {place: stored for place, stored in self.model.items() if place[0] != tenant}

    @rule(table=TABLES)
    def scan(self, table: int) -> None:
        listed = {(found.tenant, found.key): (found.value, found.version) for found in self.store.scan(table)}
        assert listed == {(place[0], place[2]): stored for place, stored in self.model.items() if place[1] == table}

    @invariant()
    def accounts_are_exact(self) -> None:
        if not hasattr(self, "store"):
            return
        for tenant in TENANTS:
            assert self.store.accounts[tenant]["bytes_used"] == self.used(tenant) + roster_bytes(self.store, tenant)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        for place, stored in self.model.items():
            found = self.store.lookup(*place)
            assert found is not None and (found.value, found.version) == stored
        assert self.store.problems() == []


TestStoreModel = StoreMachine.TestCase
TestStoreModel.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
