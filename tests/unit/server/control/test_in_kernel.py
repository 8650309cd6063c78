"""Extensions that the kernel runs, as the control process publishes, withdraws and reloads them; the kernel is played."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from splinter import limits
from splinter.client import Client
from splinter.errors import CompileError, ControlError
from splinter.ext import record
from splinter.ext.abi import RECORD
from splinter.net.xdp.extensions import Loaded
from splinter.server.config import ServerConfig
from splinter.server.control.in_kernel import InKernel
from splinter.store.store import Store
from tests.support.waiting import wait_for

READS = "@extension\ndef f(db: Store, x: u64) -> u64:\n    return 0 if db.get(1, x) is None else {}\n"
REFUSED = READS.format(0xDEAD)  # by the kernel that is played
WRITES = "@extension\ndef f(db: Store, x: u64) -> u64:\n    db.put(1, x, x)\n    return x\n"
WORKER = 0


class Played:
    """What :class:`ExtensionPrograms` does, without a kernel."""

    def __init__(self) -> None:
        self.placed: dict[int, int] = {}  # identity by slot
        self.kept: dict[int, bytes] = {}

    def load(self, object_file: bytes, identity: int) -> Loaded:
        if (0xDEAD).to_bytes(4, "little") in object_file:
            return Loaded(worker_reason="the kernel's verifier cannot follow it")
        return Loaded(-1, identity, object_file=object_file)

    def place(self, slot: int, program: Loaded) -> None:
        self.placed.pop(slot, None)
        if program.identity:
            self.placed[slot], self.kept[slot] = program.identity, program.object_file

    def withdraw(self) -> None:
        self.placed.clear()

    def reload(self, slot: int, identity: int) -> Loaded:
        return self.load(self.kept[slot], identity) if slot in self.kept else Loaded()

    def invocations(self, slot: int) -> int:
        return 7 if slot in self.placed else 0

    def clear(self, slot: int) -> None:
        pass


@pytest.fixture
def with_kernel(control_stopped: Any) -> Any:
    control_stopped.shared.kernel = Played()
    control_stopped.shared.config = ServerConfig(cores=control_stopped.shared.config.cores, quarantine_after=2)
    control_stopped.start()
    return control_stopped


@pytest.fixture
def tenant(with_kernel: Any) -> Iterator[Client]:
    token = with_kernel.admin().create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=with_kernel.port) as client:
        yield client


def identity(control: Any) -> int:
    """Which code the record of the extension has the kernel run; 0: none."""
    value = control.store.get(7, limits.TABLE_EXTENSIONS, b"f", participant=WORKER)
    return int(np.frombuffer(value, RECORD, 1)[0]["kernel"])


def test_what_only_reads_is_placed_in_the_kernel(with_kernel: Any, tenant: Client) -> None:
    info = tenant.install(READS.format(1))
    assert (info.place, info.worker_reason, info.in_kernel, info.invocations) == ("kernel", "", 7, 7)
    first = identity(with_kernel)
    assert first != 0
    tenant.install(READS.format(2))
    assert identity(with_kernel) not in (0, first)


def test_the_rest_is_not_and_told_why(with_kernel: Any, tenant: Client) -> None:
    info = tenant.install(READS.format(1))
    info = tenant.install(WRITES)
    assert (info.place, info.worker_reason) == ("worker", "line 3: it writes, and in the kernel extensions only read")
    assert identity(with_kernel) == 0
    info = tenant.install(REFUSED)
    assert (info.place, info.worker_reason) == ("worker", "the kernel's verifier cannot follow it")
    assert identity(with_kernel) == 0


@pytest.mark.parametrize(("source", "told"), [(WRITES, "it writes"), (REFUSED, "verifier cannot follow")])
def test_who_insists_on_the_kernel_is_refused(with_kernel: Any, tenant: Client, source: str, told: str) -> None:
    with pytest.raises(CompileError, match=told):
        tenant.install(source.replace("@extension", "@extension(place='kernel')"))
    assert tenant.extensions() == []


def test_a_server_without_a_tier_refuses_who_insists(control: Any) -> None:
    token = control.admin().create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=control.port) as client:
        with pytest.raises((CompileError, ControlError), match="no tier in the kernel"):
            client.install(READS.format(1).replace("@extension", "@extension(place='kernel')"))
        info = client.install(READS.format(1))
        assert (info.place, info.worker_reason) == ("worker", "")


def test_quarantine_holds_in_the_kernel_until_it_is_released(with_kernel: Any, tenant: Client) -> None:
    tenant.install(READS.format(1))
    mine, slot = identity(with_kernel), record.parse(
        with_kernel.store.get(7, limits.TABLE_EXTENSIONS, b"f", participant=WORKER)
    ).statistics  # fmt: skip
    counters = with_kernel.shared.extension_counters[0]
    counters["kills"][slot] = 1
    tenant.install(READS.format(1))  # which forgives
    mine = identity(with_kernel)
    counters["kills"][slot] += 2
    wait_for(lambda: identity(with_kernel) == 0, 10, "the extension's withdrawal")
    (info,) = tenant.extensions()
    assert (info.place, info.worker_reason, info.quarantined) == ("worker", "it is in quarantine", True)
    with_kernel.admin().release_extension(7, "f")
    assert identity(with_kernel) == mine
    (info,) = tenant.extensions()
    assert (info.place, info.quarantined) == ("kernel", False)


def test_an_uninstalled_one_has_no_program(with_kernel: Any, tenant: Client) -> None:
    tenant.install(READS.format(1))
    tenant.uninstall("f")
    assert tenant.install(READS.format(1)).place == "kernel"


# --- in this process -----------------------------------------------------------------------------------------------------


def test_programs_of_an_earlier_server_are_loaded_anew() -> None:
    store, played = Store.create(limits.STORE_BYTES_MIN), Played()
    played.placed, played.kept = {3: 9, 4: 10}, {3: b"code"}
    in_kernel = InKernel(store, played)  # type: ignore[arg-type]
    for slot, number in ((3, 9), (4, 10)):
        in_kernel.note_earlier(slot, 7, f"f{slot}", earlier(number))
    assert in_kernel.obstacle(3)
    asyncio.run(in_kernel.reload())
    assert played.placed == {3: 9}
    assert in_kernel.obstacle(3) is None and "earlier server" in (in_kernel.obstacle(4) or "")


def test_what_was_installed_meanwhile_stays() -> None:
    store, played = Store.create(limits.STORE_BYTES_MIN), Played()
    played.kept = {3: b"code"}
    in_kernel = InKernel(store, played)  # type: ignore[arg-type]
    in_kernel.note_earlier(3, 7, "f", earlier(9))
    load = played.reload

    def reload(slot: int, number: int) -> Loaded:
        in_kernel.put(3, Loaded(-1, 11, object_file=b"newer"))
        in_kernel.note(3, 7, "f", 11)
        return load(slot, number)

    played.reload = reload  # type: ignore[method-assign]
    asyncio.run(in_kernel.reload())
    assert played.placed == {3: 11} and in_kernel.obstacle(3) is None


def earlier(number: int) -> record.InstalledExtension:
    """What a record says of code with this identity."""
    found = object.__new__(record.InstalledExtension)
    object.__setattr__(found, "kernel", number)
    object.__setattr__(found, "is_kernel_used", True)
    return found
