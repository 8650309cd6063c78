"""The program's first lines."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys
from splinter.cli import start

def run():
    print(*(int(callable(signal.getsignal(number))) for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)))
    print(*sorted({"typer", "numba", "numpy", "rich"} & set(sys.modules)))
    signal.raise_signal(signal.SIGHUP)
    print("went on")
    return 0

start._run = run
start.main()
"""


def begin(*arguments: str) -> tuple[int, list[str]]:
    def restore() -> None:
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_DFL)

    command = [sys.executable, "-c", PROGRAM, *arguments]
    found = subprocess.run(command, capture_output=True, text=True, preexec_fn=restore)
    return found.returncode, found.stdout.splitlines()


@pytest.mark.parametrize("arguments", [["serve"], ["serve", "--lab", "splinter"], ["--version", "serve"]], ids=" ".join)
def test_a_server_bears_signals_before_a_library_is_loaded(arguments: list[str]) -> None:
    assert begin(*arguments) == (0, ["1 1 1", "", "went on"])


@pytest.mark.parametrize("arguments", [[], ["stats"], ["get", "serve"]], ids=" ".join)
def test_a_terminal_that_hangs_up_ends_other_commands(arguments: list[str]) -> None:
    assert begin(*arguments) == (128 + signal.SIGHUP, ["1 0 0", ""])
