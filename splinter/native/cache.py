"""Where Numba keeps compiled code.

Numba's on-disk cache notices a change of the file that a function stands in, but not of the files whose functions it
inlines, nor one of the way in which is compiled. So each module has a cache folder that is named by a digest of its source, of
all sources that it imports, one through the other, and of what decides how to compile: a change compiles anew what may depend
on it, and nothing else. Checkouts with equal sources share folders.

No disk keeps a program from running: what cannot be read, or is damaged, is compiled anew; what cannot be saved is used all the
same, and one line says so.

This module must be imported before any function is compiled; :mod:`splinter.native` does so.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from numba.core import caching, config

from splinter.trust import distrust

_config: Any = config
_caching: Any = caching
_IndexDataCacheFile: Any = caching.IndexDataCacheFile
_PACKAGE = Path(__file__).resolve().parent.parent
_PACKAGE_FILE = "__init__.py"
_OURS = ("splinter", "splinter_bench")  # packages whose sources count: functions of these are inlined into each other
_IMPORT = re.compile(r"^import (splinter[\w.]*)", re.MULTILINE)
_IMPORT_FROM = re.compile(r"^from (splinter[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)
_NAME = re.compile(r"\w+")
_VERSIONS_MAX = 16  # folders of one module that are kept
_NOWHERE = Path(os.devnull) / "splinter"  # nobody can make such a folder
_DATA_NAME_BYTES = 6
_places: list[Path] = []  # that came into question; for the message when none would do
_LOCATOR_CLASSES = "splinter.native.cache.SourcesLocator,IPythonCacheLocator"


@functools.cache
def _folders() -> dict[str, Path]:
    """Where our packages are: this one, and the laboratory where it is installed."""
    found = {_OURS[0]: _PACKAGE}
    for name in _OURS[1:]:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found[name] = Path(spec.origin).resolve().parent
    return found


@functools.cache
def _module_file(name: str) -> Path | None:
    """The source of a module of our packages, by its dotted name; None when there is no such module."""
    folder = _folders().get(name.partition(".")[0])
    if folder is None:
        return None
    path = folder.parent / name.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / _PACKAGE_FILE) if file.is_file()), None)


@functools.cache
def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _name(file: Path) -> str:
    """A file's path in our packages, so that checkouts share what they compile; another's whole path."""
    for name, folder in _folders().items():
        if file.is_relative_to(folder):
            path = str(file.relative_to(folder))
            return path if name == _OURS[0] else f"{name}/{path}"
    return str(file).lstrip("/")


@functools.cache
def _direct_imports(file: Path) -> frozenset[Path]:
    """The sources of our packages that a source takes names from. Imports within functions are not seen by compiled code."""
    return frozenset(_taken_from(_text(file)))


def _taken_from(text: str) -> Iterator[Path]:
    for module in _IMPORT.findall(text):
        yield from filter(None, [_module_file(module)])
    for module, names in _IMPORT_FROM.findall(text):
        file = _module_file(module)
        if file is not None and file.name != _PACKAGE_FILE:  # which has no modules
            yield file
            continue
        for name in _NAME.findall(names):
            yield from filter(None, [_module_file(f"{module}.{name}") or file])


@functools.cache
def _compiler() -> str:
    """What decides how sources are compiled, beside them (Numba itself looks at its own version, and at the CPU)."""
    import llvmlite  # behind Numba, which is the one to be missed where neither is there

    options = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("NUMBA_"))
    return "\0".join([llvmlite.__version__, *options])


@functools.cache
def _digest(file: Path) -> bytes:
    return hashlib.sha256(f"{_name(file)}\0{_text(file)}".encode()).digest()


@functools.cache
def sources_digest(*files: Path) -> str:
    """Digest of sources, of all of our packages that these import, one through the other, and of how they are compiled.

    It has 16 hexadecimal digits.
    """
    closure: set[Path] = set()
    ahead = {*files, _PACKAGE / "native" / "__init__.py"}  # which may change how Numba compiles
    while ahead:
        closure |= ahead
        ahead = {found for one in ahead for found in _direct_imports(one)} - closure
    digest = hashlib.sha256(_compiler().encode())
    for each in sorted(map(_digest, closure)):
        digest.update(each)
    return digest.hexdigest()[:16]


def modules_digest(names: Iterable[str]) -> str:
    """:func:`sources_digest` of modules of our packages, by their dotted names."""
    return sources_digest(*sorted(filter(None, map(_module_file, names))))


@functools.cache
def _module_and_digest(file: str) -> tuple[str, str]:
    """The name of a module in the cache, and the digest of its sources."""
    path = Path(file).resolve()
    return _name(path).replace("/", ".").removesuffix(".py"), sources_digest(path)


class SourcesLocator(caching.UserProvidedCacheLocator):
    """Numba's way to a function's cache folder; for functions of others' files, too, since those may inline ours."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file  # as Numba's own do, which then make a name for the folder
        self._lineno = py_func.__code__.co_firstlineno
        self._module, self._digest = _module_and_digest(py_file)
        self._cache_path = str(Path(_config.CACHE_DIR) / f"{self._module}-{self._digest}")

    def get_source_stamp(self) -> str:
        """What must be equal for cached code to be used."""
        return self._digest

    def ensure_cache_path(self) -> None:
        """Make the folder; the first time, remove those of the module's sources beyond the newest few.

        Numba takes no function whose folder cannot be made: that is told when something is to be saved there.
        """
        folder = Path(self._cache_path)
        with contextlib.suppress(OSError):
            if not folder.exists():
                folder.mkdir(parents=True, exist_ok=True)
                versions = sorted(folder.parent.glob(f"{self._module}-*"), key=_modified, reverse=True)
                for stale in versions[_VERSIONS_MAX:]:
                    shutil.rmtree(stale, ignore_errors=True)


