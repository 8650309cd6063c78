"""One test at a time has a reader wait in the kernel, where it keeps its CPU: nobody is scheduled there meanwhile.

Two of them would keep both CPUs of a small machine from those who let them go on, until they give up (``bpf/pause.h``). So
would one, whose CPU is the one that who lets it go on was on: that thread is the first CPU's, and the reader the last one's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def only_one_held() -> Generator[None]:
    """No other process is in such a block; waits for its end. A process that dies is in none any more."""
    with (Path(tempfile.gettempdir()) / "splinter-tests-held-cpu.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


_CPUS = sorted(os.sched_getaffinity(0))


@contextlib.contextmanager
def beside_the_held() -> Generator[None]:
    """Have the calling thread elsewhere than readers that wait, for the block."""
    os.sched_setaffinity(0, _CPUS[:1])
    try:
        yield
    finally:
        os.sched_setaffinity(0, _CPUS)


def be_held() -> None:
    """Have the calling thread, a reader's, where it keeps none from letting it go on."""
    os.sched_setaffinity(0, _CPUS[-1:])
