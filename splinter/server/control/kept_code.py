"""A compiler that remembers, in the data folder, what it made: a restart installs extensions without compiling them.

The digest by which it remembers is of the source, of the sources of the compiler, of LLVM's version and of this CPU. So another
version of the server, and another machine, compile anew.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from splinter.durable.code_cache import CodeCache
from splinter.ext import compile as compiler
from splinter.ext.compile import CompiledExtension
from splinter.native.cache import sources_digest
from splinter.server.control.compile_queue import CompileQueue, Source
from splinter.server.control.compiler import packed, unpacked


class KeptCode:
    """A :class:`CompileQueue` that does not compile again what ``folder`` has; None: there is no folder."""

    def __init__(self, folder: Path | None) -> None:
        self._queue = CompileQueue()
        self._cache = CodeCache(folder) if folder is not None else None

    async def compile(self, source: Source) -> list[CompiledExtension]:
        """As :meth:`CompileQueue.compile`."""
        if self._cache is None:
            return await self._queue.compile(source)
        digest = hashlib.sha256(_identity() + source.digest).digest()
        if (found := self._cache.get(digest)) is not None:
            return unpacked(found)
        compiled = await self._queue.compile(source)
        self._cache.put(digest, packed(compiled))
        return compiled

    def close(self) -> None:
        """End the compiler."""
        self._queue.close()


@functools.cache
def _identity() -> bytes:
    """What decides how a source is compiled, beside it."""
    import llvmlite.binding as llvm  # behind the compiler, which is the one to be missed where it is not there

    told = (sources_digest(Path(compiler.__file__)), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
    return "\0".join((*told, str(llvm.llvm_version_info))).encode()
