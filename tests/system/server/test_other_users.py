"""What another local user prepares in a temporary folder is neither believed nor used. Needs root, to be two users."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from splinter.cli.main import app
from splinter.errors import ServerError
from splinter.native import cache
from splinter.server import instance as instances
from splinter.server.instance import InstanceFolder
from splinter.testing.process import free_port
from tests.support.commands import CliRunner
from tests.unit.server.test_instance import INFO

# Only root can act for another user. CI, which has root, takes this skip for a failure.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act for two users")
ATTACKER, VICTIM = 54321, 54322


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="splinter-test-"))
    folder.chmod(0o1777)
    yield folder
    shutil.rmtree(folder)


def act_as(user: int, temporary: Path, act: Callable[[], None]) -> None:
    """Have ``act`` done by another user, whose temporary folder is ``temporary``."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            tempfile.tempdir = str(temporary)
            for name in list(os.environ):
                if name.startswith(("SPLINTER_", "XDG_")):
                    del os.environ[name]
            os.environ["HOME"] = "/nonexistent"
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("is_linked", [False, True], ids=["folder", "link"])
def test_nothing_is_sent_to_where_another_users_folder_says(temporary: Path, is_linked: bool) -> None:
    prepared = temporary / f"splinter-{VICTIM}"
    where = ("127.0.0.1", free_port())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trap, socket.create_server(where) as control_trap:
        trap.bind(where)
        lock = -1

        def prepare() -> None:
            nonlocal lock
            folder = prepared.with_name("elsewhere") if is_linked else prepared
            (folder / "default").mkdir(parents=True)
            if is_linked:
                prepared.symlink_to(folder)
            (folder / "default" / "admin.key").write_text("key")
            (folder / "default" / "lock").write_text("")
            state = vars(INFO) | {"instance": "default", "port": trap.getsockname()[1]}
            (folder / "default" / "server.json").write_text(json.dumps(state))

        act_as(ATTACKER, temporary, prepare)
        lock = os.open(prepared / "default" / "lock", os.O_RDWR)  # held, as a server holds it
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, instances._WHOLE_FILE)

        def put() -> None:
            for arguments in (["--token", "1234"], []):  # without a token the credential is asked for first
                result = CliRunner().invoke(app, ["put", "key", "secret", "--tenant", "1", *arguments])
                assert result.exit_code == 1
                assert "belongs to another user" in result.stderr

        act_as(VICTIM, temporary, put)
        os.close(lock)
        trap.setblocking(False)
        control_trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.recv(2048)
        with pytest.raises(BlockingIOError):
            control_trap.accept()


def test_a_server_does_not_start_in_another_users_folder(temporary: Path) -> None:
    prepared = temporary / f"splinter-{VICTIM}"

    def prepare() -> None:
        prepared.mkdir(mode=0o777)
        prepared.chmod(0o777)

    def start() -> None:
        with pytest.raises(ServerError, match=r"belongs to another user.*SPLINTER_RUN_DIR"):
            InstanceFolder("default")

    act_as(ATTACKER, temporary, prepare)
    act_as(VICTIM, temporary, start)
    assert not any((prepared / "default").glob("*"))


def test_nobody_else_can_hold_the_lock_of_a_server(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPLINTER_RUN_DIR", str(temporary / "run"))
    folder = InstanceFolder("default")

    def hold() -> None:
        with pytest.raises(PermissionError):
            os.open(folder.folder / "lock", os.O_RDONLY)

    act_as(ATTACKER, temporary, hold)
    folder.remove()


def test_compiled_code_is_not_taken_from_another_user(temporary: Path) -> None:
    """Neither from a home folder that ``sudo`` has kept, nor from a prepared one among the temporary files."""
    home, prepared = temporary / "home", temporary / f"splinter-cache-{VICTIM}"

    def prepare() -> None:
        (home / ".cache" / "splinter").mkdir(parents=True)
        for folder in (home, home / ".cache", home / ".cache" / "splinter"):
            folder.chmod(0o777)
        prepared.symlink_to(home / ".cache" / "splinter")

    def choose() -> None:
        os.environ["HOME"] = str(home)
        chosen = cache.cache_folder("compiled")
        assert chosen.stat().st_uid == chosen.parent.stat().st_uid == VICTIM
        assert not chosen.resolve().is_relative_to(home)
        chosen.rmdir()
        chosen.parent.rmdir()

    act_as(ATTACKER, temporary, prepare)
    act_as(VICTIM, temporary, choose)


@pytest.mark.parametrize("place", ["cache", "cache/splinter", "cache/splinter/compiled"])
def test_a_cache_that_cannot_be_written_to_is_passed_by(temporary: Path, place: str) -> None:
    def choose() -> None:
        os.environ["XDG_CACHE_HOME"] = str(temporary / "cache")
        (temporary / place).mkdir(parents=True, mode=0o700)
        (temporary / place).chmod(0o500)
        chosen = cache.cache_folder("compiled")
        assert chosen.parent == temporary / f"splinter-cache-{VICTIM}"
        (chosen / "file").touch()

    act_as(VICTIM, temporary, choose)


def test_a_configuration_of_another_user_is_refused(temporary: Path) -> None:
    file = temporary / "splinter.toml"

    def prepare() -> None:
        file.write_text("port = 7172")

    def serve() -> None:
        result = CliRunner().invoke(app, ["serve", "--config", str(file)])
        assert result.exit_code == 9
        assert "belongs to another user" in result.stderr

    act_as(ATTACKER, temporary, prepare)
    act_as(VICTIM, temporary, serve)
