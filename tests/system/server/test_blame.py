"""A worker that dies of what an extension left is that extension's fault, also when the extension has ended by then."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

from splinter import limits
from splinter.errors import QuarantinedError, TaskKilledError
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

TRANSPORTS = [pytest.param("xdp", marks=pytest.mark.xdp), "udp"]
IMPORTS = "from splinter.ext import Store, extension, u64\n\n"
# Copied into the packet; copied into an object beside its client's record, under the tenant's lock; after a yield.
COPIED = IMPORTS + "@extension(place='worker')\ndef wild(db: Store) -> bytes:\n    return b'x'\n"
RECORDED = IMPORTS + "@extension\ndef wild(db: Store) -> bytes:\n    db.put(1, 1, 1)\n    return b'x'\n"
GOOD = IMPORTS + "@extension\ndef good(db: Store) -> bytes:\n    db.put(1, 2, 1)\n    return b'good'\n"


@pytest.fixture(scope="module", params=TRANSPORTS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    options = ("--cores", "0")
    with running_server(
        f"t{os.getpid()}bl{request.param}", request.param, *options, module="tests.support.wild_serve"
    ) as running:
        yield running


@pytest.mark.parametrize("source", [COPIED, RECORDED], ids=["copied", "recorded"])
def test_an_extension_whose_result_kills_workers_is_quarantined_and_no_other(server: RunningServer, source: str) -> None:
    admin = server.admin()
    tenant = admin.create_tenant()
    client = server.client(tenant, timeout=20.0)
    client.install(source)
    client.install(GOOD)
    for _ in range(limits.QUARANTINE_AFTER):
        assert client.invoke("good") == b"good"
        with pytest.raises(TaskKilledError):
            client.invoke("wild")
    with pytest.raises(QuarantinedError):
        client.invoke("wild")
    assert client.invoke("good") == b"good"
    kills = {extension.name: (extension.kills, extension.quarantined) for extension in client.extensions()}
    assert kills == {"wild": (limits.QUARANTINE_AFTER, True), "good": (0, False)}
    deaths = admin.stats()["watchdog"]["died"]
    with contextlib.suppress(QuarantinedError):
        client.invoke("wild")
    wait_for(lambda: admin.stats()["workers"][0]["state"] in ("running", "sleeping"), what="a worker at work")
    assert admin.stats()["watchdog"]["died"] == deaths
