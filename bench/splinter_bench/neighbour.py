"""A noisy neighbour: another program of the machine that takes a CPU for 50 ms of every second, to measure beside it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator

BUSY_SECONDS, EVERY_SECONDS = 0.05, 1.0
# Its parent ends at once, so that it is nobody's child; it ends when its standard input does, that is with this process.
_PROGRAM = """
import os, select, sys, time
busy, every = map(float, sys.argv[1:])
if os.fork():
    os._exit(0)
os.setsid()
ended = select.poll()
ended.register(0)
while True:
    end = time.monotonic() + busy
    while time.monotonic() < end:
        pass
    if ended.poll((every - busy) * 1000):
        break
"""


@contextlib.contextmanager
def noisy_neighbour(busy_seconds: float = BUSY_SECONDS, every_seconds: float = EVERY_SECONDS) -> Generator[None]:
    """There is one during the block."""
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(busy_seconds), str(every_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as started:
        assert started.stdin is not None
        started.wait()  # the parent; from here on the other one is nobody's child
        try:
            yield
        finally:
            started.stdin.close()
