"""Forked children of the supervisor and of the control process."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def name_process(name: str) -> None:
    """What ``ps`` and ``top`` call this process, at most 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def fork_child(name: str, main: Callable[[], None]) -> tuple[int, int]:
    """Fork a process that runs ``main`` and exits; returns its pid and a descriptor that becomes readable when it ends.

    The child dies with its parent and has the default signal actions.
    """
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid, os.pidfd_open(pid)
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before prctl
            os._exit(1)
        name_process(name)
        main()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def keep_shared_memory() -> None:
    """From now on, children of this process get none of the mappings that it shares with others."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, permissions, *_ = line.split()
        if permissions.endswith("s"):
            start, end = (int(number, 16) for number in place.split("-"))
            if _libc.madvise(start, end - start, mmap.MADV_DONTFORK) != 0:
                raise OSError(ctypes.get_errno(), f"cannot keep the mapping {place} from children")
