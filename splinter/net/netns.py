"""Network namespaces by name, as ``ip netns`` keeps them, without a shell.

Entering one with ``setns`` leaves the mounts alone, so that ``/sys`` and a bpffs stay visible (``ip netns exec`` mounts
its own).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from splinter.errors import ServerError

NAMESPACES = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def names() -> list[str]:
    """Names of all network namespaces that have one, sorted."""
    return sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []


def exists(name: str) -> bool:
    """Whether there is a network namespace of this name."""
    return name in names()


def create(name: str) -> None:
    """Make a network namespace. Raises ``OSError`` when it is there already or privileges lack."""
    from pyroute2 import netns  # takes a while to import, and who only enters a namespace does without

    netns.create(name)


def remove(name: str) -> None:
    """Remove a network namespace's name; it ends with the last process in it. No error when there is none."""
    if exists(name):
        from pyroute2 import netns

        netns.remove(name)


@contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Run the block in a network namespace, and return to the one before. ``None`` stays where it is.

    Only the calling thread moves; sockets made in the block stay in the namespace, processes forked in it too. Raises
    :class:`~splinter.errors.ServerError` when there is no such namespace or privileges lack.
    """
    if name is None:
        yield
        return
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            target = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            known = ", ".join(names()) or "none"
            raise ServerError(f"there is no network namespace {name!r}; there are: {known}") from error
        try:
            _enter(target, name)
        finally:
            os.close(target)
        try:
            yield
        finally:
            _enter(before, "the one before")
    finally:
        os.close(before)


def _enter(fd: int, name: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise ServerError(f"cannot enter network namespace {name}: {os.strerror(code)} (root may)")
