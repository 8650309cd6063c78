"""What the compiler made of extensions, so that a start need not compile: files of a folder, verified whenever they are read.

A file is named by a digest of all that its content depends on, so none is ever changed. It holds the SHA-256 of its name and
content, then the content. What is damaged, torn or of another compiler is as good as not there. Nothing waits for the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)
BYTES_MAX = 256 << 20  # that a folder keeps
_DIGEST_BYTES = 32
_MADE = ".new"  # the ending of a file that is not whole yet


class CodeCache:
    """The files of one folder. Used by one process at a time."""

    def __init__(self, folder: Path, bytes_max: int = BYTES_MAX) -> None:
        """``bytes_max``: beyond it, what was not used for longest goes."""
        self._folder, self._bytes_max = folder, bytes_max
        self._bytes = sum(size for _, size, _ in self._files())

    def get(self, digest: bytes) -> bytes | None:
        """The content of this digest; None: it has to be made."""
        path = self._folder / digest.hex()
        try:
            found = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        if found[:_DIGEST_BYTES] == _sum(digest, found[_DIGEST_BYTES:]):
            return found[_DIGEST_BYTES:]
        _log.warning("%s is damaged, and its extension compiled again", path)
        return None

    def put(self, digest: bytes, content: bytes) -> None:
        """Keep what was made. Where the disk cannot take it, it is not kept."""
        size = _DIGEST_BYTES + len(content)
        if self._bytes + size > self._bytes_max:
            self._drop_oldest()
        path = self._folder / digest.hex()
        made = path.with_suffix(_MADE)
        try:
            made.write_bytes(_sum(digest, content) + content)
            made.replace(path)
            self._bytes += size
        except OSError:
            with contextlib.suppress(OSError):
                made.unlink()

    def _drop_oldest(self) -> None:
        """Make half of the room free."""
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= self._bytes_max // 2:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                self._bytes -= size

    def _files(self) -> list[tuple[int, int, Path]]:
        """Of each file when it was used last (ns), its size in bytes, and its path."""
        found = ((path.stat(), path) for path in self._folder.iterdir())
        return [(status.st_mtime_ns, status.st_size, path) for status, path in found]


def _sum(digest: bytes, content: bytes) -> bytes:
    return hashlib.sha256(digest + content).digest()
