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
_CURRENT = "/proc/thread-self/ns/net"
_CLONE_NEWNET = 0x40000000
_MS_BIND, _MS_REC, _MS_SHARED, _MNT_DETACH = 0x1000, 0x4000, 0x100000, 0x2  # mount(2)
_libc = ctypes.CDLL(None, use_errno=True)


def names() -> list[str]:
    """Names of all network namespaces that have one, sorted."""
    return sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []


def exists(name: str) -> bool:
    """Whether there is a network namespace of this name."""
    return name in names()


def create(name: str) -> None:
    """Make a network namespace. Raises ``OSError`` when it is there already or privileges lack.

    In this thread, and not in a child as pyroute2 does: who is interrupted here and removes what there is by then has
    nobody who goes on making it.
    """
    _share_folder()
    before = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.close(os.open(NAMESPACES / name, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        try:
            _check(_libc.unshare(_CLONE_NEWNET), name)
            _check(_mount(_CURRENT, NAMESPACES / name, _MS_BIND), name)
        except OSError:
            (NAMESPACES / name).unlink()  # nothing is mounted there
            raise
        finally:
            _enter(before, "the one before")
    finally:
        os.close(before)


def remove(name: str) -> None:
    """Remove a network namespace's name; it ends with the last process in it. No error when there is none."""
    if exists(name):
        path = NAMESPACES / name
        _libc.umount2(os.fsencode(path), _MNT_DETACH)  # one that was only half made is not mounted
        path.unlink()


@contextmanager
def inside(name: str | None) -> Iterator[None]:
    """Run the block in a network namespace, and return to the one before. ``None`` stays where it is.

    Only the calling thread moves; sockets made in the block stay in the namespace, processes forked in it too. Raises
    :class:`~splinter.errors.ServerError` when there is no such namespace or privileges lack.
    """
    if name is None:
        yield
        return
    try:
        target = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        known = ", ".join(names()) or "none"
        raise ServerError(f"there is no network namespace {name!r}; there are: {known}") from error
    except OSError as error:
        raise ServerError(f"network namespace {name!r}: {error.strerror}") from error
    try:
        with inside_fd(target, name):
            yield
    finally:
        os.close(target)


def current_fd() -> int:
    """A descriptor of the network namespace that the thread is in; it lives as long as this is open."""
    return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside_fd(target: int, name: str = "of a descriptor") -> Iterator[None]:
    """As :func:`inside`, of a namespace by descriptor, which stays open."""
    before = current_fd()
    try:
        _enter(target, name)
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


def _share_folder() -> None:
    """As ``ip netns add`` does it: what is mounted in the folder is seen wherever the folder is."""
    NAMESPACES.mkdir(exist_ok=True)
    if _mount("", NAMESPACES, _MS_SHARED | _MS_REC) != 0:
        _check(_mount(NAMESPACES, NAMESPACES, _MS_BIND | _MS_REC), str(NAMESPACES))  # it must be a mount of its own first
        _check(_mount("", NAMESPACES, _MS_SHARED | _MS_REC), str(NAMESPACES))


def _mount(source: str | Path, target: Path, flags: int) -> int:
    return int(_libc.mount(os.fsencode(source), os.fsencode(target), b"none", ctypes.c_ulong(flags), None))


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
