"""Audit lines and the events of what is done by the control connection."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import pytest

from splinter.errors import ControlError, PermissionDeniedError, SplinterError, UnknownTenantError
from splinter.server.control.audit import ACTS, STRANGERS_PER_SECOND, TOLD, Audit
from splinter.server.control.places import Rank
from tests.support.handlers import fields_of_operations
from tests.support.waiting import wait_for
from tests.unit.server.control.conftest import CREDENTIAL, Control

SOURCE = """
from splinter.ext import extension, Store, u64

@extension
def twice(db: Store, x: u64) -> u64:
    return x + x
"""
ADMINISTRATOR = Rank.ADMINISTRATOR, 0


def kinds(control: Control, admin) -> list[str]:
    control.shared.events.receive()
    return [one["kind"] for one in admin.events()["events"]]


@pytest.fixture
def lines(control_stopped: Control) -> Iterator[list[str]]:
    """The audit lines of a control process that is started with this fixture, as far as they have come."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    handler = logging.StreamHandler(os.fdopen(writing, "w"))
    audit = logging.getLogger("splinter.audit")
    audit.addHandler(handler)
    audit.setLevel(logging.INFO)
    control_stopped.start()
    handler.stream.close()
    audit.removeHandler(handler)

    class Lines(list[str]):
        def come(self, count: int) -> list[str]:
            def look() -> bool:
                with contextlib.suppress(BlockingIOError):
                    self.extend(os.read(reading, 1 << 20).decode().splitlines())
                return len(self) >= count

            wait_for(look, what="audit lines")
            return self

    yield Lines()
    os.close(reading)


def test_acts_are_told_with_who_what_and_outcome_and_no_secret(control_stopped, lines):
    admin = control_stopped.admin()
    made = admin.create_tenant(7, home=1)
    admin.rotate_token(7, 0x1234567890ABCDEF)
    with pytest.raises(ControlError):
        admin.rotate_token(7)
    tenant = control_stopped.connect()
    tenant.request("extension.install", tenant=7, token=made.token, source=SOURCE, name=None)
    with pytest.raises(PermissionDeniedError):
        control_stopped.admin("guess-of-a-credential").stats()
    with pytest.raises(PermissionDeniedError):
        control_stopped.connect().request("tenant.remove", tenant=7, token=made.token)
    admin.remove_tenant(7)
    admin.list_tenants()
    admin.list_tenants(tokens=True)
    found = lines.come(8)
    assert found[1:] == [
        'audit: administrator from 127.0.0.1: "tenant.rotate" tenant=7 at_once=False: ok',
        'audit: administrator from 127.0.0.1: "tenant.rotate" tenant=7 at_once=False: token_change',
        'audit: tenant 7 from 127.0.0.1: "extension.install" tenant=7: ok',
        'audit: a stranger from 127.0.0.1: "stats": permission_denied',
        'audit: tenant 7 from 127.0.0.1: "tenant.remove" tenant=7: permission_denied',
        'audit: administrator from 127.0.0.1: "tenant.remove" tenant=7: ok',
        'audit: administrator from 127.0.0.1: "tenant.list" tokens=True: ok',
    ]
    assert found[0].startswith('audit: administrator from 127.0.0.1: "tenant.create" tenant=7 home=1') and found[0].endswith(
        ": ok"
    )
    for secret in (CREDENTIAL, "guess", "1234567890", f"{made.token}", f"{made.token:x}", "twice"):
        assert secret not in "\n".join(found)


def test_all_that_says_what_an_act_did_is_told():
    found = {op: read for op, read in fields_of_operations().items() if op in ACTS}
    assert found.keys() == ACTS
    assert set.union(*found.values()) - set(TOLD) == {
        "token", "source",  # secrets
        "start", "number",  # where a list goes on, which hold of a backup
    }  # fmt: skip


def test_how_durable_a_tenant_is_made_is_told(caplog):
    with caplog.at_level(logging.INFO):
        Audit().note({"op": "tenant.limit", "tenant": 7, "durability": "none"}, ADMINISTRATOR, "1.2.3.4", "ok")
    assert caplog.messages == ['audit: administrator from 1.2.3.4: "tenant.limit" tenant=7 durability="none": ok']


def test_which_extensions_of_a_source_were_wanted_is_told(caplog):
    with caplog.at_level(logging.INFO):
        Audit().note({"op": "extension.install", "tenant": 7, "names": ["f", "g"]}, ADMINISTRATOR, "1.2.3.4", "ok")
    assert caplog.messages == ['audit: administrator from 1.2.3.4: "extension.install" tenant=7 names="f,g": ok']


