"""Tokens by the control connection: set, changed with two valid meanwhile, and what is said to who has one no more."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from splinter import limits
from splinter.client import Client
from splinter.errors import (
    ControlError,
    PathError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    TenantRemovedError,
    UnknownTenantError,
    WrongTokenError,
)
from splinter.net.tenants import TENANT
from splinter.store.layout import DURABILITY_ALWAYS, LOG_FAILED
from splinter.worker.tokens import is_token_of
from tests.unit.server.control.conftest import CREDENTIAL


def valid(control, tenant: int, *tokens: int) -> list[bool]:
    """Which tokens the control plane takes, and that the data path's records say the same."""
    found = []
    for token in tokens:
        try:
            control.connect().request("extension.list", tenant=tenant, token=token)
            found.append(True)
        except PermissionDeniedError:
            found.append(False)
    record = control.shared.tenants[tenant : tenant + 1]
    assert found == [bool(is_token_of(record.ctypes.data, np.uint64(token).astype(np.int64))) for token in tokens]
    return found


def test_both_tokens_are_valid_until_the_change_is_finished(control):
    admin = control.admin()
    old = admin.create_tenant(7).token
    changed = admin.rotate_token(7)
    new = changed.token
    assert changed.former_token == old != new
    assert valid(control, 7, old, new, new ^ 1, 0) == [True, True, False, False]
    told = admin.get_tenant(7, token=True)
    assert (told.token, told.former_token) == (new, old)
    assert admin.get_tenant(7).former_token == 0
    finished = admin.finish_rotation(7)
    assert (finished.token, finished.former_token) == (new, 0)
    assert valid(control, 7, old, new, 0) == [False, True, False]
    assert admin.finish_rotation(7).token == new  # nothing is under way: nothing happens


def test_a_token_can_be_set(control):
    admin = control.admin()
    old = admin.create_tenant(7).token
    assert admin.rotate_token(7, 0xDEC0DE).token == 0xDEC0DE
    assert valid(control, 7, old, 0xDEC0DE) == [True, True]
    for token in (0, -1):
        with pytest.raises(ControlError, match="'token' is 1 …"):
            control.connect().request("tenant.rotate", credential=CREDENTIAL, tenant=7, token=token)
    for token in (old, 0xDEC0DE):
        with pytest.raises(ControlError, match="already"):
            admin.rotate_token(7, token, at_once=True)
    assert valid(control, 7, old, 0xDEC0DE) == [True, True]


def test_a_second_change_waits_for_the_first(control):
    """Else the oldest token, which clients may still have, would end without a word."""
    admin = control.admin()
    old = admin.create_tenant(7).token
    new = admin.rotate_token(7).token
    with pytest.raises(ControlError, match="--finish") as raised:
        admin.rotate_token(7)
    assert raised.value.code == "token_change"
    assert valid(control, 7, old, new) == [True, True]


def test_at_once_ends_all_that_others_may_know(control):
    admin = control.admin()
    old = admin.create_tenant(7).token
    new = admin.rotate_token(7).token
    newest = admin.rotate_token(7, at_once=True).token
    assert valid(control, 7, old, new, newest, 0) == [False, False, True, False]


def test_a_tenant_keeps_its_objects_through_a_change(control):
    admin = control.admin()
    admin.create_tenant(7)
    control.store.put(7, 1, b"k", b"v", participant=0)
    admin.rotate_token(7)
    admin.finish_rotation(7)
    assert control.store.get(7, 1, b"k") == b"v"
    assert control.shared.tenants[7]["generation"] == 1


def test_a_change_survives_the_control_process(control):
    admin = control.admin()
    old = admin.create_tenant(7).token
    new = admin.rotate_token(7).token
    control.restart()
    assert valid(control, 7, old, new) == [True, True]
    control.admin().finish_rotation(7)
    assert valid(control, 7, old, new) == [False, True]


def test_a_change_that_died_between_its_stores_can_be_made_again(control):
    old = control.admin().create_tenant(7).token
    control.end(signal.SIGKILL)
    control.store.recover(limits.PARTICIPANT_CONTROL)
    control.shared.tenants["former_token"][7] = old  # as far as it came
    control.start()
    admin = control.admin()
    assert admin.get_tenant(7, token=True).former_token == 0
    new = admin.rotate_token(7).token
    assert valid(control, 7, old, new) == [True, True]


def test_a_new_tenant_of_the_id_has_none_of_the_tokens_before(control):
    admin = control.admin()
    old = admin.create_tenant(7).token
    newer = admin.rotate_token(7).token
    admin.remove_tenant(7)
    again = admin.create_tenant(7).token
    assert valid(control, 7, old, newer, again) == [False, False, True]


def test_only_the_administrator_changes_tokens(control):
    token = control.admin().create_tenant(7).token
    for fields in ({"token": token}, {}, {"credential": "wrong"}):
        with pytest.raises(PermissionDeniedError):
            control.connect().request("tenant.rotate", tenant=7, **fields)
    with pytest.raises(UnknownTenantError):
        control.admin().rotate_token(8)
    assert valid(control, 7, token) == [True]


