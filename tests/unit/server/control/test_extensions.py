"""Installing, replacing and removing extensions: what the store, the code region and the client see of it."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import threading
from pathlib import Path

import pytest

from splinter import limits
from splinter.client import Client
from splinter.errors import (
    BusyError,
    CompileError,
    ControlError,
    NoSuchExtensionError,
    PermissionDeniedError,
    QuotaExceededError,
    SplinterError,
    UnknownTenantError,
)
from splinter.ext import Store, extension, record, u64
from splinter.ext.native.code import CodeRegion
from splinter.server.control import registry
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from tests.support.waiting import wait_for

WORKER = 0
POLLS_MAX = 2000
NICENESS_MAX = 19  # as the kernel has it
TWICE = """
from splinter.ext import extension, Store, u64

@extension
def twice(db: Store, x: u64) -> u64:
    return x + x
"""
THRICE = TWICE.replace("x + x", "x + x + x")
ANOTHER = TWICE.replace("x: u64", "x: u64, y: u64")


@extension
def from_function(db: Store, x: u64) -> u64:
    """A function of this file."""
    return x + 1


@pytest.fixture
def tenant(control) -> Client:
    token = control.admin().create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=control.port) as client:
        yield client


def installed(control, name: str, tenant: int = 7) -> record.InstalledExtension | None:
    value = control.store.get(tenant, limits.TABLE_EXTENSIONS, name.encode(), participant=WORKER)
    return None if value is None else record.parse(value)


def code_at(control, found: record.InstalledExtension) -> bytes:
    assert found.code_address == control.shared.code.address + found.code_offset
    return ctypes.string_at(found.code_address, found.code_bytes)


def block_at(control, found: record.InstalledExtension) -> bytes:
    return ctypes.string_at(control.shared.code.address + found.code_offset, found.code_bytes)


def test_an_install_is_in_the_store_and_its_code_in_the_region(control, tenant):
    info = tenant.install(TWICE)
    found = installed(control, "twice")
    assert (info.name, info.version, str(info.signature)) == ("twice", 1, "twice(x: u64) -> u64")
    assert (found.signature, found.version) == (info.signature, 1)
    assert (found.code_bytes, found.frame_bytes) == (info.code_bytes, info.frame_bytes)
    assert any(code_at(control, found))
    assert tenant.extensions() == [info]
    assert tenant.signature("twice") == info.signature


def test_a_function_is_installed_by_its_source(control, tenant):
    assert tenant.install(from_function).name == "from_function"
    assert installed(control, "from_function")


def test_a_function_without_source_is_refused(tenant):
    with pytest.raises(SplinterError, match="source"):
        tenant.install(print)


def test_another_name_may_be_chosen(control, tenant):
    assert tenant.install(TWICE, name="double").name == "double"
    assert installed(control, "double")
    assert installed(control, "twice") is None


def test_a_second_install_replaces_the_first(control, tenant):
    tenant.install(TWICE)
    first = installed(control, "twice")
    info = tenant.install(ANOTHER)
    found = installed(control, "twice")
    assert found.version == info.version == 2
    assert found.code_offset != first.code_offset
    assert tenant.signature("twice").parameters == (("x", "u64"), ("y", "u64"))
    assert [item.name for item in tenant.extensions()] == ["twice"]


def test_uninstalling_removes_it(control, tenant):
    tenant.install(TWICE)
    tenant.uninstall("twice")
    assert installed(control, "twice") is None
    assert tenant.extensions() == []
    for ask in (tenant.signature, tenant.uninstall, tenant.invoke):
        with pytest.raises(NoSuchExtensionError):
            ask("twice")


def test_a_refused_source_tells_every_place_and_changes_nothing(control, tenant):
    tenant.install(TWICE)
    with pytest.raises(CompileError) as raised:
        tenant.install(TWICE.replace("return x + x", "y = open(x)\n    return z"))
    lines = [item["line"] for item in raised.value.diagnostics]
    assert lines == [6, 7]
    assert {"line", "column", "rule", "message"} <= raised.value.diagnostics[0].keys()
    assert "^" in str(raised.value)
    assert installed(control, "twice").version == 1


@pytest.mark.parametrize("source", ["", "x" * (limits.SOURCE_BYTES_MAX + 1)])
def test_an_impossible_source_is_refused(tenant, source):
    with pytest.raises(ControlError):
        tenant.install(source)


@pytest.mark.parametrize("source", ["\0", "def", "(" * 1000, "import os", "x = 10 ** 10 ** 10", "é" * 100])
def test_a_hostile_source_is_only_refused(control, tenant, source):
    with pytest.raises(CompileError):
        tenant.install(source)
    assert tenant.install(TWICE).version == 1


def test_tenants_do_not_see_each_others_extensions(control, tenant):
    tenant.install(TWICE)
    other = control.admin().create_tenant(8)
    with Client("127.0.0.1", 8, other.token, port=control.port) as second:
        assert second.extensions() == []
        with pytest.raises(NoSuchExtensionError):
            second.uninstall("twice")
        assert second.install(THRICE).version == 1
    assert installed(control, "twice", 7).code_offset != installed(control, "twice", 8).code_offset
    with Client("127.0.0.1", 7, other.token, port=control.port) as impostor, pytest.raises(PermissionDeniedError):
        impostor.install(TWICE)


def test_replaced_code_stays_until_every_worker_has_moved_on(control, tenant):
    address = control.store.address
    tenant.install(TWICE)
    first = installed(control, "twice")
    code = code_at(control, first)
    epoch_enter(address, WORKER, OLDEST_NONE)  # a worker that may be running the first version
    tenant.install(THRICE)
    admin = control.admin()
    for _ in range(50):  # the control process has had many occasions to free it
        assert admin.stats()["control"]["code_bytes_waiting"] == first.code_bytes
    assert code_at(control, first) == code
    for _ in range(POLLS_MAX):
        epoch_enter(address, WORKER, OLDEST_NONE)  # a turn of the worker's loop
        if admin.stats()["control"]["code_bytes_waiting"] == 0:
            break
    assert code_at(control, first) != code
    epoch_leave(address, WORKER)
    assert tenant.install(ANOTHER).version == 3
    assert installed(control, "twice").code_offset == first.code_offset  # its place is used again


def test_a_restarted_control_process_knows_what_is_installed(control, tenant):
    info = tenant.install(TWICE)
    found = installed(control, "twice")
    code = code_at(control, found)
    control.restart()
    assert tenant.extensions() == [info]
    assert tenant.install(THRICE, name="another").version == 1
    assert installed(control, "another").code_offset != found.code_offset
    assert code_at(control, found) == code
    assert tenant.install(THRICE).version == 2


def test_a_restarted_control_process_writes_no_code_while_old_code_may_run(control_stopped, monkeypatch):
    """Code that the first process replaced may be running, and only that process knew where it is."""
    control = control_stopped
    monkeypatch.setattr(registry, "_READY_SECONDS_MAX", 0.05)
    control.start()
    token = control.admin().create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=control.port) as client:
        client.install(TWICE)
        epoch_enter(control.store.address, WORKER, OLDEST_NONE)
        control.restart()
        with pytest.raises(BusyError, match="epoch"):
            client.install(THRICE)
        epoch_enter(control.store.address, WORKER, OLDEST_NONE)
        assert client.install(THRICE).version == 2


def test_a_removed_tenants_code_is_free_again(control, tenant):
    tenant.install(TWICE)
    first = installed(control, "twice")
    admin = control.admin()
    admin.remove_tenant(7)
    for _ in range(POLLS_MAX):
        stats = admin.stats()["control"]
        if stats["code_bytes_waiting"] == 0:
            break
    assert (stats["code_bytes_waiting"], stats["extensions"]) == (0, 0)
    token = admin.create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=control.port) as client:
        assert client.extensions() == []
        client.install(THRICE)
    assert installed(control, "twice").code_offset == first.code_offset


def test_installs_from_several_connections_all_arrive(control):
    tenants = control.admin().create_tenants(3)
    failures: list[BaseException] = []

    def install(tenant: int, token: int, number: int) -> None:
        try:
            with Client("127.0.0.1", tenant, token, port=control.port) as client:
                for name in ("own", f"f{number}"):
                    client.install(TWICE, name=name)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=install, args=(item.tenant, item.token, number)) for item in tenants for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for item in tenants:
        assert installed(control, "own", item.tenant).version == 3
        assert {f"f{number}" for number in range(3)} <= {
            stored.key.decode() for stored in control.store.scan(limits.TABLE_EXTENSIONS, tenant=item.tenant)
        }


def test_extensions_are_charged_to_the_quota(control):
    admin = control.admin()
    token = admin.create_tenant(9, quota_bytes=0).token
    with Client("127.0.0.1", 9, token, port=control.port) as client:
        with pytest.raises(QuotaExceededError, match="of machine code do not fit into the tenant's quota of 0 bytes"):
            client.install(TWICE)
        admin.limit_tenant(9, quota_bytes=100_000)
        code_bytes = client.install(TWICE).code_bytes
        told = admin.get_tenant(9)
        assert told.code_bytes == code_bytes > 0
        assert code_bytes < told.bytes_used <= code_bytes + limits.EXTENSION_METADATA_BYTES_MAX
        client.install(TWICE, name="same")  # code that it has already
        assert admin.get_tenant(9).code_bytes == code_bytes
        client.install(THRICE, name="same")
        assert admin.get_tenant(9).code_bytes > code_bytes
        client.uninstall("same")
        assert admin.get_tenant(9).code_bytes == code_bytes
        control.restart()
        assert control.admin().get_tenant(9).code_bytes == code_bytes
        client.uninstall("twice")
        assert (control.admin().get_tenant(9).code_bytes, control.admin().get_tenant(9).bytes_used) == (0, 0)


def test_tenants_with_small_quotas_cannot_fill_the_code_region(control_stopped):
    control_stopped.start()
    admin = control_stopped.admin()
    for tenant in (7, 8):
        token = admin.create_tenant(tenant, quota_bytes=4096).token
        with (
            Client("127.0.0.1", tenant, token, port=control_stopped.port) as client,
            pytest.raises(QuotaExceededError),
        ):
            for number in range(100):
                client.install(f"# source {tenant} {number}" + TWICE, name=f"f{number}")
        assert admin.get_tenant(tenant).bytes_used <= 4096
    assert admin.stats()["control"]["code_bytes"] <= 2 * 4096


def test_no_tenant_takes_the_whole_code_region(control_stopped, monkeypatch):
    """Each may hold as much as is left, beyond one extension's: there always is room for another one."""
    monkeypatch.setattr(limits, "CODE_BYTES_MAX", 256)
    control_stopped.shared.code = CodeRegion.create(mmap.PAGESIZE)
    control_stopped.start()
    admin = control_stopped.admin()
    for tenant in (7, 8, 9):
        token = admin.create_tenant(tenant).token
        with Client("127.0.0.1", tenant, token, port=control_stopped.port) as client:
            installed = 0
            with pytest.raises(ControlError, match=r"it may hold .* now") as raised:
                for number in range(100):
                    client.install(f"# source {tenant} {number}" + TWICE, name=f"f{number}")
                    installed += 1
            assert raised.value.code == "code_memory_full"
            assert installed >= 2


