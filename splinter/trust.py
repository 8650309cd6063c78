"""Whether what stands at a path may be believed for standing there: nobody but this user and root can have put it there.

A file's own owner and mode are not enough: who may write to a folder above it can put another in its place. So the whole way
is looked at, from the root on, symbolic links included. In a folder that all may write to and that is *sticky* (``/tmp``),
nobody can replace what belongs to another, but anybody can come first; there the owner of what is found decides.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_LINKS_MAX = 40  # symbolic links on one way, as the kernel has it
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SECRET = stat.S_IRWXG | stat.S_IRWXO


def distrust(path: Path, *, is_secret: bool = False) -> str | None:
    """Why others may have made, or may change, what stands at ``path``; None when they cannot.

    With ``is_secret`` also when others can read it. Raises :class:`OSError` when there is nothing, or it cannot be looked at.
    """
    ahead = list(reversed((Path.cwd() / path).parts[1:]))
    at, links = Path("/"), 0
    while ahead:
        name = ahead.pop()
        if name == "..":
            at = at.parent
            continue
        entry = at / name
        found = entry.lstat()
        if found.st_uid not in (0, os.geteuid()):
            return f"{entry} belongs to another user"
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _LINKS_MAX:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = entry.readlink()
            at = Path("/") if target.is_absolute() else at
            ahead += reversed(target.parts[target.is_absolute() :])
            continue
        is_shared = bool(ahead) and stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISVTX)
        if found.st_mode & _WRITABLE_BY_OTHERS and not is_shared:
            return f"others may write to {entry}: chmod go-w {entry}"
        if is_secret and not ahead and found.st_mode & _SECRET:
            return f"others may read {entry}: chmod go= {entry}"
        at = entry
    return None
