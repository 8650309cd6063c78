"""A folder and a store that was left belong together, unless either has gone on without the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from splinter import limits
from splinter.durable.catalog import Catalog
from splinter.errors import ControlError, ServerError
from splinter.server.supervisor.data import Data
from splinter.store.store import Store


@dataclass
class World:
    """A store that was left, the catalog of its folder, and one of a copy of that."""

    store: Store
    folder: Catalog
    copy: Catalog

    def go_on(self, catalog: Catalog) -> None:
        """A start on the folder of a catalog, which finds the store."""
        folder = SimpleNamespace(catalog=catalog, path=Path("/data"))
        data = SimpleNamespace(folder=folder, _config=SimpleNamespace(instance="some"))
        Data._go_on_with(data, self.store)  # type: ignore[arg-type]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    made = World(store, Catalog(tmp_path / "folder"), Catalog(tmp_path / "copy"))
    made.folder.store = made.copy.store = int(store.descriptor["identity"])
    yield made
    made.folder.close()
    made.copy.close()


def test_a_copy_is_as_good_as_the_folder_until_one_of_them_goes_on(world: World) -> None:
    for _ in range(3):
        world.go_on(world.copy)
    with pytest.raises(ServerError, match="gone on with another copy"):
        world.go_on(world.folder)
    world.go_on(world.copy)


def test_starts_that_die_before_they_serve_keep_nobody_out(world: World) -> None:
    """They have counted themselves in the folder, and not in the store."""
    for _ in range(3):
        identity = int(world.store.descriptor["identity"])
        world.go_on(world.folder)
        world.store.descriptor["identity"] = identity
    world.go_on(world.folder)
    with pytest.raises(ServerError, match="gone on with another copy"):
        world.go_on(world.copy)


def test_another_store_is_refused(world: World) -> None:
    world.store = Store.create(limits.STORE_BYTES_MIN, participants=1)
    with pytest.raises(ServerError, match="is not the one whose changes are in"):
        world.go_on(world.folder)


def test_a_disk_that_takes_nothing_keeps_nobody_out(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise ControlError("disk is full", "catalog_failed")

    with monkeypatch.context() as full:
        full.setattr(Catalog, "_put_meta", refuse)
        world.go_on(world.folder)
    assert "cannot be told from it" in capsys.readouterr().out
    world.go_on(world.folder)
