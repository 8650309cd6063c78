"""The whole benchmark is interrupted: what it made is removed."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from splinter.net import netns
from tests.support.waiting import wait_for

pytestmark = pytest.mark.xdp


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_namespaces_are_removed_when_it_is_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """SIGKILL strikes the parent; the section's process is told of it by the kernel."""
    words = ["-m", "splinter", "bench", "all", "--quick", "--only", "limit", "--out", str(tmp_path)]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True) as process:
        with contextlib.ExitStack() as undo:
            undo.callback(process.kill)
            (section,) = wait_for(lambda: _children(process.pid), seconds=200)
            wait_for(lambda: _labs_of(section), seconds=200)
            process.send_signal(number)
            _, said = process.communicate(timeout=90)
            undo.pop_all()
        wait_for(lambda: not _labs_of(section), seconds=60)
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "--resume" in said


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _labs_of(pid: int) -> list[str]:
    return [name for name in netns.names() if name.startswith(f"bench-{pid}-")]


def test_what_stands_before_a_section_s_command_is_ended_with_it(tmp_path: Path) -> None:
    words = ["-m", "splinter", "bench", "all", "--quick", "--only", "limit", "--out", str(tmp_path)]
    words += ["--prefix", f"flock {tmp_path / 'lock'}"]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True) as process:
        with contextlib.ExitStack() as undo:
            undo.callback(process.kill)
            (lock,) = wait_for(lambda: _children(process.pid), seconds=200)
            (section,) = wait_for(lambda: _children(lock), seconds=200)
            wait_for(lambda: _labs_of(section), seconds=200)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=90)
            undo.pop_all()
        assert not _labs_of(section) and not Path(f"/proc/{section}").exists()
