"""Extensions that the kernel runs, as the control process publishes, withdraws and reloads them; the kernel is played."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pytest

from splinter import limits
from splinter.client import Client
from splinter.errors import CompileError, ControlError, QuotaExceededError
from splinter.ext import record
from splinter.ext.abi import RECORD
from splinter.net.xdp.extensions import KEPT_BYTES, Loaded
from splinter.server.config import ServerConfig
from splinter.server.control.in_kernel import InKernel
from splinter.store.store import Store
from tests.support.waiting import wait_for

READS = "@extension\ndef f(db: Store, x: u64) -> u64:\n    return 0 if db.get(1, x) is None else {}\n"
REFUSED = READS.format(0xDEAD)  # by the kernel that is played
WRITES = "@extension\ndef f(db: Store, x: u64) -> u64:\n    db.put(1, x, x)\n    return x\n"
WORKER = 0
PROGRAM_BYTES = 30_000
IN_KERNEL_BYTES = KEPT_BYTES + PROGRAM_BYTES


class Played:
    """What :class:`ExtensionPrograms` does, without a kernel."""

    def __init__(self) -> None:
        self.placed: dict[int, int] = {}  # identity by slot
        self.kept: dict[int, bytes] = {}
        self.has_memory = True

    def load(self, object_file: bytes, identity: int) -> Loaded:
        if (0xDEAD).to_bytes(4, "little") in object_file:
            return Loaded(worker_reason="the kernel's verifier cannot follow it")
        return Loaded(-1, identity, "", object_file, PROGRAM_BYTES)

    def place(self, slot: int, program: Loaded) -> bool:
        self.placed.pop(slot, None)
        self.kept.pop(slot, None)
        if program.identity and self.has_memory:
            self.placed[slot], self.kept[slot] = program.identity, program.object_file
        return self.has_memory

    def withdraw(self, slots: Collection[int] | None = None) -> None:
        for slot in list(self.placed) if slots is None else slots:
            self.placed.pop(slot, None)

    def keep_only(self, slots: Collection[int]) -> None:
        self.kept = {slot: code for slot, code in self.kept.items() if slot in slots}

    def reload(self, slot: int, identity: int) -> Loaded:
        return self.load(self.kept[slot], identity) if slot in self.kept else Loaded(worker_reason="not kept")

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
    return int(np.frombuffer(value, RECORD.dtype, 1)[0]["kernel"])


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


# --- what is charged -----------------------------------------------------------------------------------------------------


def charged(control: Any) -> int:
    """To the tenant, beyond the machine code of its one extension."""
    told = control.admin().get_tenant(7)
    (info,) = told_extensions(control)
    assert told.bytes_used > told.code_bytes  # by the record
    return int(told.code_bytes) - int(info["code_bytes"])


def told_extensions(control: Any) -> list[dict[str, Any]]:
    found = control.connect().request("extension.list", credential="the administrator's secret", tenant=7)
    return list(found["extensions"])


def test_what_the_kernel_has_is_charged_until_it_is_replaced(with_kernel: Any, tenant: Client) -> None:
    tenant.install(READS.format(1))
    assert charged(with_kernel) == IN_KERNEL_BYTES
    tenant.install(READS.format(2))  # which is charged in its place
    assert charged(with_kernel) == IN_KERNEL_BYTES
    tenant.install(WRITES)
    assert charged(with_kernel) == 0


def test_nothing_is_charged_of_what_was_removed(with_kernel: Any, tenant: Client) -> None:
    tenant.install(READS.format(1))
    tenant.uninstall("f")
    told = with_kernel.admin().get_tenant(7)
    assert (told.code_bytes, told.bytes_used) == (0, 0)
    tenant.install(READS.format(1))
    with_kernel.admin().remove_tenant(7)
    assert with_kernel.admin().create_tenant(7).tenant == 7
    told = with_kernel.admin().get_tenant(7)
    assert (told.code_bytes, told.bytes_used) == (0, 0)


def test_a_later_control_process_charges_the_same(with_kernel: Any, tenant: Client) -> None:
    tenant.install(READS.format(1))
    with_kernel.end(signal.SIGKILL)
    with_kernel.store.recover(limits.PARTICIPANT_CONTROL)
    with_kernel.store.charge_code(7, 10**9, forced=True)  # as if it had died before it was set right
    with_kernel.shared.kernel.reload = lambda *_: threading.Event().wait()  # not loaded yet
    with_kernel.start()
    assert charged(with_kernel) == IN_KERNEL_BYTES


def test_a_tenant_without_the_quota_has_a_worker_run_it(with_kernel: Any, tenant: Client) -> None:
    admin = with_kernel.admin()
    admin.limit_tenant(7, quota_bytes=IN_KERNEL_BYTES)
    info = tenant.install(READS.format(1))
    assert (info.place, identity(with_kernel)) == ("worker", 0)
    told = f"{IN_KERNEL_BYTES:,} bytes"
    assert info.worker_reason == f"in the kernel it takes {told}, which do not fit into the tenant's quota of {told}"
    assert charged(with_kernel) == 0
    admin.limit_tenant(7, quota_bytes=IN_KERNEL_BYTES + 8192)
    assert tenant.install(READS.format(1)).place == "kernel"
    assert charged(with_kernel) == IN_KERNEL_BYTES
    admin.limit_tenant(7, quota_bytes=IN_KERNEL_BYTES)
    info = tenant.install(READS.format(2))  # more than it has by some bytes of machine code, perhaps
    assert charged(with_kernel) == (IN_KERNEL_BYTES if info.place == "kernel" else 0)


def test_who_insists_on_the_kernel_without_the_quota_is_refused(with_kernel: Any, tenant: Client) -> None:
    insists = READS.replace("@extension", "@extension(place='kernel')")
    with_kernel.admin().limit_tenant(7, quota_bytes=IN_KERNEL_BYTES)
    with pytest.raises(QuotaExceededError, match=rf"{IN_KERNEL_BYTES:,} are taken in the kernel\) do not fit"):
        tenant.install(insists.format(1))
    assert tenant.extensions() == []
    told = with_kernel.admin().get_tenant(7)
    assert (told.code_bytes, told.bytes_used) == (0, 0)
    with_kernel.admin().limit_tenant(7, quota_bytes=2 * IN_KERNEL_BYTES)
    assert tenant.install(READS.format(1)).place == "kernel"
    mine = identity(with_kernel)
    with_kernel.admin().limit_tenant(7, quota_bytes=IN_KERNEL_BYTES)
    with pytest.raises(QuotaExceededError):
        tenant.install(insists.format(2), name="g")
    assert (identity(with_kernel), charged(with_kernel)) == (mine, IN_KERNEL_BYTES)


def quarantine(control: Any) -> None:
    slot = record.parse(control.store.get(7, limits.TABLE_EXTENSIONS, b"f", participant=WORKER)).statistics
    control.shared.extension_counters[0]["kills"][slot] += 2
    wait_for(lambda: identity(control) == 0, 10, "the extension's withdrawal")


def test_in_quarantine_only_what_is_kept_is_charged(with_kernel: Any, tenant: Client) -> None:
    tenant.install(READS.format(1))
    quarantine(with_kernel)
    wait_for(lambda: charged(with_kernel) == KEPT_BYTES, 10, "the end of the charge")
    with_kernel.restart()
    assert charged(with_kernel) == KEPT_BYTES
    tenant.uninstall("f")
    assert with_kernel.admin().get_tenant(7).code_bytes == 0
    tenant.install(READS.format(1))
    assert charged(with_kernel) == IN_KERNEL_BYTES


def test_a_release_charges_again_or_leaves_it_to_the_worker(with_kernel: Any, tenant: Client) -> None:
    admin = with_kernel.admin()
    tenant.install(READS.format(1))
    quarantine(with_kernel)
    admin.release_extension(7, "f")
    assert charged(with_kernel) == IN_KERNEL_BYTES
    quarantine(with_kernel)
    wait_for(lambda: charged(with_kernel) == KEPT_BYTES, 10, "the end of the charge")
    admin.limit_tenant(7, quota_bytes=IN_KERNEL_BYTES)
    admin.release_extension(7, "f")
    assert (identity(with_kernel), charged(with_kernel)) == (0, 0)
    (info,) = tenant.extensions()
    assert (info.place, info.quarantined) == ("worker", False)
    assert "do not fit into the tenant's quota" in info.worker_reason
    with_kernel.restart()
    assert tenant.extensions()[0].worker_reason == info.worker_reason


# --- in this process -----------------------------------------------------------------------------------------------------


def test_programs_of_an_earlier_server_are_loaded_anew() -> None:
    store, played = Store.create(limits.STORE_BYTES_MIN), Played()
    played.placed, played.kept = {3: 9, 4: 10}, {3: b"code"}
    in_kernel = InKernel(store, played, charge_nobody)  # type: ignore[arg-type]
    for slot, number in ((3, 9), (4, 10)):
        in_kernel.note_earlier(slot, 7, f"f{slot}", earlier(number))
    assert in_kernel.obstacle(3)
    asyncio.run(in_kernel.reload())
    assert played.placed == {3: 9}
    assert in_kernel.obstacle(3) is None and in_kernel.obstacle(4) == "not kept"


def test_what_was_installed_meanwhile_stays() -> None:
    store, played = Store.create(limits.STORE_BYTES_MIN), Played()
    played.kept = {3: b"code"}
    in_kernel = InKernel(store, played, charge_nobody)  # type: ignore[arg-type]
    in_kernel.note_earlier(3, 7, "f", earlier(9))
    load = played.reload

    def reload(slot: int, number: int) -> Loaded:
        in_kernel.put(3, 7, "f", Loaded(-1, 11, object_file=b"newer"))
        return load(slot, number)

    played.reload = reload  # type: ignore[method-assign]
    asyncio.run(in_kernel.reload())
    assert played.placed == {3: 11} and in_kernel.obstacle(3) is None


def charge_nobody(tenant: int, *, forced: bool = True) -> None:
    """The charge of a store without tenants."""


def earlier(number: int) -> record.InstalledExtension:
    """What a record says of code with this identity."""
    found = object.__new__(record.InstalledExtension)
    object.__setattr__(found, "kernel", number)
    object.__setattr__(found, "is_kernel_used", True)
    object.__setattr__(found, "program_bytes", PROGRAM_BYTES)
    return found
