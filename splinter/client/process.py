"""Whose a client is: what a process opened is its own, and never that of a child that was forked from it.

Two processes that share a socket take each other's replies, and two that share a client id and its sequence numbers have
one's requests answered with the other's results. So whatever holds a socket remembers :func:`process_number`, and begins
anew, or gives up what it was at, when that has changed. The interpreter's own forks change it at once, while the child has one
thread. For others, of a library in C, there is a mark: a page that the kernel clears in every forked child (MADV_WIPEONFORK).
"""

from __future__ import annotations

import contextlib
import mmap
import os
from typing import NoReturn

from splinter.errors import SplinterError

_MADV_WIPEONFORK = 18  # linux/mman.h, since Linux 4.14
_mark = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
_mark[0] = 1
_number = 1


def _renew() -> None:
    global _number
    _mark[0] = 1
    _number += 1


os.register_at_fork(after_in_child=_renew)
with contextlib.suppress(OSError):  # an older kernel: the interpreter's own forks at least are known
    _mark.madvise(_MADV_WIPEONFORK)


def process_number() -> int:
    """Differs from what it was in the process that this one was forked from."""
    if not _mark[0]:
        _renew()
    return _number


class ForkedError(SplinterError):
    """A process was forked in the midst of this; the parent goes on with it, and the child must not."""

    def __init__(self) -> None:
        super().__init__(
            "this process was forked while a request was under way: the parent goes on with it; ask again in this process"
        )


class ProcessOwn:
    """A base for what cannot be copied or sent to another process, with the reason said."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} has sockets of its own process and cannot be copied or pickled: "
            "make one in each process, from its address, tenant and token"
        )