@pytest.mark.parametrize("field", ["name", "names"])
@pytest.mark.parametrize(
    "value",
    ["a: ok\nsplinter: b", "\x1b[2J", "x" * 10_000, "\u202e", {"a": "secret"}, b"secret", 1.5, ["a: ok\nsplinter: b"] * 500,
     ["secret", 5], [["secret"]]],
)  # fmt: skip
def test_hostile_fields_stay_one_short_visible_word(caplog, field, value):
    with caplog.at_level(logging.INFO):
        Audit().note({"op": "extension.install", "tenant": 7, field: value, "token": 99}, ADMINISTRATOR, "1.2.3.4", "ok")
    (message,) = caplog.messages
    assert message.isprintable() and message.isascii() and len(message) < 600
    assert "secret" not in message and "99" not in message and message.endswith(": ok")
    assert "a: ok\\n" in message or ": ok" not in message[:-4]


def test_strangers_cannot_fill_the_log_and_what_was_left_out_is_counted(caplog):
    now = [0.0]
    audit = Audit(clock=lambda: now[0])
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            audit.note({"op": "stats"}, None, "1.2.3.4", "permission_denied")
        assert len(caplog.messages) == STRANGERS_PER_SECOND
        audit.note({"op": "tenant.remove", "tenant": 1}, ADMINISTRATOR, "1.2.3.4", "ok")  # others are heard all the same
        assert f"(and {1000 - STRANGERS_PER_SECOND} refusals" in caplog.messages[-1]
        now[0] = 1.0
        audit.note({"op": "stats"}, None, "1.2.3.4", "permission_denied")
    assert len(caplog.messages) == STRANGERS_PER_SECOND + 2


def test_what_is_done_becomes_events(control):
    admin = control.admin()
    made = admin.create_tenant(7)
    admin.create_tenants(3)
    admin.move_tenant(7, 0)
    tenant = control.connect()
    tenant.request("extension.install", tenant=7, token=made.token, source=SOURCE)
    tenant.request("extension.uninstall", tenant=7, token=made.token, name="twice")
    admin.remove_tenant(7)
    assert kinds(control, admin) == [
        "tenant.created", "tenant.created", "tenant.moved", "extension.installed", "extension.removed", "tenant.removed",
    ]  # fmt: skip


def test_what_is_refused_becomes_none(control):
    admin = control.admin()
    for refused in (lambda: admin.remove_tenant(7), lambda: admin.move_tenant(7, 0), lambda: admin.release_extension(7, "f")):
        with pytest.raises(SplinterError):
            refused()
    assert kinds(control, admin) == []


def test_events_outlive_the_control_process(control):
    admin = control.admin()
    admin.create_tenant(7)
    assert kinds(control, admin) == ["tenant.created"]
    control.restart()
    again = control.admin()
    again.create_tenant(8)
    control.shared.events.receive()
    assert [(one["number"], one["tenant"]) for one in again.events()["events"]] == [(1, 7), (2, 8)]


def test_a_tenant_sees_its_own_events_only(control):
    admin = control.admin()
    made, other = admin.create_tenant(7), admin.create_tenant(8)
    control.shared.events.receive()
    tenant = control.connect()
    found = tenant.request("events", tenant=7, token=made.token)
    assert [(one["number"], one["tenant"]) for one in found["events"]] == [(1, 7)]
    for fields in ({"tenant": 7, "token": other.token}, {"tenant": 7}, {}, {"credential": "x"}, {"token": made.token}):
        with pytest.raises(SplinterError):
            tenant.request("events", **fields)
    admin.remove_tenant(7)
    again = admin.create_tenant(7)
    control.shared.events.receive()
    found = tenant.request("events", tenant=7, token=again.token)
    assert [one["kind"] for one in found["events"]] == ["tenant.created"], "of the tenant that has the id now"


@pytest.mark.parametrize(
    "fields", [{"after": -1}, {"after": "x"}, {"after": 1 << 63}, {"count": 0}, {"count": 257}, {"count": True}]
)
def test_fields_that_cannot_be_are_refused(control, fields):
    with pytest.raises(ControlError):
        control.connect().request("events", credential=CREDENTIAL, **fields)


def test_a_quarantine_is_told_once_even_by_the_next_control_process(control):
    admin = control.admin()
    made = admin.create_tenant(7)
    control.connect().request("extension.install", tenant=7, token=made.token, source=SOURCE)
    for row in control.shared.extension_counters:
        row["kills"][0] = control.shared.config.quarantine_after
    wait_for(lambda: "extension.quarantined" in kinds(control, admin), what="the event")
    control.restart()
    again = control.admin()
    again.release_extension(7, "twice")
    assert kinds(control, again).count("extension.quarantined") == 1
    assert kinds(control, again)[-1] == "extension.released"
    with pytest.raises(UnknownTenantError):
        again.move_tenant(9, 0)
