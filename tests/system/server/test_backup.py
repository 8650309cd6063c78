"""``splinter backup`` of a server under load: the copy has what was acknowledged before; whoever dies leaves no half of one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.errors import SplinterError
from tests.support.servers import RunningServer, serving
from tests.support.waiting import wait_for

VALUE = bytes(100)
SECONDS = 60


@dataclass
class Load:
    """A client that writes one key after the other; ``done`` are acknowledged."""

    server: RunningServer
    tenant: TenantInfo
    done: int = 0
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        client = self.server.client(self.tenant)
        while not self._ending.is_set():
            client.put(b"key %d" % self.done, VALUE + b"%d" % self.done)
            self.done += 1

    def check(self, server: RunningServer, count: int) -> None:
        """All of so many are there."""
        client = server.client(self.tenant)
        for number in range(count):
            assert client.get(b"key %d" % number) == VALUE + b"%d" % number


def backup(server: RunningServer, target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "splinter", "backup", str(target), "-i", server.info.instance]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(run: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, complained = run.communicate(timeout=SECONDS)
    return run.returncode, said, complained


@pytest.fixture
def server(unique_name: str, tmp_path: Path) -> Iterator[RunningServer]:
    with serving(unique_name, None, "--data", str(tmp_path / "data"), "--cores", "0") as started:
        yield started


def test_a_copy_under_load_has_what_was_acknowledged_before(server: RunningServer, unique_name: str, tmp_path: Path):
    target = tmp_path / "copy"
    with contextlib.ExitStack() as stack:
        loads = [
            stack.enter_context(Load(server, server.admin().create_tenant(durability=durability)))
            for durability in ("always", "interval")
        ]
        wait_for(lambda: all(load.done > 300 for load in loads))
        counts = [load.done for load in loads]
        status, said, complained = ended(backup(server, target))
        assert (status, complained) == (0, "")
        assert f"to {target}" in said and "verified" in said
        before = [load.done for load in loads]
        wait_for(lambda: all(load.done > done for load, done in zip(loads, before, strict=True)), what="the load")
    with serving(unique_name + "b", None, "--data", str(target), "--cores", "0") as restored:
        for load, count in zip(loads, counts, strict=True):
            load.check(restored, count)
            restored.client(load.tenant).put(b"new", b"value")
    assert "cut off" not in said


def test_a_backup_that_is_killed_leaves_nothing_that_a_server_takes(server: RunningServer, unique_name: str, tmp_path: Path):
    target, unfinished = tmp_path / "copy", tmp_path / "copy.new"
    with Load(server, server.admin().create_tenant(durability="always")) as load:
        wait_for(lambda: load.done > 300)
        run = backup(server, target)
        wait_for(unfinished.exists, what="the copy's folder")
        run.kill()
        run.wait()
        run.communicate()
        assert not target.exists() or not unfinished.exists()
        if unfinished.exists():  # else it was too fast
            refused = subprocess.run(
                [sys.executable, "-m", "splinter", "serve", "-i", unique_name + "c", "--transport", "udp", "--port", "0",
                 "--address", "127.0.0.1", "--data", str(unfinished)],
                capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
            assert refused.returncode == 10 and "no data folder" in refused.stderr

        def succeeds() -> bool:
            status, _, complained = ended(backup(server, tmp_path / "other"))
            assert status == 0 or (status == 11 and "another backup is under way, or has just died" in complained)
            return status == 0

        wait_for(succeeds, limits.BACKUP_HOLD_SECONDS - 10, "the end of the dead one's hold")
        count = load.done
        if not target.exists():
            assert ended(backup(server, target))[0] == 0
    with serving(unique_name + "b", None, "--data", str(target), "--cores", "0") as restored:
        load.check(restored, count)


@pytest.mark.parametrize("victim", ["splinter-disk", "splinter-ctl"])
def test_a_backup_outlives_the_server_processes_that_die(server: RunningServer, victim: str, tmp_path: Path):
    admin = server.admin()
    told = admin.begin_backup()
    wait_for(lambda: admin.hold_backup(told["number"])["group"] is not None)
    (pid,) = server.children(victim)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.children(victim) not in ([], [pid]), what="the successor")

    def held() -> bool:
        with contextlib.suppress(SplinterError):
            return server.admin().hold_backup(told["number"])["group"] is not None
        return False

    wait_for(held)
    admin.end_backup(told["number"])
    status, _, complained = ended(backup(server, tmp_path / "copy"))
    assert (status, complained) == (0, "")


def test_a_server_without_a_folder_says_so(unique_name: str, tmp_path: Path):
    with serving(unique_name, None, "--cores", "0") as bare:
        status, _, complained = ended(backup(bare, tmp_path / "copy"))
    assert status == 11 and "has no data folder" in complained
    assert list(tmp_path.iterdir()) == []
