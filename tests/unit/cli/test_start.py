"""The program's first lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.servers import START_SECONDS
from tests.support.waiting import WAIT_SECONDS

PROGRAM = """
import signal, sys
from splinter.cli import start

def run(is_server):
    print(*(int(callable(signal.getsignal(number))) for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)))
    print(*sorted({"typer", "numba", "numpy", "rich"} & set(sys.modules)))
    signal.raise_signal(signal.SIGHUP)
    print("went on")
    return 0

start._run = run
start.main()
"""
THREADS = """
import os, sys
from splinter.cli import start

def run(is_server):
    import numpy
    print(len(os.listdir("/proc/self/task")))
    return 0

start._run = run
start.main()
"""
# A signal comes when something is first imported, or called: signal, module, attribute of it or "", "left" or "entered".
SIGNALLED = """
import functools, importlib.abc, os, signal, sys
number, module, attribute, moment = int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1), sys.argv.pop(1)

class Signalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == module and not attribute:
            sys.meta_path.remove(self)
            signal.raise_signal(number)
        return None

if attribute:
    __import__(module)
    owner, name = sys.modules[module], attribute
    if "." in name:
        owner, name = getattr(owner, name.split(".")[0]), name.split(".")[1]
    function = getattr(owner, name)

    @functools.wraps(function)
    def signalled(*values, **named):
        if moment == "entered":
            signal.raise_signal(number)
        try:
            return function(*values, **named)
        finally:
            if moment == "left":
                signal.raise_signal(number)
    setattr(owner, name, signalled)
sys.meta_path.insert(0, Signalled())
from splinter.cli import start
start.main()
"""
# The start of the supervisor is as if a signal had ended it.
STOPPED = """
from splinter.server.supervisor import signals, supervisor
def ended(self):
    self._signals.catch()
    raise signals.StoppedError
supervisor.Supervisor.start = ended
"""
COLLECTED = """
import gc
from splinter.cli import main, start
from splinter.server.supervisor import signals, supervisor
def told(*_, **__):
    print("collected", gc.isenabled(), flush=True)
def ended(self):
    told()
    raise signals.StoppedError
main.app, supervisor.Supervisor.start = main.app if "serve" in start.sys.argv else told, ended
start.main()
"""
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def restore() -> None:
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, *ENDING):
        signal.signal(number, signal.SIG_DFL)


def begin(*arguments: str) -> tuple[int, list[str]]:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, preexec_fn=restore)
    return found.returncode, found.stdout.splitlines()


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "--lab", "splinter"], ["--version", "serve"]], ids=" ".join)
def test_a_server_bears_signals_before_a_library_is_loaded(arguments: list[str]) -> None:
    assert begin(*arguments) == (0, ["1 1 1", "", "went on"])


def test_numpy_starts_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of its BLAS spin, in each command."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    done = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize("arguments", [[], ["stats"], ["get", "serve"]], ids=" ".join)
def test_a_terminal_that_hangs_up_ends_other_commands(arguments: list[str]) -> None:
    assert begin(*arguments) == (128 + signal.SIGHUP, ["1 0 0", ""])


PLACES = [
    ("typer", "", ""),
    ("splinter.server.config", "", ""),
    ("numba", "", ""),
    ("splinter.server.supervisor.supervisor", "", ""),
    ("splinter.server.output", "Output.start_writer", "left"),
    ("splinter.server.supervisor.signals", "Signals.catch", "entered"),
    ("splinter.server.supervisor.signals", "Signals.catch", "left"),
    ("splinter.server.supervisor.signals", "Signals.close", "left"),
    ("splinter.server.output", "Output.close", "left"),
    ("splinter.cli.start", "_flush", "entered"),
]


@pytest.mark.parametrize(
    ("number", "place"),
    [*((signal.SIGTERM, place) for place in PLACES), *((each, PLACES[at]) for each in ENDING[1:] for at in (0, 4, -1))],
    ids=str,
)
def test_a_server_ends_in_order_wherever_a_signal_comes(number: signal.Signals, place: tuple[str, str, str]) -> None:
    """Those of its end come to one that was told to end while it started."""
    name = f"t{os.getpid()}start"
    options = ["serve", "-i", name, "--transport", "udp", "--port", "0", "--memory", "64MiB"]
    command = [sys.executable, "-c", SIGNALLED, str(int(number)), *place, *options]
    if place[1] in ("Signals.close", "Output.close", "_flush"):  # an end is needed first
        command[2] = command[2].replace("from splinter.cli import start\n", "from splinter.cli import start\n" + STOPPED)
    with tempfile.TemporaryDirectory() as folder:
        told = os.environ | {"SPLINTER_RUN_DIR": folder}
        done = subprocess.run(command, capture_output=True, text=True, preexec_fn=restore, env=told, timeout=WAIT_SECONDS * 4)
        assert not (Path(folder) / name).exists()
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    "arguments", [["stats"], ["serve", "--transport", "udp", "--port", "0", "--memory", "64MiB"]], ids=" ".join
)
def test_garbage_is_collected_once_all_is_loaded(arguments: list[str], tmp_path: Path) -> None:
    told = os.environ | {"SPLINTER_RUN_DIR": str(tmp_path)}
    command = [sys.executable, "-c", COLLECTED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=told, timeout=START_SECONDS)
    assert (done.returncode, "collected True" in done.stdout.splitlines()) == (0, True), done
