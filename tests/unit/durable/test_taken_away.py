"""Parts of a data folder that are taken away while it is served: nobody is told that something is kept that is not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from splinter.durable import folder as folder_module
from splinter.durable.folder import DataFolder
from splinter.durable.segments import LogFailedError
from splinter.errors import DataFolderError
from tests.support.log_worlds import TENANT, World, log_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with log_world(tmp_path) as made:
        yield made


def test_a_folder_has_one_server_whoever_removes_the_file_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_DYING_SECONDS_MAX", 0.0)
    first = DataFolder(tmp_path / "data")
    (tmp_path / "data/lock").unlink()
    for _ in range(2):
        with pytest.raises(DataFolderError, match="in use by another server"):
            DataFolder(tmp_path / "data")
    first.close()
    DataFolder(tmp_path / "data").close()


def test_a_folder_stays_the_same_whatever_its_link_is_changed_to(tmp_path: Path) -> None:
    """What is removed, and written, by name would be another's."""
    link = tmp_path / "link"
    (tmp_path / "first").mkdir()
    link.symlink_to(tmp_path / "first")
    folder = DataFolder(link)
    link.unlink()
    link.symlink_to(tmp_path / "second")
    assert folder.log.parent == folder.snapshots.parent == folder.path == (tmp_path / "first").resolve()
    other = DataFolder(link)
    assert other.path == (tmp_path / "second").resolve()
    other.close()
    folder.close()


@pytest.mark.parametrize("what", ["the file", "the folder"])
def test_nothing_is_durable_in_a_file_that_is_removed(world: World, what: str) -> None:
    logger = world.logger()
    world.store.put(TENANT, 0, b"key", b"value")
    logger.turn()
    durable = int(world.store.accounts["durable"][TENANT])
    if what == "the file":
        (segment,) = world.paths.log.glob("*.log")
        segment.unlink()
    else:
        logger._writer._helper.join()  # type: ignore[union-attr]  # it makes a spare one there
        shutil.rmtree(world.paths.log)
    world.store.put(TENANT, 0, b"key", b"other")
    with pytest.raises(LogFailedError, match="the file was removed"):
        logger.turn()
    with pytest.raises(LogFailedError, match="No such file"):
        logger.try_again()  # what was confirmed is nowhere any more
    assert world.store.accounts["durable"][TENANT] == durable
