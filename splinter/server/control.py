"""The control process: a TCP server that creates tenants, installs extensions and tells statistics.

Every message is a 4-byte little-endian length and a msgpack map, in both directions; ``docs/protocol.md`` lists the
operations. One asyncio loop serves all connections; the compiler runs in a child process. Nothing here is on
a request's way: when this process dies, workers go on, and the supervisor starts another that inherits the listening
socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import struct
from typing import Any

import msgpack

from splinter import limits
from splinter.errors import CompileError, ControlError, RequestError, SplinterError
from splinter.server.balancer import Balancer
from splinter.server.control_operations import Operations
from splinter.server.control_tenants import Tenants
from splinter.server.processes import keep_shared_memory
from splinter.server.registry import Registry
from splinter.server.shared import Shared
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.operations import store_delete, store_put
from splinter.store.slots import reclaim, retreat
from splinter.store.store import Store
from splinter.store.tenants import tenant_charge_code, tenant_close, tenant_open, tenant_sweep

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<I")
UPKEEP_SECONDS = 0.05  # between looks at memory that waits for the workers' epochs


class _HangUp(Exception):
    """The connection cannot go on. ``reply`` is the farewell, if there is one to say."""

    def __init__(self, reply: dict[str, Any] | None = None) -> None:
        self.reply = reply


def run_control(shared: Shared) -> None:
    """Serve the control plane until SIGTERM. Called in a process of its own."""
    os.nice(limits.CONTROL_NICENESS)  # where cores are scarce, compiling gives way to workers
    shared.code.become_writer()
    prepare(shared.store)
    keep_shared_memory()  # the compiler, its only child, needs none of it
    asyncio.run(ControlServer(shared).serve())


def prepare(store: Store) -> None:
    """Compile, or load, what this process calls of the store, so that no request waits for it. Changes nothing.

    A supervisor that calls this before it forks spares every control process the tenth of a second.
    """
    at, me, nobody = store.address, limits.PARTICIPANT_CONTROL, 0
    epoch_enter(at, me, OLDEST_NONE)
    tenant_open(at, nobody, 0, 0)
    tenant_close(at, me, nobody)
    tenant_sweep(at, me, nobody, int(store.descriptor["buckets"]), 0)
    store_put(at, me, nobody, 0, 0, 0, 0, 0, 0)
    store_delete(at, me, nobody, 0, 0, 0, 0)
    reclaim(at, me, 0)
    retreat(at, me)
    tenant_charge_code(at, me, nobody, 0, False)
    epoch_leave(at, me)


def refusal(error: Exception) -> dict[str, Any]:
    """The reply that says ``error``: its code, its text, a compiler's findings."""
    reply: dict[str, Any] = {"ok": False, "error": "error", "message": str(error)}
    if isinstance(error, CompileError):
        reply["error"] = "compile_error"
        reply["diagnostics"] = [_plain_diagnostic(item) for item in error.diagnostics]
    elif isinstance(error, ControlError):
        reply["error"] = error.code
    elif isinstance(error, RequestError):
        reply["error"] = error.status.name.lower()
    return reply


def _plain_diagnostic(item: Any) -> dict[str, Any]:
    names = ("line", "column", "rule", "message", "hint")
    return {name: getattr(item, name) for name in names if getattr(item, name, None) is not None}


class ControlServer:
    """The server of one control process."""

    def __init__(self, shared: Shared) -> None:
        self._listen_socket = shared.listen_socket
        self._registry = Registry(shared.store, shared.code, shared.extension_counters, shared.config.code_bytes_per_tenant)
        self._tenants = Tenants(shared, self._registry)
        self._balancer = Balancer(
            shared.tenant_counters,
            shared.tenants,
            self._tenants.move,
            len(shared.config.cores),
            shared.cycles_per_millisecond * 1000,
        )
        self._operations = Operations(shared, self._tenants, self._registry, self._balancer)
        self._balances = shared.config.balance and shared.config.locality and len(shared.config.cores) > 1
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Take connections until SIGTERM; then end them all."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._tenants.rebuild()
        server = await asyncio.start_server(self._accept, sock=self._listen_socket)
        chores = [asyncio.create_task(self._upkeep())]
        if self._balances:
            chores.append(asyncio.create_task(self._balance()))
        try:
            await stop.wait()
        finally:
            server.close()
            unfinished = [*chores, *self._connections]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)
            self._operations.close()

    async def _upkeep(self) -> None:
        while True:
            await self._registry.work_waits.wait()
            self._registry.upkeep()
            await asyncio.sleep(UPKEEP_SECONDS)

    async def _balance(self) -> None:
        while True:
            await asyncio.sleep(limits.BALANCE_SECONDS)
            self._balancer.look()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            if len(self._connections) > limits.CONTROL_CONNECTIONS_MAX:
                raise _HangUp(refusal(ControlError("too many control connections", "too_many_connections")))
            while True:
                await self._send(writer, await self._answer(await self._read(reader)))
        except _HangUp as end:
            if end.reply is not None:
                with contextlib.suppress(OSError, TimeoutError, _HangUp):
                    await self._send(writer, end.reply)
        except (OSError, asyncio.CancelledError):
            pass  # the client is gone, or the server stops
        finally:
            self._connections.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """The next message's body. Raises :class:`_HangUp` at the end, after silence, and for a message that is too long."""
        try:
            async with asyncio.timeout(limits.CONTROL_IDLE_SECONDS):
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                if length > limits.CONTROL_MESSAGE_BYTES_MAX:
                    text = f"a message has at most {limits.CONTROL_MESSAGE_BYTES_MAX} bytes, not {length}"
                    raise _HangUp(refusal(ControlError(text, "message_too_large")))
                return await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise _HangUp from None
        except TimeoutError:
            text = f"no whole message within {limits.CONTROL_IDLE_SECONDS} s"
            raise _HangUp(refusal(ControlError(text, "idle"))) from None

    async def _answer(self, body: bytes) -> dict[str, Any]:
        try:
            request = msgpack.unpackb(body)
        # Whatever is wrong with the bytes, msgpack's own exceptions are ValueErrors, but not all that it raises is its
        # own.
        except Exception as error:
            return refusal(ControlError(f"the message is not msgpack: {type(error).__name__}", "bad_message"))
        if not isinstance(request, dict):
            return refusal(ControlError("a request is a map", "bad_message"))
        try:
            return {"ok": True, **await self._operations.run(request)}
        except SplinterError as error:
            return refusal(error)
        except Exception:
            _log.exception("control operation %r failed", request.get("op"))
            return refusal(ControlError("the server failed at this; its log says more", "internal"))

    async def _send(self, writer: asyncio.StreamWriter, reply: dict[str, Any]) -> None:
        body = msgpack.packb(reply)
        if len(body) > limits.CONTROL_MESSAGE_BYTES_MAX:
            body = msgpack.packb(refusal(ControlError("the reply is too large for one message", "message_too_large")))
        writer.write(_LENGTH.pack(len(body)) + body)
        try:
            async with asyncio.timeout(limits.CONTROL_IDLE_SECONDS):
                await writer.drain()
        except TimeoutError:
            raise _HangUp from None
