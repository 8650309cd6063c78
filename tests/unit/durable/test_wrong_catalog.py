"""Without the catalog that was written with it nothing in a folder is known to be its own: nothing is left out then, either."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter import limits
from splinter.durable.catalog import Catalog, ExtensionRow, TenantRow
from splinter.durable.folder import CATALOG, DataFolder
from splinter.durable.logger import Logger, Paths
from splinter.durable.recovery import recover
from splinter.errors import ControlError, DataFolderError
from splinter.store.layout import DURABILITY_ALWAYS
from splinter.store.store import Store
from tests.support.logs import logged, state_of

TENANT, STORE = 1, 4711
ROW = TenantRow(TENANT, 1, True, token=11, durability=DURABILITY_ALWAYS)
EXTENSION = ExtensionRow(TENANT, 1, "extension", 1, "its source", 1.5)


def _store() -> Store:
    made = Store.create(limits.STORE_BYTES_MIN, participants=2)
    made.open_tenant(TENANT)
    return made


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Path, Store]:
    """A data folder with a snapshot and a log, and the store that is in it."""
    folder, store = DataFolder(tmp_path / "data"), _store()
    folder.catalog.put_tenants([ROW])
    logger = Logger(store, logged(store, TENANT), Paths(folder.log, folder.snapshots, folder.catalog.identity))
    store.put(TENANT, 0, b"first", b"value")
    logger.begin_snapshot()
    while logger.is_taking_snapshot:
        logger.turn()
    store.put(TENANT, 0, b"second", b"value")
    logger.turn()
    logger.close()
    folder.close()
    return folder.path, store


def _recover(path: Path, *, salvages: bool) -> Store:
    folder, store = DataFolder(path), _store()
    try:
        recover(folder, store, folder.catalog.tenants(), tell=lambda _: None, salvages=salvages)
        return store
    finally:
        folder.close()


@pytest.mark.parametrize("with_snapshot", [False, True])
@pytest.mark.parametrize("is_empty", [False, True])
def test_no_catalog_is_made_beside_a_log(kept: tuple[Path, Store], is_empty: bool, with_snapshot: bool) -> None:
    path, store = kept
    (path / CATALOG).rename(path.with_name("safe"))
    if is_empty:
        (path / CATALOG).touch()
    for file in [] if with_snapshot else (path / "snapshots").iterdir():
        file.unlink()
    with pytest.raises(DataFolderError, match=f"has a log, but no catalog: restore {CATALOG}"):
        DataFolder(path)
    assert not (path / CATALOG).exists() or not (path / CATALOG).stat().st_size
    (path.with_name("safe")).rename(path / CATALOG)
    if with_snapshot:
        assert state_of(_recover(path, salvages=False), TENANT) == state_of(store, TENANT)


@pytest.mark.parametrize("salvages", [False, True])
def test_another_folders_catalog_is_no_damage_to_leave_out(kept: tuple[Path, Store], tmp_path: Path, salvages: bool) -> None:
    path, store = kept
    DataFolder(tmp_path / "other").close()
    (path / CATALOG).rename(path.with_name("safe"))
    (tmp_path / "other" / CATALOG).rename(path / CATALOG)
    with pytest.raises(DataFolderError, match="is of another data folder"):
        _recover(path, salvages=salvages)
    (path.with_name("safe")).rename(path / CATALOG)
    assert state_of(_recover(path, salvages=salvages), TENANT) == state_of(store, TENANT)


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """A catalog, as bytes."""
    catalog = Catalog(tmp_path / CATALOG)
    catalog.put_tenants([ROW])
    with catalog.installing(EXTENSION):
        pass
    catalog.store = STORE
    catalog.close()
    return (tmp_path / CATALOG).read_bytes()


def _flipped(whole: bytes, path: Path, *texts: bytes) -> Iterator[None]:
    """One by one, each bit of these texts."""
    for text in texts:
        for place in range(whole.index(text), whole.index(text) + len(text)):
            for bit in range(8):
                path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
                yield


def _told(path: Path) -> tuple[object, ...]:
    catalog = Catalog(path)
    try:
        return catalog.identity, catalog.store, catalog.tenants(), catalog.extensions()
    finally:
        catalog.close()


def test_a_flipped_bit_in_what_says_what_a_row_is_is_told(whole: bytes, tmp_path: Path) -> None:
    """What has another name is not missing; and SQLite's own errors quote what is no text any more."""
    path = tmp_path / CATALOG
    before = _told(path)
    for _ in _flipped(whole, path, b"identity", b"store%d" % STORE):
        with pytest.raises((DataFolderError, ControlError)):
            _told(path)
    for _ in _flipped(whole, path, b"CREATE TABLE meta", b"history_of_tenant"):
        with contextlib.suppress(DataFolderError, ControlError):
            assert _told(path) == before  # the case of a letter, which means nothing


def test_what_is_no_text_any_more_is_left_out_as_any_damage(whole: bytes, tmp_path: Path) -> None:
    for place in (whole.rindex(b"extension{"), whole.index(b"its source")):
        (tmp_path / CATALOG).write_bytes(whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1 :])
        catalog, told = Catalog(tmp_path / CATALOG), list[str]()
        with pytest.raises(DataFolderError):
            catalog.extensions()
        catalog.leave_out_damage(told.append)
        assert catalog.extensions() == [] and catalog.tenants() == [ROW] and len(told) == 2
        catalog.close()
