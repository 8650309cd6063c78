"""From a source of ``bpf/`` to an ELF file, by the distribution's clang.

What was compiled is kept in the folder of compiled code, named by a digest of the sources, definitions and compiler.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from splinter.errors import ServerError, TransportUnavailableError

_PACKAGE = Path(__file__).resolve().parents[2]
_PLACES = (_PACKAGE / "bpf", _PACKAGE.parent / "bpf")  # of an installed package, and of a checkout
BPF_FOLDER = next(filter(Path.is_dir, _PLACES), _PLACES[0])
_NAMES = ("clang-19", "clang-18", "clang-17", "clang-16", "clang")
_OPTIONS = (
    "--target=bpf",
    "-mcpu=v3",
    "-O2",
    "-g",
    "-nostdinc",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Werror",
    "-fno-jump-tables",
)
_SECONDS_MAX = 60.0


def find_clang() -> Path:
    """The compiler, on PATH or where the distribution puts it. Raises :class:`TransportUnavailableError` when there is none."""
    path = os.pathsep.join((os.environ.get("PATH", ""), os.defpath))
    for name in _NAMES:
        if found := shutil.which(name, path=path):
            return Path(found).resolve()
    raise TransportUnavailableError("clang is missing: apt install clang-19")


def compile_c(name: str, defines: Mapping[str, object]) -> bytes:
    """Compile the source ``name`` of ``bpf/``; returns the ELF file.

    Raises :class:`TransportUnavailableError` when clang or the source is missing, :class:`ServerError` with the compiler's
    messages when it refuses.
    """
    path = BPF_FOLDER / name
    if not path.is_file():
        raise TransportUnavailableError(f"{path} is missing: install Splinter again")
    clang = find_clang()
    options = [*_OPTIONS, *(f"-D{define}={value}" for define, value in defines.items())]
    kept = _kept(clang, name, options)
    with contextlib.suppress(OSError):
        return kept.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "program.o"
        command = [str(clang), *options, "-c", name, "-o", str(made)]
        try:
            run = subprocess.run(command, cwd=BPF_FOLDER, capture_output=True, text=True, timeout=_SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{clang} does not get done with bpf/{name}: it had {_SECONDS_MAX:.0f} s") from error
        if run.returncode:
            raise ServerError(f"bpf/{name} could not be compiled:\n{run.stderr}")
        elf = made.read_bytes()
    _keep(kept, elf)
    return elf


def _kept(clang: Path, name: str, options: list[str]) -> Path:
    """Where the ELF file is kept."""
    from splinter.native.cache import cache_folder  # which loads Numba; who compiles a program has it

    state = clang.stat()
    digest = hashlib.sha256(repr((str(clang), state.st_size, state.st_mtime_ns, name, options)).encode())
    for source in sorted(BPF_FOLDER.glob("*.[ch]")):
        digest.update(f"{source.name}\0{source.read_text()}\0".encode())
    return cache_folder("bpf") / f"{name.removesuffix('.c')}-{digest.hexdigest()[:32]}.o"


def _keep(kept: Path, elf: bytes) -> None:
    """Put the file there whole, if that can be done."""
    part = kept.with_name(f"{kept.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        part.write_bytes(elf)
        part.replace(kept)