def test_the_operator_says_how_much_machine_code_a_tenant_may_hold(control_stopped):
    control_stopped.shared.config.code_bytes_per_tenant = 100
    control_stopped.start()
    token = control_stopped.admin().create_tenant(7).token
    with (
        Client("127.0.0.1", 7, token, port=control_stopped.port) as client,
        pytest.raises(ControlError, match="it may hold 100 now"),
    ):
        for number in range(5):
            client.install(f"# source {number}" + TWICE, name=f"f{number}")


def test_the_number_of_extensions_is_bounded(control_stopped, monkeypatch):
    monkeypatch.setattr(limits, "EXTENSIONS_PER_TENANT_MAX", 2)
    control_stopped.start()
    token = control_stopped.admin().create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=control_stopped.port) as client:
        client.install(TWICE, name="a")
        client.install(TWICE, name="b")
        with pytest.raises(ControlError, match="at most 2") as raised:
            client.install(TWICE, name="c")
        assert raised.value.code == "too_many_extensions"
        assert client.install(THRICE, name="a").version == 2


def test_a_full_code_region_is_a_clear_refusal(control_stopped):
    control_stopped.shared.code = CodeRegion.create(mmap.PAGESIZE)
    control_stopped.start()
    admin = control_stopped.admin()
    token = admin.create_tenant(7).token
    with Client("127.0.0.1", 7, token, port=control_stopped.port) as client:
        with pytest.raises(ControlError) as raised:
            for number in range(limits.EXTENSIONS_PER_TENANT_MAX):
                client.install(f"# source {number}" + TWICE, name=f"filler{number}")
        assert raised.value.code == "code_memory_full"
        client.uninstall("filler0")
        for _ in range(POLLS_MAX):
            if admin.stats()["control"]["code_bytes_waiting"] == 0:
                break
        assert client.install(TWICE).version == 1


