"""The control process: a TCP server that creates tenants, installs extensions and tells statistics.

Every message is a 4-byte little-endian length and a msgpack map, in both directions; ``docs/reference/protocol.md`` lists the
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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

from splinter import limits
from splinter.errors import CompileError, ControlError, RequestError, SplinterError
from splinter.server.control import acts
from splinter.server.control.audit import Audit, Who
from splinter.server.control.balancer import Balancer
from splinter.server.control.metrics_door import MetricsDoor
from splinter.server.control.operations import Operations
from splinter.server.control.places import Place, Places, Rank
from splinter.server.control.quarantines import Quarantines
from splinter.server.control.registry import Registry
from splinter.server.control.tenants import Tenants
from splinter.server.control.usage import Others
from splinter.server.processes import OomPreference, keep_shared_memory
from splinter.server.shared import Shared
from splinter.server.worker_statistics import latency_statistics
from splinter.store.dump import count_dumped, dump_chains, dump_key, put_dumped
from splinter.store.epochs import OLDEST_NONE, epoch_enter, epoch_leave
from splinter.store.operations import store_delete, store_put
from splinter.store.reclaim import reclaim
from splinter.store.slabs import retreat
from splinter.store.store import Store
from splinter.store.tenants import tenant_charge_code, tenant_close, tenant_open, tenant_sweep

_log = logging.getLogger(__name__)
_LENGTH = struct.Struct("<I")
_OOM_POINTS = 200  # it is replaced at once, and no request waits for it
_BUFFER_BYTES = 16 << 10  # read ahead of what is asked for, at each connection
_FAILED_SECONDS = 1.0  # until a chore that failed is done again
_WITHDRAW_SECONDS = 0.2  # between looks at the deaths that extensions which the kernel runs caused in workers
UPKEEP_SECONDS = 0.05  # between looks at memory that waits for the workers' epochs


class _HangUp(Exception):
    """The connection cannot go on. ``reply`` is the farewell, if there is one to say."""

    def __init__(self, reply: dict[str, Any] | None = None) -> None:
        self.reply = reply


def run_control(shared: Shared) -> None:
    """Serve the control plane until SIGTERM. Called in a process of its own."""
    OomPreference.offer(_OOM_POINTS)
    os.nice(limits.CONTROL_NICENESS)  # where cores are scarce, compiling gives way to workers
    shared.code.become_writer()
    if shared.data is not None:
        shared.data.folder.catalog.reopen()
    warm_store(shared.store)
    keep_shared_memory()  # the compiler, its only child, needs none of it
    shared.events.listen()
    asyncio.run(ControlServer(shared).serve())


def warm_store(store: Store) -> None:
    """Compile, or load, what this process calls of the store, so that no request waits for it. Changes nothing.

    A supervisor that calls this before it forks spares every control process the tenth of a second.
    """
    at, me, nobody = store.address, limits.PARTICIPANT_CONTROL, 0
    epoch_enter(at, me, OLDEST_NONE)
    tenant_open(at, nobody, 0, 0, 0)
    tenant_close(at, me, nobody)
    tenant_sweep(at, me, nobody, int(store.descriptor["buckets"]), 0)
    store_put(at, me, nobody, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    store_delete(at, me, nobody, 0, 0, 0, 0, 0, 0)
    reclaim(at, me, 0)
    retreat(at, me)
    tenant_charge_code(at, me, nobody, 0, False)
    dump_chains(at, nobody, 0, 0, 0, 0, 0, 0, 0)
    count_dumped(0, 0)
    dump_key(at, nobody, 0, at, 1, 0, 0, 0, 0)
    put_dumped(at, me, nobody, 0, 0, 0, 0, False)
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


def _is_done(chore: Callable[[], None], what: str) -> bool:
    """Do one turn of a chore; what fails in it must not end all further turns, which nobody would notice."""
    try:
        chore()
    except Exception:
        _log.exception("%s failed; tried again", what)
        return False
    return True


def _plain_diagnostic(item: Any) -> dict[str, Any]:
    names = ("line", "column", "rule", "message", "hint")
    return {name: getattr(item, name) for name in names if getattr(item, name, None) is not None}


_TOO_MANY = refusal(ControlError("too many control connections: this one gives way", "too_many_connections"))


@dataclass
class _Connection:
    """One connection, and until when (on the loop's clock) it may be a stranger's."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    stranger_until: float
    address: str | None  # the peer's
    farewell: dict[str, Any] | None = None  # when another connection has its place, or it is nobody's any more

    def __post_init__(self) -> None:
        self.writer.transport.set_write_buffer_limits(0)  # drained is what the kernel has taken

    def write(self, reply: dict[str, Any]) -> None:
        """Send a reply, as much of it as the kernel takes at once; the rest with ``drain``."""
        body = msgpack.packb(reply)
        if len(body) > limits.CONTROL_REPLY_BYTES_MAX:
            body = msgpack.packb(refusal(ControlError("the reply is too large for one message", "message_too_large")))
        self.writer.write(_LENGTH.pack(len(body)) + body)


class ControlServer:
    """The server of one control process."""

    def __init__(self, shared: Shared) -> None:
        self._listen_socket = shared.listen_socket
        self._config, self._settings = shared.config, shared.settings
        self._registry = Registry(
            shared.store, shared.code, shared.extension_counters, shared.config.code_bytes_per_tenant, shared.kernel
        )
        self._tenants = Tenants(shared, self._registry)
        self._balancer = Balancer(
            shared.tenant_counters,
            shared.tenants,
            self._tenants.move,
            len(shared.config.cores),
            shared.cycles_per_millisecond * 1000,
            kernel=shared.kernel_work,
        )
        self._operations = Operations(shared, self._tenants, self._registry, self._balancer)
        self._data, self._redis_channels = shared.data, shared.redis_channels
        self._metrics = self._make_door(shared) if shared.metrics_channel is not None else None
        self._may_balance = shared.config.locality and len(shared.config.cores) > 1
        self._connections: set[asyncio.Task[None]] = set()
        self._places = Places()
        self._quarantines = Quarantines(self._registry, self._tenants.generation, shared.events, shared.config.quarantine_after)
        self._audit = Audit()
        self._tenants.tokens.on_void = self._end_void

    def _make_door(self, shared: Shared) -> MetricsDoor:
        assert shared.metrics_channel is not None
        return MetricsDoor(
            shared.metrics_channel,
            lambda: self._operations.statistics(shared.config.metrics_most),
            Others(shared, self._registry),
            lambda: self._tenants.active_ids(0),
            lambda: latency_statistics(shared.workers),
        )

    async def serve(self) -> None:
        """Take connections until SIGTERM; then end them all."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._tenants.rebuild()
        await self._operations.install_kept()
        if self._data is not None:
            self._data.say_installed()
        server = await asyncio.start_server(self._accept, sock=self._listen_socket, limit=_BUFFER_BYTES)
        self._listen_socket.listen(limits.CONTROL_BACKLOG)  # the library has set its own
        chores = [asyncio.create_task(self._upkeep()), asyncio.create_task(self._withdraw())]
        chores.append(asyncio.create_task(self._registry.in_kernel.reload()))
        chores.append(asyncio.create_task(self._operations.retry_kept()))
        if self._may_balance:
            chores.append(asyncio.create_task(self._balance()))
        if self._metrics is not None:
            chores.append(asyncio.create_task(self._metrics.serve()))
        if self._redis_channels:
            from splinter.server.control.redis_functions import RedisFunctions  # which others do without

            functions = RedisFunctions(self._redis_channels, self._run_for_redis, self._operations.libraries)
            chores.append(asyncio.create_task(functions.serve()))
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
            is_done = _is_done(self._registry.upkeep, "freeing code and memory")
            await asyncio.sleep(UPKEEP_SECONDS if is_done else _FAILED_SECONDS)

    async def _withdraw(self) -> None:
        while True:
            await asyncio.sleep(_WITHDRAW_SECONDS)
            _is_done(self._take_settings, "taking settings")
            _is_done(lambda: self._registry.withdraw_quarantined(self._config.quarantine_after), "withdrawing extensions")
            _is_done(self._quarantines.look, "telling of quarantines")

    def _take_settings(self) -> None:
        """What SIGHUP has changed."""
        if self._settings.take(self._config):
            self._registry.code_bytes_per_tenant = self._config.code_bytes_per_tenant
            self._quarantines.after = self._config.quarantine_after

    async def _balance(self) -> None:
        while True:
            await asyncio.sleep(limits.BALANCE_SECONDS)
            if self._config.balance:
                _is_done(self._balancer.look, "balancing")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("peername")
        connection = _Connection(
            reader, writer, asyncio.get_running_loop().time() + limits.CONTROL_STRANGER_SECONDS, peer[0] if peer else None
        )

        def give_way(farewell: dict[str, Any] = _TOO_MANY) -> None:
            connection.farewell = farewell
            task.cancel()

        self._connections.add(task)
        place = self._places.take(Rank.STRANGER, connection.address, give_way)
        try:
            if place is None:
                raise _HangUp(_TOO_MANY)
            while True:
                body = await self._read(connection, place)
                self._places.serve(place)
                reply = await self._answer(body, place, connection.address)
                self._places.rest(place)  # who does not read the reply may give way while it waits
                await self._send(connection, place, reply)
        except _HangUp as end:
            await self._say_farewell(connection, end.reply)
        except asyncio.CancelledError:  # the server stops, or the connection gave way
            if connection.farewell:
                connection.write(connection.farewell)
        except OSError:
            pass  # the client is gone
        finally:
            self._connections.discard(task)
            if place is not None:
                self._places.leave(place)
            writer.transport.abort()  # whoever does not read what is left would keep it here

    def _end_void(self, tenant: int) -> None:
        """End the connections of a tenant with all that was asked on them, where it was removed, or a token is void now."""
        for place in self._places.of(Rank.TENANT, tenant):
            objection = self._operations.objection(place.proof)
            if objection is not None:
                self._places.leave(place)
                place.give_way(refusal(objection))

    async def _say_farewell(self, connection: _Connection, reply: dict[str, Any] | None) -> None:
        if reply is None:
            return
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            connection.write(reply)
            async with asyncio.timeout(limits.CONTROL_FAREWELL_SECONDS):
                await connection.writer.drain()

    async def _read(self, connection: _Connection, place: Place) -> bytes:
        """The next message's body. Raises :class:`_HangUp` at the end, after silence, and for a message that is too long."""
        is_stranger = place.rank is Rank.STRANGER
        longest = limits.CONTROL_STRANGER_MESSAGE_BYTES_MAX if is_stranger else limits.CONTROL_MESSAGE_BYTES_MAX
        reader = connection.reader
        try:
            async with asyncio.timeout_at(self._deadline(connection, place)):
                (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                if length > longest:
                    whose = " of a connection that has shown no credential or token yet" if is_stranger else ""
                    text = f"a message{whose} has at most {longest} bytes, not {length}"
                    raise _HangUp(refusal(ControlError(text, "message_too_large")))
                return await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise _HangUp from None
        except TimeoutError:
            if is_stranger:
                text = f"no credential or token within {limits.CONTROL_STRANGER_SECONDS} s"
            else:
                text = f"no whole message within {limits.CONTROL_IDLE_SECONDS} s"
            raise _HangUp(refusal(ControlError(text, "idle"))) from None

    def _deadline(self, connection: _Connection, place: Place) -> float:
        """Until when the next message must have come, or the last reply be taken: of strangers all of theirs."""
        if place.rank is Rank.STRANGER:
            return connection.stranger_until
        return asyncio.get_running_loop().time() + limits.CONTROL_IDLE_SECONDS

    async def _answer(self, body: bytes, place: Place, address: str | None) -> dict[str, Any]:
        try:
            request = msgpack.unpackb(body)
        # Whatever is wrong with the bytes, msgpack's own exceptions are ValueErrors, but not all that it raises is its
        # own.
        except Exception as error:
            return refusal(ControlError(f"the message is not msgpack: {type(error).__name__}", "bad_message"))
        if not isinstance(request, dict):
            return refusal(ControlError("a request is a map", "bad_message"))
        if (who := self._operations.who(request)) is not None:
            place.proof = {name: request.get(name) for name in ("tenant", "token")}
            if not self._places.promote(place, *who):
                raise _HangUp(_TOO_MANY)
        try:
            return {"ok": True, **await self._run(request, who, address)}
        except SplinterError as error:
            return refusal(error)

    async def _run(self, request: dict[Any, Any], who: Who, address: str | None) -> dict[str, Any]:
        """Do what a request asks for; have it told as an event, and noted as an act. Raises :class:`SplinterError`."""
        outcome = "ended"  # whoever asked is not served any more
        before = self._generation(request.get("tenant"))
        try:
            reply = await self._operations.run(request)
            outcome = "ok"
            acts.tell(request, reply, before, self._tenants.generation)
            return reply
        except SplinterError as error:
            outcome = refusal(error)["error"]
            raise
        except Exception as error:
            outcome = "internal"
            _log.exception("control operation %r failed", request.get("op"))
            raise ControlError("the server failed at this; its log says more", "internal") from error
        finally:
            self._audit.note(request, who, address, outcome)

    async def _run_for_redis(self, request: dict[Any, Any], address: str) -> dict[str, Any]:
        return await self._run(request, self._operations.who(request), address)

    def _generation(self, tenant: Any) -> int:
        """Of what a request names as its tenant, before that is checked; 0: it is none."""
        is_id = type(tenant) is int and 0 < tenant < self._tenants.count_max
        return self._tenants.generation(tenant) if is_id else 0

    async def _send(self, connection: _Connection, place: Place, reply: dict[str, Any]) -> None:
        connection.write(reply)
        try:
            async with asyncio.timeout_at(self._deadline(connection, place)):
                await connection.writer.drain()
        except TimeoutError:
            raise _HangUp from None