class SavedCode(_IndexDataCacheFile):  # type: ignore[misc]
    """A function's index, and the files of machine code that it names, one for each signature.

    A file of code is written before the index names it, and never bears a name that another signature's had: whatever a full
    disk or a crash leaves, an index names no other code than its own.
    """

    def _load_index(self) -> dict[Any, str]:
        """The files' names by signature; none when the index is damaged or cannot be read."""
        try:
            found = super()._load_index()
        except MemoryError:
            raise
        except Exception:  # unpickling may raise anything
            return {}
        return found if isinstance(found, dict) else {}

    def load(self, key: Any) -> Any:
        """The code of a signature; None when there is none that can be read."""
        try:
            return super().load(key)
        except MemoryError:
            raise
        except Exception:
            return None

    def save(self, key: Any, data: Any) -> None:
        """Keep the code of a signature, if that can be done."""
        try:
            names = self._load_index()
            name = names.get(key) or self._data_name(int.from_bytes(os.urandom(_DATA_NAME_BYTES), "little"))
            self._save_data(name, data)
            self._save_index({**names, key: name})
        except OSError as error:
            _tell_unsaved(error)


@functools.cache
def _tell_once(text: str) -> None:
    from splinter.terminal import complain  # which loads what a program that saves its code does not need

    with contextlib.suppress(OSError, ValueError):  # nobody can be told
        complain(text)


def _tell_unsaved(error: OSError) -> None:
    nowhere = Path(_config.CACHE_DIR) == _NOWHERE
    folder = " or ".join(map(str, _places)) if nowhere else _config.CACHE_DIR
    reason = "no folder of this user's own can be made there" if nowhere else error.strerror or error
    _tell_once(f"splinter: compiled code cannot be saved in {folder}: {reason}; each start compiles it anew, which takes long")


def _modified(path: Path) -> float:
    """When a folder was changed; 0 when another process has just removed it, or it cannot be looked at."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _candidates() -> Iterator[Path]:
    """The user's cache folder; where that will not do, one of this user's own among the temporary files."""
    if base := os.environ.get("XDG_CACHE_HOME"):
        yield Path(base) / "splinter"
    else:
        with contextlib.suppress(RuntimeError):  # there is no home folder
            yield Path.home() / ".cache" / "splinter"
    with contextlib.suppress(OSError):  # no temporary files can be made
        yield Path(tempfile.gettempdir()) / f"splinter-cache-{os.geteuid()}"
        yield Path(tempfile.mkdtemp(prefix="splinter-cache-"))


def cache_folder(name: str) -> Path:
    """A folder of this name in the first place that will do; one that cannot be made where none will.

    Compiled code is run as it is found: nobody else may be able to write to the folder, or to one above it.
    """
    for chosen in _candidates():
        _places.append(chosen)
        with contextlib.suppress(OSError):
            chosen.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(chosen, os.W_OK | os.X_OK) or distrust(chosen) is not None:
                continue
            folder = chosen / name
            folder.mkdir(mode=0o700, exist_ok=True)
            if distrust(folder) is not None:  # made when it could be written to
                shutil.rmtree(folder)
                folder.mkdir(mode=0o700)
            if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                return folder
    return _NOWHERE


def configure() -> Path:
    """Point Numba at the cache folder of this build; functions look there when they are decorated."""
    builds = ("KILL_POINTS", "PROFILE")  # see splinter.store.kill_points, splinter.worker.stages
    build = "".join(f"-{name.lower()}" for name in builds if os.environ.get(f"SPLINTER_{name}") == "1")
    folder = cache_folder(f"compiled{build}")
    _config.CACHE_DIR = str(folder)
    _config.CACHE_LOCATOR_CLASSES = _LOCATOR_CLASSES
    _caching.IndexDataCacheFile = SavedCode
    return folder
