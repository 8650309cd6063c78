"""Each command that makes labs and servers is ended: no namespace, process or file of them is left."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import typer
from splinter_bench.cli import bench_app
from splinter_bench.workloads import trace

from splinter.net import netns
from splinter.server.purge import left
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.xdp]

LIMIT_SECONDS = 200  # a first server compiles all its code
INTERRUPTED = 130
WITHOUT = {"compare", "section"}  # the one makes nothing, the other is what "all" starts
WITHOUT_LAB = {"eviction", "isolation"}  # they only start processes
OF_NO_COMMAND = ("--lab",)
COMMANDS = {
    "extensions": ("--rounds", "1", "--tenants", "1", "--installs", "1"),
    "goals": ("--only", "get-worker"),
    "run": ("--lab",),
    "replay": ("--lab", "{trace}"),
    "yields": ("--quick",),
    "locality": ("--quick",),
    "misbehaviour": ("--quick",),
    "isolation": ("--quick",),
    "flood": ("--quick",),
    "eviction": ("--quick",),
    "benefit": (),
    "all": ("--quick", "--only", "limit", "--out", "{out}"),
    "profile": (),
}
EACH = [OF_NO_COMMAND, *((name, *words) for name, words in COMMANDS.items())]
# A terminal that hangs up ends all as SIGTERM does, by the same handler: one with a lab, one without, one of several programs.
HUNG_UP = (OF_NO_COMMAND[0], "isolation", "all")
ENDED = [
    *((words, signal.SIGTERM) for words in EACH),
    *((words, signal.SIGHUP) for words in EACH if words[0] in HUNG_UP),
]


def test_no_command_is_forgotten() -> None:
    assert set(typer.main.get_command(bench_app).commands) == set(COMMANDS) | WITHOUT


@pytest.mark.parametrize(("words", "number"), ENDED, ids=lambda one: one.name if isinstance(one, signal.Signals) else one[0])
def test_a_command_that_is_ended_leaves_nothing(words: tuple[str, ...], number: signal.Signals, tmp_path: Path) -> None:
    trace.write(tmp_path / "trace", np.array([(0, 5, 1, 0, 1, 0)], trace.RECORD))
    arguments = [word.format(out=tmp_path, trace=tmp_path / "trace") for word in words]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "splinter", "bench", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(lambda: _has_begun(process.pid, words[0]) or process.poll() is not None, seconds=LIMIT_SECONDS)
        assert process.poll() is None, process.communicate()[0]  # there is something to remove
        family = _family(process.pid)
        process.send_signal(number)
        said, _ = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED, said
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in family), what="the end of its processes")
    assert _left(family) == []


def _has_begun(pid: int, name: str) -> bool:
    """Whether a command has something to remove."""
    family = _family(pid)
    return len(family) > 1 if name in WITHOUT_LAB else bool(_left(family))


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has just ended
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _left(pids: list[int]) -> list[str]:
    """Namespaces, instances, logs and folders with these processes' numbers in their names."""
    wanted = {str(pid) for pid in pids}
    names = [*netns.names(), *left(), *(path.name for path in Path(tempfile.gettempdir()).glob("splinter-bench-*"))]
    return [name for name in names if wanted & set(name.split("-"))]
