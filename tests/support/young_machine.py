"""``python -m tests.support.young_machine serve …``: ``splinter`` on a machine that seems to have been started a second ago.

A time namespace (time_namespaces(7), Linux 5.6) moves the monotonic clocks of a process. The kernel's own, which BPF programs
read, stay what they are.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

_CLONE_NEWTIME = 0x00000080
_UPTIME_SECONDS = 1
UPTIME_VARIABLE = "TESTS_UPTIME_SECONDS"  # another one
_libc = ctypes.CDLL(None, use_errno=True)


def enter(uptime_seconds: int = _UPTIME_SECONDS) -> None:
    """Move this process, which must have one thread, to a clock that began so long ago. Raises ``OSError`` where that is
    refused: it needs root, and a kernel that has time namespaces."""
    ahead = uptime_seconds - int(time.clock_gettime(time.CLOCK_BOOTTIME)), uptime_seconds - int(time.monotonic())
    _check(_libc.unshare(_CLONE_NEWTIME))
    Path("/proc/self/timens_offsets").write_text("boottime {} 0\nmonotonic {} 0\n".format(*ahead))
    namespace = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
    _check(_libc.setns(namespace, _CLONE_NEWTIME))
    os.close(namespace)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    enter(int(os.environ.get(UPTIME_VARIABLE, _UPTIME_SECONDS)))
    os.execv(sys.executable, [sys.executable, "-m", "splinter", *sys.argv[1:]])
