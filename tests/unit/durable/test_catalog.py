"""The folder and its catalog: what was acknowledged is there, what is wrong is told and never believed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from splinter import limits
from splinter.durable import catalog as catalog_module
from splinter.durable.catalog import Catalog, ExtensionRow, TenantRow
from splinter.durable.folder import DataFolder
from splinter.errors import ControlError, ServerError

TENANT = TenantRow(7, 3, True, 11, 12, 1, 1 << 62, 2, {"packets_per_second": 5})
EXTENSION = ExtensionRow(7, 3, "count", 2, "@extension\ndef count(db: Store) -> u64:\n    return 1\n", 1.5)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    """An empty one."""
    return Catalog(tmp_path / "splinter.db")


def test_what_was_written_is_read_by_the_next_server(tmp_path: Path, catalog: Catalog):
    catalog.put_tenants([TENANT])
    with catalog.installing(EXTENSION):
        pass
    catalog.store = 99
    identity = catalog.identity
    catalog.close()
    again = Catalog(tmp_path / "splinter.db")
    assert (again.identity, again.store) == (identity, 99) and identity != 0
    assert again.tenants() == [TENANT]
    assert again.extensions() == [EXTENSION]
    assert [(event.name, event.version, event.what) for event in again.history(7)] == [("count", 2, "installed")]


def test_an_act_that_fails_in_memory_leaves_the_catalog_as_it_was(catalog: Catalog):
    gone = TenantRow(7, 2, False)
    with pytest.raises(RuntimeError), catalog.changing([TENANT], [gone]):
        assert catalog.tenants() == [TENANT]
        raise RuntimeError
    assert catalog.tenants() == [gone]
    with pytest.raises(RuntimeError), catalog.installing(EXTENSION):
        raise RuntimeError
    assert (catalog.extensions(), catalog.history(7)) == ([], [])
    with catalog.installing(EXTENSION):
        pass
    newer = ExtensionRow(**{**EXTENSION.__dict__, "version": 3})
    with pytest.raises(RuntimeError), catalog.installing(newer):
        raise RuntimeError
    with pytest.raises(RuntimeError), catalog.uninstalling(7, "count"):
        raise RuntimeError
    assert catalog.extensions() == [EXTENSION]
    assert [event.version for event in catalog.history(7)] == [2]


def test_removing_what_is_not_there_leaves_the_history_alone(catalog: Catalog):
    catalog.put_tenants([TENANT])
    with catalog.installing(EXTENSION):
        pass
    with pytest.raises(RuntimeError), catalog.uninstalling(7, "other"):
        raise RuntimeError
    assert [event.what for event in catalog.history(7)] == ["installed"]


def test_history_is_bounded_for_each_tenant(catalog: Catalog, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog_module, "EXTENSION_EVENTS_MAX", 3)
    other = ExtensionRow(**{**EXTENSION.__dict__, "tenant": 8})
    with catalog.installing(other):
        pass
    for version in range(1, 9):
        with catalog.installing(ExtensionRow(**{**EXTENSION.__dict__, "version": version})):
            pass
    assert [event.version for event in catalog.history(7)] == [6, 7, 8]
    assert [event.version for event in catalog.history(8)] == [2]


def test_a_removed_tenant_leaves_its_generation_and_nothing_else(catalog: Catalog):
    catalog.put_tenants([TENANT])
    with catalog.installing(EXTENSION):
        pass
    catalog.put_tenants([TenantRow(7, 3, False)])
    assert catalog.tenants() == [TenantRow(7, 3, False)]
    assert (catalog.extensions(), catalog.history(7)) == ([], [])


@pytest.mark.parametrize("change", [
    "UPDATE tenants SET row = replace(row, '11', '10')",
    "UPDATE tenants SET id = 8",
    "UPDATE tenants SET checksum = checksum + 1",
    "UPDATE extensions SET row = replace(row, 'return 1', 'return 2')",
    "UPDATE extensions SET name = 'other'",
    "UPDATE extensions SET tenant = 8",
    "UPDATE meta SET value = '5' WHERE name = 'identity'",
    "UPDATE history SET row = replace(row, 'count', 'other')",
    "UPDATE history SET tenant = 8",
])  # fmt: skip
def test_a_value_that_is_not_what_was_written_is_not_believed(tmp_path: Path, catalog: Catalog, change: str):
    catalog.put_tenants([TENANT])
    with catalog.installing(EXTENSION):
        pass
    catalog.close()
    with sqlite3.connect(tmp_path / "splinter.db") as base:
        base.execute(change)
    with pytest.raises(ServerError, match="damaged"):
        again = Catalog(tmp_path / "splinter.db")
        assert [again.identity, again.tenants(), again.extensions(), again.history(7), again.history(8)]


@pytest.mark.parametrize(("change", "told", "tenants", "extensions"), [
    ("UPDATE tenants SET row = replace(row, '11', '10') WHERE id = 7", "tenant 7,", [8], [8]),
    ("UPDATE tenants SET id = 9 WHERE id = 7", "tenant 9,", [8], [8]),
    ("UPDATE extensions SET row = replace(row, 'return 1', 'return 2') WHERE tenant = 7", "extension 'count' of tenant 7",
     [7, 8], [8]),
    ("UPDATE history SET tenant = 8", "an event of tenant 8", [7, 8], [7, 8]),
])  # fmt: skip
def test_what_is_whole_is_recovered_when_that_is_asked_for(
    tmp_path: Path, catalog: Catalog, change: str, told: str, tenants: list[int], extensions: list[int]
):
    for number in (7, 8):
        catalog.put_tenants([TenantRow(**{**TENANT.__dict__, "id": number})])
        with catalog.installing(ExtensionRow(**{**EXTENSION.__dict__, "tenant": number})):
            pass
    catalog.close()
    path, said = tmp_path / "splinter.db", []
    with sqlite3.connect(path) as base:
        base.execute(change)
    before = path.read_bytes()
    again = Catalog(path)
    again.leave_out_damage(said.append)
    assert any(told in line for line in said) and (tmp_path / "splinter.db.damaged").read_bytes() == before
    rows = {row.id: row for row in again.tenants()}
    assert [key for key in rows if rows[key].is_there] == tenants
    lost = {7, 8} - set(tenants)
    assert all(rows[key].generation > TENANT.generation and not rows[key].is_there for key in lost)
    assert len(rows) == (limits.TENANTS_MAX - 1 if lost else 2)
    assert [row.tenant for row in again.extensions()] == extensions
    assert {event.tenant for event in again.history(7)} <= {7}
    said.clear()
    again.leave_out_damage(said.append)
    assert said == []


def test_pages_that_are_damaged_are_told(tmp_path: Path, catalog: Catalog):
    rows = [TenantRow(number, 1, True, number) for number in range(1, 120)]  # of more than one page
    catalog.put_tenants(rows)
    catalog.close()
    path = tmp_path / "splinter.db"
    whole = path.read_bytes()
    for place in range(0, len(whole), 37):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            again = Catalog(path)
            found = again.tenants()
        except (ServerError, ControlError):
            continue
        assert found == rows  # a byte that means nothing


def test_a_newer_folder_is_refused_and_an_older_one_migrated_after_a_copy(tmp_path: Path, catalog: Catalog, monkeypatch):
    catalog.put_tenants([TENANT])
    catalog.close()
    path = tmp_path / "splinter.db"
    before = path.read_bytes()
    version = catalog_module.VERSION
    monkeypatch.setattr(catalog_module, "VERSION", version + 1)
    monkeypatch.setitem(catalog_module._MIGRATIONS, version, lambda base: base.execute("CREATE TABLE more (x INTEGER)"))
    again = Catalog(path)
    assert again.tenants() == [TENANT]
    assert (tmp_path / f"splinter.db.version-{version}").read_bytes() == before
    again.close()
    monkeypatch.undo()
    with pytest.raises(ServerError, match="newer Splinter"):
        Catalog(path)


def test_a_folder_of_before_large_values_is_taken(tmp_path: Path, catalog: Catalog, capsys: pytest.CaptureFixture[str]):
    catalog.put_tenants([TENANT])
    catalog.close()
    path = tmp_path / "splinter.db"
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("PRAGMA user_version = 1")  # which is all that tells them apart
    again = Catalog(path)
    assert again.tenants() == [TENANT] and (tmp_path / "splinter.db.version-1").exists()
    again.close()
    assert f"it becomes version {catalog_module.VERSION}" in capsys.readouterr().out
    Catalog(path).close()
    assert capsys.readouterr().out == ""  # once


def test_a_folder_has_one_server(tmp_path: Path):
    first = DataFolder(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ServerError, match=rf"in use by another server \(pid {os.getpid()}\)"):
        DataFolder(tmp_path / "data")
    first.close()
    DataFolder(tmp_path / "data").close()


def test_what_is_no_data_folder_is_left_alone(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match="is a file"):
        DataFolder(tmp_path / "file")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letters").mkdir()
    with pytest.raises(ServerError, match="no data folder"):
        DataFolder(tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["letters"]
    with pytest.raises(ServerError, match="cannot be used"):
        DataFolder(Path("/proc/nothing"))
