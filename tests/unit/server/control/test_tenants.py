"""Tenants by the control connection: their life, who may ask, and what shared memory says of them."""

from __future__ import annotations

import signal

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.errors import BusyError, ControlError, PermissionDeniedError, UnknownTenantError
from splinter.net.tenants import TENANT_ACTIVE, TENANT_REMOVING
from splinter.store.epochs import epoch_advance, epoch_now, epoch_oldest
from tests.support.waiting import wait_for
from tests.unit.server.control.conftest import CREDENTIAL


def test_a_created_tenant_is_active_with_its_token_and_may_store(control):
    created = control.admin().create_tenant(7, quota_bytes=1 << 20)
    record = control.shared.tenants[7]
    assert created == TenantInfo(7, int(record["token"]), 7 % 3, 1 << 20)
    assert created.token != 0
    assert record["flags"] == TENANT_ACTIVE
    assert control.store.put(7, 1, b"k", b"v")
    assert int(control.store.accounts["quota_bytes"][7]) == 1 << 20


def test_ids_are_the_lowest_free_and_homes_go_round(control):
    admin = control.admin()
    admin.create_tenant(2)
    created = admin.create_tenants(4)
    assert [(item.tenant, item.home) for item in created] == [(1, 1), (3, 0), (4, 1), (5, 2)]
    assert len({item.token for item in created}) == 4
    assert admin.create_tenant(9, home=2).home == 2


def test_a_thousand_tenants_in_one_message(control):
    admin = control.admin()
    created = admin.create_tenants(1000)
    assert len({item.token for item in created}) == 1000
    listed = admin.list_tenants(tokens=True)
    assert [(item.tenant, item.token) for item in listed] == [(item.tenant, item.token) for item in created]


def test_all_ids_at_once(control):
    admin = control.admin()
    created = admin.create_tenants(limits.TENANTS_MAX - 1, packets_per_second=5)
    assert len(created) == limits.TENANTS_MAX - 1
    listed = admin.list_tenants(tokens=True)
    assert created == listed and all(item.token and item.packets_per_second == 5 for item in created)
    with pytest.raises(ControlError, match="0 tenant ids are free"):
        admin.create_tenant()


@pytest.mark.parametrize("count", [20_000, limits.TENANTS_MAX, limits.TENANTS_MAX - 1, 5000])
def test_more_than_are_free_are_not_created_in_part(control, count):
    admin = control.admin()
    taken = admin.create_tenants(limits.TENANTS_MAX - 4999)
    with pytest.raises(ControlError, match=r"nothing was created|is 1 … 16383"):
        control.connect().request("tenant.create", credential=CREDENTIAL, count=count)
    assert [item.tenant for item in admin.list_tenants()] == [item.tenant for item in taken]


def test_what_fails_in_the_midst_creates_none(control):
    """An id among them cannot be opened: its account is still being swept."""
    control.store.open_tenant(5)
    control.store.put(5, 1, b"k", b"v", participant=0)
    control.store.close_tenant(5, participant=0)
    admin = control.admin()
    with pytest.raises(BusyError):
        admin.create_tenants(10)
    assert admin.list_tenants() == []
    # What was prepared is cleared away, as a removed tenant is.
    wait_for(lambda: admin.stats() and not control.shared.tenants["flags"].any(), what="the end of what was prepared")
    assert len(admin.create_tenants(10)) == 10


def test_lists_tell_usage_and_tokens_only_when_asked(control):
    admin = control.admin()
    token = admin.create_tenant(7).token
    control.store.put(7, 1, b"k", b"v" * 100)
    (listed,) = admin.list_tenants()
    assert (listed.token, listed.objects) == (0, 1)
    assert listed.bytes_used >= 100
    assert admin.get_tenant(7, token=True).token == token
    with pytest.raises(UnknownTenantError):
        admin.get_tenant(8)


def test_an_id_in_use_is_refused(control):
    admin = control.admin()
    token = admin.create_tenant(7).token
    with pytest.raises(ControlError, match="exists") as raised:
        admin.create_tenant(7)
    assert raised.value.code == "tenant_exists"
    assert admin.get_tenant(7, token=True).token == token