def test_a_token_of_nothing_is_no_token():
    record = np.zeros(1, TENANT)
    assert not is_token_of(record.ctypes.data, 0)
    record["token"] = 5
    assert [bool(is_token_of(record.ctypes.data, token)) for token in (0, 5, 6)] == [False, True, False]
    record["former_token"] = 6
    assert [bool(is_token_of(record.ctypes.data, token)) for token in (0, 5, 6)] == [False, True, True]


# --- what a client whose requests are dropped is told --------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[int]:
    """A UDP port at which everything is dropped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        yield made.getsockname()[1]


CALLS: list[Callable[[Client], object]] = [
    lambda client: client.get(b"k"),
    lambda client: client.put(b"k", bytes(9000)),
    lambda client: client.put_many([(b"k", b"v")]),
]


TIMEOUTS = (0.4, 2.0, 8.0)


def told(control, silent: int, tenant: int, token: int, ask: Callable[[Client], object] = CALLS[0]) -> RequestTimeoutError:
    for seconds in TIMEOUTS:  # on a busy machine the control process may not say the reason within the first
        with (
            Client("127.0.0.1", tenant, token, port=silent, control_port=control.port, timeout=seconds) as client,
            pytest.raises(RequestTimeoutError) as raised,
        ):
            ask(client)
        assert str(raised.value).startswith("no answer within ")
        if type(raised.value) is not RequestTimeoutError or "disk" in str(raised.value):
            break
    return raised.value


@pytest.mark.parametrize("ask", CALLS)
def test_a_wrong_token_and_an_unknown_tenant_are_told_the_same(control, silent, ask):
    token = control.admin().create_tenant(7).token
    errors = [told(control, silent, 7, token ^ 1, ask), told(control, silent, 8, token, ask), told(control, silent, 9, 1, ask)]
    assert {type(error) for error in errors} == {WrongTokenError}
    assert len({str(error) for error in errors}) == 1
    assert "tenant or token" in str(errors[0])


def test_who_had_the_token_is_told_what_became_of_it(control, silent):
    admin = control.admin()
    removed, rotated = admin.create_tenant(7).token, admin.create_tenant(8).token
    admin.remove_tenant(7)
    admin.rotate_token(8, at_once=True)
    assert isinstance(told(control, silent, 7, removed), TenantRemovedError)
    replaced = told(control, silent, 8, rotated)
    assert isinstance(replaced, WrongTokenError) and "replaced" in str(replaced)
    # Not so a stranger, who knows neither, and the same when another has the id.
    admin.create_tenant(7)
    for tenant, token in ((7, removed ^ 1), (8, removed), (7, rotated)):
        assert type(told(control, silent, tenant, token)) is WrongTokenError
    assert isinstance(told(control, silent, 7, removed), TenantRemovedError)


def test_a_tenant_over_its_limit_is_told_so(control, silent):
    token = control.admin().create_tenant(7, packets_per_second=1000).token
    control.shared.rates["dropped"][7] = 12345
    control.shared.rates["due"][7] = time.monotonic_ns() + 3600 * 10**9
    error = told(control, silent, 7, token)
    assert isinstance(error, RateLimitedError) and "1,000 packets a second" in str(error) and "12,345" in str(error)
    control.shared.rates["due"][7] = time.monotonic_ns()  # it was over it once, and is not now
    assert isinstance(told(control, silent, 7, token), PathError)


@pytest.mark.parametrize(("field", "value"), [("log_state", LOG_FAILED), ("log_stands", 1)])
def test_a_tenant_whose_writes_the_disk_refuses_is_told_so(control, silent, field: str, value: int):
    token, other = control.admin().create_tenant(7).token, control.admin().create_tenant(8).token
    store = control.shared.store
    store.accounts["durability"][7] = DURABILITY_ALWAYS
    store.descriptor[field] = value
    error = told(control, silent, 7, token)
    assert "takes no writes" in str(error) and "firewall" not in str(error)
    assert isinstance(told(control, silent, 8, other), PathError)  # nothing of it is kept


def test_a_way_that_is_closed_to_requests_alone_is_told(control, silent):
    token = control.admin().create_tenant(7).token
    error = told(control, silent, 7, token)
    assert isinstance(error, PathError) and "firewall" in str(error) and "MTU" in str(error)


def test_the_status_is_the_tenants_own(control):
    token = control.admin().create_tenant(7).token
    assert control.connect().request("tenant.status", tenant=7, token=token) == {
        "ok": True, "packets_per_second": 0, "packets_dropped": 0, "over_limit": False, "disk_refuses": False, "requests": 0,
        "kernel_gets": 0,
    }  # fmt: skip
    with pytest.raises(PermissionDeniedError):
        control.connect().request("tenant.status", tenant=7, token=token ^ 1)
