"""How the process that speaks to strangers gives up what its server may: it is nobody then, or it does not run.

Capabilities are given up whoever the user is: a server that is not root may have some as well (ambient ones of a service).
Root without capabilities is root still, as the server's files are his. So a server that is root needs what it takes to become
somebody else, and to end a process that has.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from splinter.errors import NotPermittedError

_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522  # linux/capability.h; two sets of 32 bits
_NEEDED = {"CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}
_STATUS = Path("/proc/self/status")
_MAPS = (Path("/proc/self/uid_map"), Path("/proc/self/gid_map"))
_libc = ctypes.CDLL(None, use_errno=True)


def require_way_out() -> None:
    """For a server, before it starts such a process. Raises :class:`NotPermittedError` where it would have to stay root."""
    if os.geteuid() != 0 or not _is_there_a_nobody():
        return
    effective = next(int(line.split()[1], 16) for line in _STATUS.read_text().splitlines() if line.startswith("CapEff:"))
    missing = [name for name, number in _NEEDED.items() if not effective >> number & 1]
    if missing:
        raise NotPermittedError(
            f"the metrics process may not stay root, and cannot become nobody without {', '.join(missing)}: "
            "permit it, or serve without --metrics"
        )


def become_nobody() -> None:
    """Give up root, and all capabilities for good. Raises OSError when that cannot be."""
    if os.geteuid() == 0 and _is_there_a_nobody():
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    for status in (_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), _libc.capset(header, none)):
        if status != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _is_there_a_nobody() -> bool:
    """Not in a namespace that a user has made for himself alone: its root is that user, whom the process may stay as well."""
    return all(any(_has_nobody(line) for line in path.read_text().splitlines()) for path in _MAPS)


def _has_nobody(line: str) -> bool:
    first, _, count = map(int, line.split())
    return first <= _NOBODY < first + count
