"""One test at a time has a reader wait in the kernel, where it keeps its CPU: nobody is scheduled there meanwhile.

Two of them would keep both CPUs of a small machine from those who let them go on, until they give up (``bpf/pause.h``).
"""

from __future__ import annotations

import contextlib
import fcntl
import tempfile
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def only_one_held() -> Generator[None]:
    """No other process is in such a block; waits for its end. A process that dies is in none any more."""
    with (Path(tempfile.gettempdir()) / "splinter-tests-held-cpu.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
