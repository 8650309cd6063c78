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
import tempfile
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
    """The user's cache folder; where that cannot be written, one of this user's own among the temporary files."""
    base = os.environ.get("XDG_CACHE_HOME")
    chosen = (Path(base) if base else Path.home() / ".cache") / "splinter"
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        if os.access(chosen, os.W_OK | os.X_OK):
            return chosen
    except OSError:
        pass
    own = Path(tempfile.gettempdir()) / f"splinter-cache-{os.geteuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.stat().st_uid == os.geteuid() and own.stat().st_mode & 0o022 == 0:
        return own  # compiled code is run as found: nobody else may write there
    return Path(tempfile.mkdtemp(prefix="splinter-cache-"))


def configure() -> Path:
    """Point Numba at the cache folder of these sources, remove folders of other sources beyond the newest three."""
    root = _cache_root()
    builds = ("KILL_POINTS", "PROFILE")  # see splinter.store.kill_points, splinter.worker.stages
    build = "".join(f"-{name.lower()}" for name in builds if os.environ.get(f"SPLINTER_{name}") == "1")
    folder = root / f"numba-{source_digest()}{build}"
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:  # it has read its environment already; functions look here when they are decorated
        sys.modules["numba"].config.CACHE_DIR = str(folder)
    folder.mkdir(exist_ok=True)
    os.utime(folder)
    stale = sorted(root.glob("numba-*"), key=lambda path: path.stat().st_mtime, reverse=True)[4:]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return folder