def test_an_install_that_fails_after_compiling_leaves_no_code_behind(control_stopped):
    control_stopped.shared.code = CodeRegion.create(mmap.PAGESIZE)
    control_stopped.start()
    token = control_stopped.admin().create_tenant(7).token
    long_name = "x" * limits.EXTENSION_METADATA_BYTES_MAX
    with Client("127.0.0.1", 7, token, port=control_stopped.port) as client:
        for _ in range(mmap.PAGESIZE // 64 + 1):  # as often as the region could hold the smallest code
            with pytest.raises(ControlError, match="too long"):
                client.install(TWICE.replace("x: u64", f"{long_name}: u64").replace("x + x", f"{long_name} + 1"))
        assert client.install(TWICE).version == 1


def test_the_administrator_may_act_for_a_tenant(control, tenant):
    tenant.install(TWICE)
    connection = control.connect()
    credential = "the administrator's secret"
    assert connection.request("extension.signature", credential=credential, tenant=7, name="twice")["version"] == 1
    with pytest.raises(UnknownTenantError):
        connection.request("extension.list", credential=credential, tenant=8)


def test_the_same_source_shares_its_code_until_the_last_user_is_gone(control):
    admin = control.admin()
    tokens = {number: admin.create_tenant(number).token for number in (8, 9)}
    clients = {number: Client("127.0.0.1", number, token, port=control.port) for number, token in tokens.items()}
    for client in clients.values():
        client.install(TWICE)
    first, second = (installed(control, "twice", number) for number in (8, 9))
    assert first.code_offset == second.code_offset
    assert first.statistics != second.statistics
    clients[8].uninstall("twice")
    other = clients[8].install(THRICE)  # takes other memory: the ninth tenant still runs the shared code
    assert other.version == 1
    assert installed(control, "twice", 8).code_offset != second.code_offset
    assert code_at(control, installed(control, "twice", 9)) == code_at(control, second)
    for client in clients.values():
        client.close()


def test_extensions_of_a_source_are_installed_together_and_share_a_block_until_the_last_is_gone(control, tenant):
    both = TWICE + THRICE.replace("def twice", "def thrice").partition("u64\n")[2]
    assert [(info.name, info.version) for info in tenant.install_all(both)] == [("twice", 1), ("thrice", 1)]
    first, second = (installed(control, name) for name in ("twice", "thrice"))
    assert first.code_offset == second.code_offset
    assert first.code_address != second.code_address
    assert first.statistics != second.statistics
    code = block_at(control, second)
    control.restart()  # with the records alone it knows the block, from the one or the other
    tenant.uninstall("twice")
    tenant.install(ANOTHER, name="elsewhere")
    assert block_at(control, second) == code
    assert [info.version for info in tenant.install_all(both)] == [1, 2]
    found = installed(control, "twice")
    assert (found.code_offset, found.code_address) == (first.code_offset, first.code_address), "the block is still there"
    for name in ("twice", "thrice"):
        tenant.uninstall(name)
    wait_for(lambda: control.admin().stats()["control"]["code_bytes_waiting"] == 0, 10)
    assert set(block_at(control, second)) == {0xCC}


def test_nothing_is_installed_of_a_source_with_a_refused_extension(control, tenant):
    with pytest.raises(CompileError):
        tenant.install_all(TWICE + "\n@extension\ndef wrong(db: Store) -> u64:\n    return x\n")
    assert tenant.extensions() == []
    with pytest.raises(CompileError, match="several extensions"):
        tenant.install(TWICE + "\n@extension\ndef other(db: Store) -> u64:\n    return 1\n")


def test_counters_belong_to_the_name_and_start_at_zero_for_the_next(control, tenant):
    tenant.install(TWICE)
    slot = installed(control, "twice").statistics
    counters = control.shared.extension_counters
    for worker, row in enumerate(counters):
        for name, value in zip(("invocations", "errors", "yields", "cycles"), (10, 1, 5, 3_000_000 + worker), strict=True):
            row[slot][name] = value
    (info,) = tenant.extensions()
    workers = len(counters)
    assert (info.invocations, info.errors, info.yields) == (10 * workers, workers, 5 * workers)
    assert info.cpu_us == sum(3_000_000 + worker for worker in range(workers)) * 1000 // 1_000_000
    assert tenant.install(THRICE, name="twice").invocations == 10 * workers, "a replaced extension keeps its counters"
    tenant.uninstall("twice")
    for _ in range(POLLS_MAX):
        if control.admin().stats()["control"]["code_bytes_waiting"] == 0:
            break
    tenant.install(TWICE)
    assert installed(control, "twice").statistics == slot
    assert tenant.extensions()[0].invocations == 0


def test_a_restarted_control_process_knows_slots_and_shared_code(control, tenant):
    tenant.install(TWICE)
    tenant.install(TWICE, name="same")
    slots = {installed(control, name).statistics for name in ("twice", "same")}
    control.restart()
    tenant.install(TWICE, name="third")
    found = installed(control, "third")
    assert found.statistics not in slots
    assert found.code_offset == installed(control, "twice").code_offset
    tenant.uninstall("twice")
    tenant.uninstall("same")
    assert code_at(control, installed(control, "third"))[:1] != b"\xcc"


def compiler_pid(control) -> int:
    (child,) = Path(f"/proc/{control.pid}/task/{control.pid}/children").read_text().split()
    return int(child)


def is_gone(pid: int) -> bool:
    """Ended, if not yet reaped."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_killed_compiler_fails_no_install(control, tenant):
    tenant.install(TWICE)
    first = compiler_pid(control)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: is_gone(first), 10)
    assert tenant.install(THRICE).version == 2
    assert compiler_pid(control) != first


def test_the_compiler_has_none_of_the_shared_memory_and_dies_with_the_control_process(control, tenant):
    tenant.install(TWICE)
    pid = compiler_pid(control)
    mappings = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
    assert not [mapping for mapping in mappings if mapping[1].endswith("s")]
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(own + limits.CONTROL_NICENESS, NICENESS_MAX)
    control.restart()
    wait_for(lambda: is_gone(pid), 10)


@pytest.mark.parametrize("name", ["[/nope]", "a b", "a-b", "\x1b[31m", "a\u202eb", "a\nb", "ｆ"])
def test_a_name_that_is_no_identifier_is_refused_everywhere(tenant, name):
    with pytest.raises(SplinterError, match="identifier"):
        tenant.install(TWICE, name=name)
    for ask in (tenant.uninstall, tenant.signature):
        with pytest.raises(ControlError, match="identifier"):
            ask(name)
    assert tenant.extensions() == []
