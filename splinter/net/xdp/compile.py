"""From the C sources in ``bpf/`` to a loaded program and its maps, with bcc.

bcc insists on the running kernel's headers; ``bpf/include`` is the little that it needs of them. Only what stands in
the main file does it rewrite (map accesses), so our own ``#include``s are pasted in before it sees the text. The
program and its maps are file descriptors of their own when this is done, and bcc's compiler is freed.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from splinter.errors import ServerError, TransportUnavailableError

_PACKAGE = Path(__file__).resolve().parents[2]
_PLACES = (_PACKAGE / "bpf", _PACKAGE.parent / "bpf")  # of an installed package, and of a checkout
BPF_FOLDER = next(filter(Path.is_dir, _PLACES), _PLACES[0])
_OWN_INCLUDE = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)
_HEADERS_VARIABLE = "BCC_KERNEL_SOURCE"
_MESSAGES_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Compiled:
    """File descriptors, owned by whoever holds this."""

    program_fd: int
    map_fds: dict[str, int]


def import_bcc() -> ModuleType:
    """The distribution's bcc. Raises :class:`TransportUnavailableError` when there is none."""
    try:
        bcc: ModuleType = import_module("bcc")
    except ImportError as error:
        raise TransportUnavailableError(
            "bcc is missing: install the distribution's package (apt install python3-bpfcc) and use a virtual "
            "environment made from the distribution's python3 with --system-site-packages"
        ) from error
    if not hasattr(bcc, "BPF"):
        raise TransportUnavailableError("the bcc that is installed is another project's: pip uninstall bcc")
    return bcc


def read_source(name: str) -> str:
    """A source of ``bpf/`` with our own headers in place of their ``#include``s."""
    path = BPF_FOLDER / name
    if not path.is_file():
        raise TransportUnavailableError(f"{path} is missing: install Splinter again")

    def paste(match: re.Match[str]) -> str:
        return f'#line 1 "{match[1]}"\n{read_source(match[1])}#line {_line(match) + 1} "{name}"'

    return _OWN_INCLUDE.sub(paste, path.read_text())


def _line(match: re.Match[str]) -> int:
    return match.string.count("\n", 0, match.start()) + 1


def compile_program(source: str, function: str, defines: Mapping[str, object], maps: Sequence[str]) -> Compiled:
    """Compile a source of ``bpf/``, make its maps, load its function as an XDP program.

    Raises :class:`TransportUnavailableError` when bcc or privileges lack, :class:`ServerError` when the kernel refuses
    a map (most often for want of memory) or the program.
    """
    bcc = import_bcc()
    cflags = [f"-D{name}={value}" for name, value in defines.items()]
    with _kernel_headers(), _captured_stderr() as messages:
        try:
            module = bcc.BPF(text=read_source(source).encode(), cflags=cflags)
        except Exception as error:  # bcc raises nothing more precise
            raise _refused(source, error, messages()) from error
        try:
            program_fd = module.load_func(function.encode(), bcc.BPF.XDP).fd
            library = bcc.libbcc.lib
            map_fds = {name: os.dup(library.bpf_table_fd(module.module, name.encode())) for name in maps}
            return Compiled(os.dup(program_fd), map_fds)
        except Exception as error:
            raise _refused(source, error, messages()) from error
        finally:
            atexit.unregister(module.cleanup)
            module.cleanup()


def _refused(source: str, error: Exception, messages: str) -> ServerError:
    if "Operation not permitted" in messages or "privileges" in str(error):
        return TransportUnavailableError("loading an XDP program needs root (CAP_BPF and CAP_NET_ADMIN)")
    if "Cannot allocate memory" in messages:
        return ServerError(f"not enough memory for the maps of bpf/{source}: make the store smaller\n{messages}")
    return ServerError(f"bpf/{source} could not be loaded: {error}\n{messages}")


@contextmanager
def _kernel_headers() -> Iterator[None]:
    before = os.environ.get(_HEADERS_VARIABLE)
    os.environ[_HEADERS_VARIABLE] = str(BPF_FOLDER)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_HEADERS_VARIABLE]
        else:
            os.environ[_HEADERS_VARIABLE] = before


@contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Catches what clang and the verifier write to descriptor 2; yields a function that returns it."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def read() -> str:
            return os.pread(file.fileno(), _MESSAGES_BYTES_MAX, 0).decode(errors="replace")

        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
