"""A run folder is believed only where nobody else can have written it; and it is written so that nobody else can."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from splinter.errors import ServerError
from splinter.server import instance as instances
from splinter.server.instance import InstanceFolder, InstanceInfo
from splinter.trust import distrust

INFO = InstanceInfo(
    instance="one", pid=1, transport="udp", transport_reason="asked for", address="127.0.0.1", port=7171, netns=None,
    client_netns=None, device=None, xdp_mode=None, queues=0, cores=(0,), memory_bytes=1 << 26, version="0",
)  # fmt: skip
NAMES = ("", "one", "one/lock", "one/server.json")  # in the run folder: all that a client's way to a server depends on


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLINTER_RUN_DIR", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def running(root: Path) -> Iterator[InstanceFolder]:
    folder = InstanceFolder("one")
    folder.publish(INFO)
    yield folder
    folder.remove()


def test_what_was_published_is_read(running: InstanceFolder, root: Path) -> None:
    assert instances.read("one") == INFO
    assert instances.credential("one") == running.credential
    assert [entry.name for entry in sorted((root / "one").iterdir())] == ["admin.key", "lock", "server.json"]


def test_what_a_full_disk_has_left_half_written_is_written_anew(running: InstanceFolder, root: Path) -> None:
    (root / INFO.instance / "server.json.new").write_text("{")
    running.publish(replace(INFO, trouble="the device is gone"))
    assert instances.read(INFO.instance).trouble == "the device is gone"


def test_modes_do_not_depend_on_the_umask(root: Path) -> None:
    before = os.umask(0)
    try:
        folder = InstanceFolder("one")
        folder.publish(INFO)
    finally:
        os.umask(before)
    modes = {name: stat.S_IMODE((root / "one" / name).stat().st_mode) for name in ("", "lock", "admin.key", "server.json")}
    assert modes == {"": 0o755, "lock": 0o600, "admin.key": 0o600, "server.json": 0o644}
    assert instances.read("one") == INFO
    folder.remove()
    assert not (root / "one").exists()


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_believed_that_others_can_write(running: InstanceFolder, root: Path, name: str, mode: int) -> None:
    path = root / name
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(ServerError, match=f"others may write to {path}"):
        instances.read("one")
    path.chmod(path.stat().st_mode & ~mode)
    assert instances.read("one") == INFO


def test_a_folder_above_counts_as_well(running: InstanceFolder, root: Path) -> None:
    root.parent.chmod(0o777)
    with pytest.raises(ServerError, match=f"others may write to {root.parent}:"):
        instances.read("one")
    root.parent.chmod(0o1777)  # as /tmp: nobody can replace what is another's
    assert instances.read("one") == INFO
    root.parent.chmod(0o700)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_credential_that_others_can_read_is_not_used(running: InstanceFolder, root: Path, mode: int) -> None:
    (root / "one" / "admin.key").chmod(mode)
    with pytest.raises(ServerError, match=r"others may (read|write to) .*admin.key"):
        instances.credential("one")


@pytest.mark.parametrize("name", ["", "one"])
def test_a_server_does_not_use_a_folder_that_others_can_write(root: Path, name: str) -> None:
    (root / "one").mkdir(parents=True)
    (root / name).chmod(0o777)
    with pytest.raises(ServerError, match=r"others may write to .*SPLINTER_RUN_DIR"):
        InstanceFolder("one")
    (root / name).chmod(0o755)
    InstanceFolder("one").remove()


def _link_file(path: Path, elsewhere: Path) -> None:
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def test_links_are_followed_and_what_they_lead_to_is_looked_at(running: InstanceFolder, root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    _link_file(root / "one" / "server.json", elsewhere / "state")
    assert instances.read("one") == INFO  # both are this user's
    elsewhere.chmod(0o777)
    with pytest.raises(ServerError, match=f"others may write to {elsewhere}:"):
        instances.read("one")


def test_a_link_in_the_place_of_the_lock_is_not_opened(root: Path, tmp_path: Path) -> None:
    (root / "one").mkdir(parents=True)
    target = tmp_path / "precious"
    target.write_text("text")
    (root / "one" / "lock").symlink_to(target)
    with pytest.raises(ServerError, match="run folder cannot be used"):
        InstanceFolder("one")
    assert target.read_text() == "text"


@pytest.mark.parametrize("name", ["../one", "a/b", "", ".", "..", "/etc", "x" * 33, "a\n", "ü"])
def test_a_name_is_no_way_to_another_folder(root: Path, name: str) -> None:
    for ask in (instances.read, instances.credential, InstanceFolder):
        with pytest.raises(ServerError, match="instance name"):
            ask(name)


def _garble(path: Path, change: Callable[[dict], object]) -> None:
    fields = json.loads(path.read_text())
    path.write_text(json.dumps(change(fields)))


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: [],
        lambda fields: 5,
        lambda fields: {},
        lambda fields: {**fields, "port": "7171"},
        lambda fields: {**fields, "address": None},
        lambda fields: {**fields, "cores": 5},
        lambda fields: {**fields, "more": 5},
    ],
)
def test_a_damaged_state_is_told(running: InstanceFolder, root: Path, change: Callable[[dict], object]) -> None:
    _garble(root / "one" / "server.json", change)
    with pytest.raises(ServerError, match="damaged"):
        instances.read("one")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{", b"[" * 100_000])
def test_bytes_that_are_no_state_are_told(running: InstanceFolder, root: Path, content: bytes) -> None:
    (root / "one" / "server.json").write_bytes(content)
    with pytest.raises(ServerError, match="damaged"):
        instances.read("one")


def test_files_that_are_folders_are_told(running: InstanceFolder, root: Path) -> None:
    (root / "one" / "server.json").unlink()
    (root / "one" / "server.json").mkdir()
    with pytest.raises(ServerError, match="run folder of instance 'one'"):
        instances.read("one")
    (root / "one" / "server.json").rmdir()


def test_a_run_folder_that_is_a_file_is_told(root: Path) -> None:
    root.write_text("")
    with pytest.raises(ServerError, match=r"run folder cannot be used: .*SPLINTER_RUN_DIR"):
        InstanceFolder("one")
    with pytest.raises(ServerError, match="run folder of instance 'one'"):
        instances.read("one")


def test_one_server_at_a_time_and_the_next_after_a_crash(root: Path) -> None:
    first = InstanceFolder("one")
    with pytest.raises(ServerError, match="running already"):
        InstanceFolder("one")
    (root / "one" / "server.json.new").write_text("half")
    os.close(first._lock)  # as when it is killed
    second = InstanceFolder("one")
    assert not (root / "one" / "server.json.new").exists()
    assert second.credential != first.credential
    second.remove()


def test_a_look_whether_a_server_runs_never_refuses_one_that_starts(root: Path) -> None:
    (root / "one").mkdir(parents=True)
    (root / "one" / "lock").touch()
    forking, parent = multiprocessing.get_context("fork"), os.getpid()
    looking = forking.Event()

    def look() -> None:
        while os.getppid() == parent:
            instances.is_running("one")
            looking.set()

    looks = forking.Process(target=look, daemon=True)
    looks.start()
    try:
        assert looking.wait(60)
        for _ in range(3000):
            folder = InstanceFolder("one")
            assert instances.is_running("one")
            os.close(folder._lock)
            assert not instances.is_running("one")
    finally:
        looks.kill()
        looks.join()


def test_endless_links_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="symbolic links"):
        distrust(tmp_path / "a")


def test_ways_with_dots_and_links_are_walked_as_the_kernel_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "deep").mkdir(mode=0o755)
    (tmp_path / "shut").symlink_to("open/deep")
    assert distrust(tmp_path) is None
    assert "open" in (distrust(tmp_path / "shut" / "..") or "")  # not tmp_path
    assert "open" in (distrust(tmp_path / "shut") or "")
    monkeypatch.chdir(tmp_path)
    assert distrust(Path()) is None
