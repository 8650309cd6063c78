"""That all of a server's code was found in the cache: a record, so that the next start looks at files and not at functions.

To look at each function takes as long as to load them all. The record names the files in which Numba finds saved code (its
indexes, one for each function, by their paths in the cache), with size and time of change. It holds while all are as they were:
whatever is removed, damaged or added to has a start look at each function again. Its own name stands for the sources, the
compiler and the machine.

Any process may write it at any time: it is replaced whole, by rename. What is no record, or cannot be read, does not hold; a
record that cannot be written costs the next start its time and nothing else.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgpack
from numba.core import config

_config: Any = config
_RECORDS_MAX = 16  # that are kept, of all versions and machines


class WarmRecord:
    """The record of this name in the cache folder."""

    def __init__(self, name: str) -> None:
        self._folder = Path(_config.CACHE_DIR)
        self._path = self._folder / f"{name}.warm"

    def holds(self) -> bool:
        """Whether there is one, and the files that it names are as they were."""
        try:
            found = msgpack.unpackb(self._path.read_bytes())
            return bool(found) and all(self._state(path) == state for path, state in found.items())
        except (OSError, ValueError, AttributeError, msgpack.UnpackException):
            return False

    def write(self, files: Iterable[str]) -> None:
        """Make a record of files as they are."""
        with contextlib.suppress(OSError, ValueError):  # a path may be none that msgpack has
            paths = [os.path.relpath(file, self._folder) for file in files]  # the cache may be copied
            record = msgpack.packb({path: self._state(path) for path in paths})
            written = self._path.with_suffix(f".{os.getpid()}.new")
            try:
                written.write_bytes(record)
                written.replace(self._path)
            finally:
                written.unlink(missing_ok=True)
            records = sorted(self._folder.glob("*.warm"), key=lambda path: path.stat().st_mtime, reverse=True)
            for stale in records[_RECORDS_MAX:]:
                stale.unlink(missing_ok=True)

    def _state(self, path: str) -> list[int]:
        status = (self._folder / path).stat()
        return [status.st_size, status.st_mtime_ns]
