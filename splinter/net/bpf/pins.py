"""What of an instance outlives its processes: a folder of its own in a bpffs, with maps, a program and a link pinned in it.

The folder's lock (flock on the folder itself) is held by the server and by every process that is forked from it. Who gets it
knows that none of them executes anything any more: a descriptor of a dead process is closed behind its last instruction.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from pathlib import Path

from splinter.net.bpf import maps

DEFAULT_MOUNT = Path("/sys/fs/bpf")
_VARIABLE = "SPLINTER_BPFFS"
_OWN = "splinter"
_BPFFS_MAGIC = 0xCAFE4A11
_MOUNT_OPTIONS = b"mode=0700"
_STATFS_BYTES = 256  # more than the structure has; its first word is the kind of file system
_DOT = "+"  # in place of a dot, which bpffs keeps for itself; no instance's name has one

_libc = ctypes.CDLL(None, use_errno=True)


class PinsUnavailableError(Exception):
    """Nothing can be pinned; the text says why, to go on a sentence."""


class PinsInUseError(PinsUnavailableError):
    """Processes of a server have the folder."""


def mount_point() -> Path:
    """Where the bpffs is: ``$SPLINTER_BPFFS``, else /sys/fs/bpf."""
    return Path(os.environ.get(_VARIABLE) or DEFAULT_MOUNT)


def instances() -> list[str]:
    """Names of the instances that have a folder here; none where there is no bpffs. Raises :class:`PinsUnavailableError` when
    it may not be looked into."""
    if not _is_bpffs(mount_point()):
        return []
    try:
        return sorted(entry.name.replace(_DOT, ".") for entry in (mount_point() / _OWN).iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PinsUnavailableError(f"{error.filename}: {error.strerror}") from error


def folder_of(instance: str) -> Path:
    """The folder of an instance, which may not be there."""
    return mount_point() / _OWN / instance.replace(".", _DOT)


class PinFolder:
    """The folder of one instance, and its lock."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def take(cls, instance: str) -> PinFolder:
        """Take the folder, made if there is none. Raises :class:`PinsUnavailableError`, or :class:`PinsInUseError`."""
        _need_bpffs(mount_point())
        path = folder_of(instance)
        while True:
            try:
                for folder in (path.parent, path):
                    folder.mkdir(mode=0o700, exist_ok=True)
                    folder.chmod(0o700)  # whatever the umask is
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # who had it before is just removing it
            except OSError as error:
                raise PinsUnavailableError(f"{error.filename}: {error.strerror}") from error
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock), path.stat()):
                    return cls(path, lock)
            except BlockingIOError:
                os.close(lock)
                raise PinsInUseError(f"processes of a server have {path}") from None
            except FileNotFoundError:
                pass
            os.close(lock)

    def names(self) -> set[str]:
        """What is pinned."""
        return {entry.name for entry in self.path.iterdir()}

    def pin(self, name: str, descriptor: int) -> None:
        """Pin a map, program or link, in place of what had the name. Raises :class:`OSError`."""
        self.unpin(name)
        maps.pin(descriptor, self.path / name)

    def open(self, name: str) -> int:
        """A descriptor of what is pinned under a name. Raises :class:`OSError`."""
        return maps.open_pinned(self.path / name)

    def unpin(self, name: str) -> None:
        """What had the name lives only as long as somebody else has it. No error when there is none."""
        (self.path / name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Take the folder away with all that is pinned in it. The lock goes with :meth:`close`. Raises :class:`OSError`."""
        for name in self.names():
            self.unpin(name)
        self.path.rmdir()
        with contextlib.suppress(OSError):  # another instance's may be there
            self.path.parent.rmdir()

    def close(self) -> None:
        """Let go of the lock. Again: nothing."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _need_bpffs(mount: Path) -> None:
    """Have a bpffs there, mounted now if it is where it belongs. Raises :class:`PinsUnavailableError`."""
    if _is_bpffs(mount):
        return
    if mount != DEFAULT_MOUNT:
        raise PinsUnavailableError(f"{mount} is no mounted bpffs")
    if _libc.mount(b"bpf", os.fsencode(mount), b"bpf", 0, _MOUNT_OPTIONS) != 0:
        code = ctypes.get_errno()
        what = "that needs root (CAP_SYS_ADMIN)" if code == errno.EPERM else os.strerror(code)
        raise PinsUnavailableError(f"there is no bpffs at {mount}, and none can be mounted: {what}")


def _is_bpffs(mount: Path) -> bool:
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.statfs(os.fsencode(mount), buffer) != 0:
        return False
    kind = int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little")
    return kind & 0xFFFFFFFF == _BPFFS_MAGIC
