"""The compiler's process: what an author's source may do to LLVM ends there.

LLVM is C++ with assertions, and its time and memory depend on what it is fed. So the control process forks a child that does
nothing but compile: it has none of the shared mappings (store, tenants, workers) and no descriptor but one end of a socket
pair, and bounds of memory and, for each source, CPU time. CPU time and not time that passes, since others' load must not
fail an install. Source goes in, code and what belongs to it comes back, as msgpack. When the child ends, whatever the
reason, one tenant gets an error and another child is forked. It dies with the control process.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import mmap
import os
import resource
import signal
import socket
import struct
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import msgpack

from splinter import limits
from splinter.errors import BusyError, CompileError
from splinter.ext.abi import FirstKey, ResultKind
from splinter.ext.compile import SPLIT_HINT, CompiledExtension, compile_extensions, warm_up
from splinter.ext.front.diagnostics import Diagnostic, Findings
from splinter.ext.kernel.code import KernelCode
from splinter.ext.middle.first_lookup import FirstLookup
from splinter.ext.signature import Signature
from splinter.server.processes import OomPreference, cpu_ns, fork_child, is_readable, kill

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<I")
_TRIES = 2  # a child that had grown too large, or was killed while it was idle, has not seen the source
_STANDARD_DESCRIPTORS = 3
_NANOSECONDS_PER_SECOND = 1e9
_OOM_POINTS = 500  # what it has is its own and large, and its end fails one install
_IDLE_SECONDS = 0.05  # without a request: time for a garbage collection
_UNCOLLECTED_MAX = 64  # sources that may be compiled before there is one all the same


class TooLongError(CompileError):
    """A source took more CPU time to compile than it was given."""


class _EndedError(Exception):
    """The child ended; ``status`` is its exit status, negative for a signal, None when it had to be killed."""

    def __init__(self, status: int | None) -> None:
        self.status = status


@dataclass
class _Child:
    pid: int
    pidfd: int  # -1: it has ended, or could not be forked
    socket: socket.socket
    status: int = 0  # its exit status when it has, negative for a signal


class Compiler:
    """One child at a time. Used from the event loop."""

    def __init__(self, seconds_max: float = limits.COMPILE_SECONDS_MAX, niceness: int = 0) -> None:
        """``seconds_max``: CPU time for one source; ``niceness`` is added to this process's."""
        self._seconds_max, self._niceness = seconds_max, niceness
        self.seconds_used = 0.0  # CPU time of the last source
        self._turn = asyncio.Lock()  # first come, first served
        self._child = self._fork()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    async def compile(
        self, source: str, name: str | None = None, *, every: bool = False, preempt: bool = True, kernel: bool = False
    ) -> list[CompiledExtension]:
        """As :func:`splinter.ext.compile.compile_extensions`; too much time is a :class:`TooLongError`, too much memory a
        :class:`CompileError` as well. Raises :class:`BusyError` when the system has no room for a child.

        A source on which the child ends with ``kernel`` is compiled without: LLVM ends it on what BPF cannot do.
        """
        wanted = {"source": source, "name": name, "every": every, "preempt": preempt}
        async with self._turn:
            for _ in range(_TRIES + kernel):
                before = self._cpu_seconds()
                try:
                    reply = await self._ask(_packed({**wanted, "kernel": kernel}))
                    self.seconds_used = self._cpu_seconds() - before
                    return _result(reply)
                except _EndedError as ended:
                    self._restart()
                    self.seconds_used = self._seconds_max
                    if ended.status != 0 and not kernel:
                        raise self._refusal(source, ended.status) from None
                    kernel = kernel and ended.status == 0
        if self._child.pidfd < 0:
            raise BusyError("there is no room for the compiler's process at the moment: try again later")
        raise self._refusal(source, 0)

    def close(self) -> None:
        """End the child."""
        _end(self._child)

    async def _ask(self, request: bytes) -> bytes:
        if self._child.pidfd < 0 or is_readable(self._child.pidfd):  # before it was asked for anything
            raise _EndedError(0)
        loop, child = asyncio.get_running_loop(), self._child
        try:
            async with asyncio.timeout(limits.COMPILE_WALL_SECONDS_MAX):
                await loop.sock_sendall(child.socket, request)
                (length,) = _LENGTH.unpack(await self._receive(_LENGTH.size))
                return await self._receive(min(length, limits.CONTROL_MESSAGE_BYTES_MAX))
        except TimeoutError:
            raise _EndedError(None) from None
        except (OSError, EOFError):
            raise _EndedError(_end(child)) from None
        except BaseException:
            self._restart()  # nobody would take the reply
            raise

    async def _receive(self, count: int) -> bytes:
        loop, received = asyncio.get_running_loop(), b""
        while len(received) < count:
            part = await loop.sock_recv(self._child.socket, count - len(received))
            if not part:
                raise EOFError
            received += part
        return received

    def _cpu_seconds(self) -> float:
        """That the child has used so far; 0 when it has just ended."""
        try:
            return cpu_ns(self._child.pid) / _NANOSECONDS_PER_SECOND
        except OSError:
            return 0.0

    def _restart(self) -> None:
        _end(self._child)
        self._child = self._fork()

    def _fork(self) -> _Child:
        """A child; where there is no room for one, what is taken for one that has ended: the next source tries again."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            pid, pidfd = fork_child("splinter-cc", lambda: _serve(theirs, self._seconds_max, self._niceness))
        except OSError as error:
            _log.warning("no process can be forked for the compiler (%s)", error.strerror)
            ours.close()
            return _Child(0, -1, ours)
        finally:
            theirs.close()
        return _Child(pid, pidfd, ours)

    def _refusal(self, source: str, status: int | None) -> CompileError:
        """What the tenant is told."""
        findings = Findings(source)
        if status in (None, -signal.SIGPROF):
            limit = f"{self._seconds_max:g} s of CPU time" if status else f"{limits.COMPILE_WALL_SECONDS_MAX} s"
            findings.add_at(1, 1, "compile-time", f"compiling takes more than {limit}", SPLIT_HINT)
            refused = findings.error()
            return TooLongError(refused.diagnostics, str(refused))
        _log.warning("the compiler ended with status %s over a source of %d characters", status, len(source))
        findings.add_at(1, 1, "compiler", "the compiler crashed, or ran out of memory, on this source",
                        "nothing else is affected; please report this source")  # fmt: skip
        return findings.error()


# --- the child --------------------------------------------------------------------------------------------------------


def _serve(connection: socket.socket, seconds_max: float, niceness: int) -> None:
    """Compile what is asked for until the other side closes, or too much memory has been used."""
    os.nice(niceness)
    OomPreference.offer(_OOM_POINTS)
    descriptor = connection.fileno()
    os.closerange(_STANDARD_DESCRIPTORS, descriptor)
    os.closerange(descriptor + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()  # collections are for when nobody waits
    warm_up(kernel=True)
    gc.freeze()
    start_bytes = _memory_bytes()
    bound = start_bytes + limits.COMPILE_MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    uncollected = 0
    while _memory_bytes() - start_bytes < limits.COMPILE_MEMORY_BYTES_MAX // 2:
        is_idle = not is_readable(descriptor, _IDLE_SECONDS)
        if uncollected and (is_idle or uncollected >= _UNCOLLECTED_MAX):
            gc.collect()
            uncollected = 0
        request = _read(connection)
        if request is None:
            return
        signal.setitimer(signal.ITIMER_PROF, seconds_max)  # at its end, SIGPROF ends this process, whatever it does
        reply = _packed(_compile(**request))
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.sendall(reply)
        uncollected += 1


def _compile(source: str, name: str | None, every: bool, preempt: bool, kernel: bool) -> dict[str, Any]:
    try:
        compiled = compile_extensions(source, name, every=every, preempt=preempt, kernel=kernel)
    except CompileError as error:
        names = ("line", "column", "rule", "message", "hint", "end_column")
        findings = [[getattr(finding, name) for name in names] for finding in error.diagnostics]
        return {"diagnostics": findings, "message": str(error)}
    return _made(compiled)


def _made(compiled: list[CompiledExtension]) -> dict[str, Any]:
    # Extensions that were compiled together have the same code: it is sent once.
    return {"codes": {one.source_digest: one.code for one in compiled}, "extensions": [_to_wire(one) for one in compiled]}


def packed(compiled: list[CompiledExtension]) -> bytes:
    """What was compiled, as bytes."""
    body: bytes = msgpack.packb(_made(compiled), unicode_errors="surrogatepass")
    return body


def unpacked(body: bytes) -> list[CompiledExtension]:
    """The inverse of :func:`packed`."""
    return _result(body)


def _to_wire(compiled: CompiledExtension) -> dict[str, Any]:
    special = {"signature": compiled.signature.to_wire(), "first_lookup": list(astuple(compiled.first_lookup))}
    special["kernel"] = list(astuple(compiled.kernel))
    return {name: value for name, value in vars(compiled).items() if name != "code"} | special


def _result(body: bytes) -> list[CompiledExtension]:
    """The inverse of :func:`_compile`, in the control process."""
    reply = msgpack.unpackb(body, unicode_errors="surrogatepass", strict_map_key=False)
    if "diagnostics" in reply:
        raise CompileError([Diagnostic(*finding) for finding in reply["diagnostics"]], reply["message"])
    return [_from_wire(fields, reply["codes"][fields["source_digest"]]) for fields in reply["extensions"]]


def _from_wire(fields: dict[str, Any], code: bytes) -> CompiledExtension:
    key, *rest = fields["first_lookup"]
    special = {
        "code": code,
        "signature": Signature.from_wire(fields["signature"]),
        "result_kind": ResultKind(fields["result_kind"]),
        "first_lookup": FirstLookup(FirstKey(key), *rest),
        "kernel": KernelCode(*fields["kernel"]),
    }
    return CompiledExtension(**{**fields, **special})


def _packed(message: dict[str, Any]) -> bytes:
    body: bytes = msgpack.packb(message, unicode_errors="surrogatepass")
    return _LENGTH.pack(len(body)) + body


def _read(connection: socket.socket) -> dict[str, Any] | None:
    """The next request; None at the end."""
    received = connection.recv(_LENGTH.size, socket.MSG_WAITALL)
    if len(received) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(received)
    body = connection.recv(length, socket.MSG_WAITALL)
    request: dict[str, Any] = msgpack.unpackb(body, unicode_errors="surrogatepass")
    return request


def _memory_bytes() -> int:
    """Of address space, in use by this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE


def _end(child: _Child) -> int:
    """Kill a child that has not ended by itself; its exit status. Again: nothing, and the same status."""
    if child.pidfd >= 0:
        child.socket.close()
        child.status, child.pidfd = kill(child.pid, child.pidfd), -1
    return child.status