def test_removal_takes_everything_and_frees_the_id(control):
    admin = control.admin()
    first, other = admin.create_tenant(7), admin.create_tenant(8)
    for number in range(1000):
        control.store.put(7, number % 5, b"key %d" % number, b"v" * 50, participant=0)
        control.store.put(8, number % 5, b"key %d" % number, b"other", participant=0)
    admin.remove_tenant(7)
    assert control.shared.tenants[7]["flags"] == 0
    assert int(control.store.accounts["objects"][7]) == 0
    assert control.store.get(7, 0, b"key 0") is None
    assert control.store.get(8, 0, b"key 0") == b"other"
    with pytest.raises(UnknownTenantError):
        admin.remove_tenant(7)
    again = admin.create_tenant(7)
    assert again.token != first.token
    assert control.shared.tenants[7]["generation"] == 2
    assert control.store.get(7, 0, b"key 0") is None
    assert [item.tenant for item in admin.list_tenants()] == [7, other.tenant]


def test_an_unfinished_removal_is_finished_by_the_next_control_process(control):
    control.admin().create_tenant(7)
    control.store.put(7, 1, b"k", b"v", participant=0)
    control.end(signal.SIGKILL)
    control.store.recover(limits.PARTICIPANT_CONTROL)
    control.shared.tenants["flags"][7] = TENANT_REMOVING  # as far as the first one came
    control.start()
    admin = control.admin()
    # Each stats request lets the removal go on.
    wait_for(lambda: admin.stats() and control.shared.tenants["flags"][7] == 0, what="the removal's end")
    assert int(control.store.accounts["objects"][7]) == 0
    admin.create_tenant(7)


def test_a_restarted_control_process_knows_the_tenants(control):
    token = control.admin().create_tenant(7).token
    control.restart()
    assert control.admin().get_tenant(7, token=True).token == token


def test_the_credential_is_needed(control):
    control.admin().create_tenant(7)
    for op in ("tenant.create", "tenant.list", "tenant.remove", "stats"):
        for fields in ({}, {"credential": "wrong"}, {"credential": "the administrator's secres"}):
            with pytest.raises(PermissionDeniedError):
                control.connect().request(op, tenant=7, **fields)
    assert control.shared.tenants[7]["flags"] == TENANT_ACTIVE


def test_a_tenants_token_is_needed_and_unknown_tenants_look_the_same(control):
    token = control.admin().create_tenant(7).token
    connection = control.connect()
    assert connection.request("extension.list", tenant=7, token=token)["extensions"] == []
    refused = set()
    for tenant, wrong in ((7, token ^ 1), (7, 0), (8, token), (8, 0), (8, 1)):
        with pytest.raises(PermissionDeniedError) as raised:
            connection.request("extension.list", tenant=tenant, token=wrong)
        refused.add(str(raised.value))
    assert len(refused) == 1


def test_the_process_holds_no_epoch_while_it_waits(control):
    admin = control.admin()
    admin.create_tenant(7)
    before = epoch_now(control.store.address)
    epoch_advance(control.store.address)
    assert epoch_oldest(control.store.address) > before


def test_statistics_count_operations(control):
    admin = control.admin()
    admin.create_tenants(3)
    stats = admin.stats()
    assert stats["control"]["tenants"] == 3
    assert stats["control"]["operations"] == {"tenant.create": 1, "stats": 1}
    assert stats["store"]["objects"] == 0


def test_a_change_of_limits_that_is_refused_has_changed_nothing(control):
    """Whatever is asked for together: the store refuses modes while it cannot have the tenant's lock."""
    admin = control.admin()
    before = admin.create_tenant(7, quota_bytes=1 << 20, packets_per_second=5)
    control.store.accounts["lock"][7] = 99  # a holder that does not let go
    with pytest.raises(BusyError):
        admin.limit_tenant(7, quota_bytes=1 << 21, packets_per_second=9, eviction="hyperbolic", durability="none")
    control.store.accounts["lock"][7] = 0
    assert admin.list_tenants(tokens=True) == [before]
    after = admin.limit_tenant(7, quota_bytes=1 << 21, packets_per_second=9, eviction="hyperbolic", durability="none")
    assert (after.quota_bytes, after.packets_per_second, after.eviction) == (1 << 21, 9, "hyperbolic")
