"""Where Numba keeps compiled code.

Numba's on-disk cache notices a change of the file that a function stands in, but not of the files whose functions it
inlines. So the cache folder is named by a digest of all sources that may matter: another source, another cache.
This module must be imported before any function is compiled; :mod:`splinter.native` does so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

_NOT_COMPILED = frozenset({"cli", "client", "demo", "server"})  # packages without a compiled function or what they use


def source_digest() -> str:
    """Digest of the Python sources that compiled code depends on, 16 hexadecimal digits."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if relative.parts[0] not in _NOT_COMPILED:
            digest.update(str(relative).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "splinter"


def configure() -> Path:
    """Point Numba at the cache folder of these sources, remove folders of other sources beyond the newest three."""
    root = _cache_root()
    build = "-kill-points" if os.environ.get("SPLINTER_KILL_POINTS") == "1" else ""  # see splinter.store.kill_points
    folder = root / f"numba-{source_digest()}{build}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # it has read its environment already; functions look here when they are decorated
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        stale = sorted(root.glob("numba-*"), key=lambda path: path.stat().st_mtime, reverse=True)[4:]
        for path in stale:
            shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass  # an unwritable home costs compile time at each start, nothing else
    return folder
