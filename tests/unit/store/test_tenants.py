"""Opening and closing tenants; walks over a table."""

from __future__ import annotations

import pytest

from splinter import limits
from splinter.errors import BusyError, UnknownTenantError
from splinter.store.accounts import call_durable
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.layout import DURABILITY_ALWAYS, DURABILITY_INTERVAL
from splinter.store.snapshots import last_deletion
from splinter.store.tenants import tenant_close, tenant_sweep

TENANT, OTHER = 1, 2


def fill(store, tenant: int, count: int, table: int = 0) -> dict[bytes, bytes]:
    """Give a tenant objects."""
    contents = {b"%d" % number: b"%d of %d" % (number, tenant) for number in range(count)}
    for key, value in contents.items():
        store.put(tenant, table, key, value)
    return contents


def remove(store, tenant: int) -> None:
    """Close a tenant and remove all it has."""
    store.close_tenant(tenant)
    for _ in store.sweep_tenant(tenant):
        pass


def test_closing_removes_all_of_one_tenant_and_nothing_else(store):
    store.open_tenant(OTHER)
    fill(store, TENANT, 300)
    fill(store, TENANT, 3, limits.TABLE_EXTENSIONS)
    kept = fill(store, OTHER, 300)
    remove(store, TENANT)
    assert (store.accounts[TENANT]["objects"], store.accounts[TENANT]["bytes_used"]) == (0, 0)
    assert store.get(TENANT, 0, b"7") is None
    assert {key: store.get(OTHER, 0, key) for key in kept} == kept
    with pytest.raises(UnknownTenantError):
        store.put(TENANT, 0, b"key", b"")
    store.open_tenant(TENANT)
    assert store.get(TENANT, 0, b"7") is None


def test_an_id_is_not_used_again_before_it_is_swept(store):
    fill(store, TENANT, 10)
    assert tenant_close(store.address, 0, TENANT) == 0
    with pytest.raises(BusyError):
        store.open_tenant(TENANT)
    remove(store, TENANT)
    store.open_tenant(TENANT)


def test_sweeping_goes_in_pieces(store):
    fill(store, TENANT, 500)
    tenant_close(store.address, 0, TENANT)
    cursor, pieces = 0, 0
    while cursor != -1:
        epoch_enter(store.address, 0, OLDEST_NONE)
        cursor = tenant_sweep(store.address, 0, TENANT, cursor, 1000)
        pieces += 1
    epoch_leave(store.address, 0)
    assert pieces > 10
    assert store.accounts[TENANT]["objects"] == 0


def is_all_durable(store, tenant: int) -> bool:
    """Whether nobody waits for a disk that has all which comes to it: here that is nothing."""
    account = store.accounts[tenant]
    return int(account["durable"]) == int(account["sequence"])


def test_a_tenant_that_is_opened_waits_for_no_commit_of_those_before_it(store):
    assert is_all_durable(store, TENANT)
    fill(store, TENANT, 10)
    assert not is_all_durable(store, TENANT)
    remove(store, TENANT)
    store.open_tenant(TENANT)
    assert is_all_durable(store, TENANT)
    assert last_deletion(store.address, TENANT) <= store.accounts[TENANT]["durable"]


def test_commits_go_on_above_all_that_others_of_the_id_had(store):
    store.open_tenant(OTHER, first=1000)
    first = store.put(OTHER, 0, b"key", b"value")
    assert first == 2 * 1001
    for given in (5, 100_000):
        remove(store, OTHER)
        store.open_tenant(OTHER, first=given)
        assert is_all_durable(store, OTHER)
        version = store.put(OTHER, 0, b"key", b"value")
        assert version > first and version > 2 * given
        first = version


@pytest.mark.parametrize("is_empty", [True, False])
def test_what_was_done_unlogged_waits_for_a_snapshot_or_for_nothing(store, is_empty: bool):
    fill(store, TENANT, 3)
    for key in (b"0", b"1", b"2")[: 3 if is_empty else 2]:
        store.delete(TENANT, 0, key)
    gaps = int(store.descriptor["log_gaps"])
    store.set_modes(TENANT, DURABILITY_ALWAYS)
    assert is_all_durable(store, TENANT) is is_empty
    assert int(store.descriptor["log_gaps"]) == gaps + (0 if is_empty else 1)
    store.set_modes(TENANT, DURABILITY_INTERVAL)  # it is logged all the time
    assert int(store.descriptor["log_gaps"]) == gaps + (0 if is_empty else 1)


def test_what_is_called_durable_stays_so(store):
    before = int(store.accounts[TENANT]["durable"])
    for sequence, called in ((before + 5, before + 5), (before + 2, before + 5), (before + 6, before + 6)):
        call_durable(store.address, TENANT, sequence)
        assert int(store.accounts[TENANT]["durable"]) == called


def test_ids_out_of_range_are_refused(store):
    for tenant in (0, limits.TENANTS_MAX):
        with pytest.raises(UnknownTenantError):
            store.open_tenant(tenant)
        with pytest.raises(UnknownTenantError):
            store.close_tenant(tenant)


def test_a_scan_lists_a_table_of_one_tenant_or_of_all(store):
    store.open_tenant(OTHER)
    fill(store, TENANT, 2000)
    fill(store, TENANT, 5, 9)
    fill(store, OTHER, 7, 9)
    assert len(list(store.scan(0))) == 2000
    assert {(found.tenant, found.key) for found in store.scan(9)} == {
        *((TENANT, b"%d" % number) for number in range(5)),
        *((OTHER, b"%d" % number) for number in range(7)),
    }
    assert {found.key: found.value for found in store.scan(9, tenant=OTHER)} == {
        b"%d" % number: b"%d of 2" % number for number in range(7)
    }
    assert list(store.scan(10)) == []
