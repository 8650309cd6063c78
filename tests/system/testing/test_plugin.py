"""The fixtures and the context manager of :mod:`splinter.testing`, as another project uses them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from splinter.errors import ServerError
from splinter.testing import running_server
from splinter.testing.process import free_port
from tests.support.waiting import wait_for

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "testing.md"


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """pytest in a folder that is not this project's; the plug-in is named, so that no installation need have told of it."""
    command = [sys.executable, "-m", "pytest", "-p", "splinter.testing.plugin", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def test_the_page_s_example_passes(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# test_visits\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "test_visits.py").write_text(example)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b[2-9] passed", done.stdout)


def test_the_page_s_application_is_tested_and_nothing_stays_open(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# test_application\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "test_application.py").write_text(example)
    done = run_pytest(tmp_path, "-W", "error")  # a socket that is not closed is a warning
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_page_s_interleavings_are_as_it_says(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(# test_interleavings\.py\n.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "test_interleavings.py").write_text(example)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_each_test_has_a_tenant_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(
        textwrap.dedent("""
        import pytest

        @pytest.mark.parametrize("_", range(2))
        def test_nothing_is_there(splinter_client, _):
            assert splinter_client.get(b"key") is None
            splinter_client.put(b"key", b"value")

        def test_it_is_removed(splinter_server):
            assert splinter_server.admin.list_tenants() == []
    """)
    )
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_loaded_by_who_does_not_ask() -> None:
    heavy = ("numpy", "numba", "splinter.client")
    program = f"import sys, splinter.testing.plugin; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


def test_a_server_that_does_not_start_is_explained() -> None:
    with pytest.raises(ServerError, match="ended with status") as caught, running_server("--cores", "9999"):
        raise AssertionError("it started")
    assert "9999" in "\n".join(caught.value.__notes__)


def test_the_server_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import signal
        from splinter.testing import running_server
        with running_server() as server:
            print(server.info.pid, flush=True)
            signal.pause()
    """)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)

    def is_gone() -> bool:
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    wait_for(is_gone, what="the server's end")


def test_two_servers_run_side_by_side() -> None:
    with running_server() as one, running_server() as other:
        assert one.port != other.port
        with one.client() as first, other.client() as second:
            first.put(b"key", b"first")
            assert second.get(b"key") is None


def test_free_ports_differ() -> None:
    assert len({free_port() for _ in range(8)}) == 8
