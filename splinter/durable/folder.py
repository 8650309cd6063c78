"""The data folder of a server: what lies where, who has it, and of which version it is.

======================= =============================================================================================
``lock``                held (flock) as long as a server has the folder, as is the folder itself; holds its process number
``splinter.db``         the catalog (:mod:`splinter.durable.catalog`)
``log/``                the change log (:mod:`splinter.durable.segments`)
``snapshots/``          snapshots (:mod:`splinter.durable.snapshots`)
``code/``               compiled extensions (:mod:`splinter.durable.code_cache`): may be removed at any time
======================= =============================================================================================
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from pathlib import Path

from splinter.durable.catalog import Catalog
from splinter.errors import DataFolderError

CATALOG, LOG, SNAPSHOTS, CODE = "splinter.db", "log", "snapshots", "code"
_LOCK = "lock"
_OURS = {_LOCK, CATALOG, f"{CATALOG}-journal", LOG, SNAPSHOTS, CODE, "lost+found"}
_DYING_SECONDS_MAX = 5.0  # until the processes of a server that was killed are gone
_DYING_POLL_SECONDS = 0.01
_MODE = 0o700


class DataFolder:
    """An open one: nobody else has it. :meth:`close` lets go of it."""

    def __init__(self, path: Path) -> None:
        """Make the folder, if there is none, or open it. Raises :class:`DataFolderError` when that cannot be."""
        # A link may be given another folder while this one is served: then that one's files would be removed, and written
        self.path = Path(os.path.realpath(path))
        self._locks = list[int]()
        try:
            self.path.mkdir(mode=_MODE, parents=True, exist_ok=True)
            self._refuse_foreign()
            self._locks.append(os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))  # the file may be removed
            self._locks.append(os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            raise DataFolderError(f"the data folder {path} is a file") from None
        except OSError as error:
            self._let_go()
            raise DataFolderError(f"the data folder {path} cannot be used: {error.strerror}") from None
        try:
            self._take_locks()
            self.log, self.snapshots, self.code = self.path / LOG, self.path / SNAPSHOTS, self.path / CODE
            for folder in (self.log, self.snapshots, self.code):
                folder.mkdir(mode=_MODE, exist_ok=True)
            self._require_catalog()
            self.catalog = Catalog(self.path / CATALOG)
        except OSError as error:
            self._let_go()
            raise DataFolderError(f"the data folder {path} cannot be used: {error.strerror}") from None
        except BaseException:
            self._let_go()
            raise

    def _refuse_foreign(self) -> None:
        """What others keep here must not be mixed with ours."""
        names = {entry.name for entry in self.path.iterdir()}
        if names and CATALOG not in names and (others := sorted(names - _OURS)):
            raise DataFolderError(f"{self.path} is no data folder: it holds {others[0]!r}; name an empty or a new one")

    def _require_catalog(self) -> None:
        """Make no new catalog beside a log: it would have another identity, and know nobody whose objects there are."""
        catalog = self.path / CATALOG
        is_missing = not catalog.exists() or catalog.stat().st_size == 0
        if is_missing and any(any(folder.iterdir()) for folder in (self.log, self.snapshots)):
            raise DataFolderError(
                f"the data folder {self.path} has a log, but no catalog: restore {CATALOG}, or all of a backup"
            )

    def _take_locks(self) -> None:
        deadline, (folder, file) = time.monotonic() + _DYING_SECONDS_MAX, self._locks
        while not (_lock(folder) and _lock(file)):
            holder = os.pread(file, 32, 0).decode(errors="replace").strip()
            # One that was killed is gone in a moment; one that lives keeps it.
            if time.monotonic() > deadline or (holder.isdecimal() and _is_alive(int(holder))):
                raise DataFolderError(f"the data folder {self.path} is in use by another server (pid {holder or 'unknown'})")
            time.sleep(_DYING_POLL_SECONDS)
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let go of it. Again: nothing."""
        if self._locks:
            self.catalog.close()
            self._let_go()

    def _let_go(self) -> None:
        while self._locks:
            os.close(self._locks.pop())


def _lock(descriptor: int) -> bool:
    """Whether it is locked now. A folder of a file system that cannot lock folders is: there is the file."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode) or error.errno not in (errno.EBADF, errno.EOPNOTSUPP, errno.ENOLCK):
            raise
    return True


def _is_alive(pid: int) -> bool:
    """Whether a process runs, and is not about to be gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
