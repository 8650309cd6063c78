"""The synchronous client."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from splinter import limits
from splinter.client import bulk, fragments
from splinter.client.channel import Channel, Reply
from splinter.client.control import ControlConnection
from splinter.client.encoding import Key, Value, check_table, encode_key, encode_value, parse_token
from splinter.errors import (
    BadArgumentsError,
    BadKeyError,
    BusyError,
    ExtensionRuntimeError,
    SignatureChangedError,
    SplinterError,
    Status,
    error_for,
)
from splinter.wire import Opcode

if TYPE_CHECKING:
    from splinter.ext.signature import Signature

# A task may take its time, and one that only reads is run again by each repetition: be patient.
_INVOKE_RESEND_SECONDS = 0.25


@dataclass(frozen=True)
class ExtensionInfo:
    """An installed extension. ``version`` counts installs under its name; sizes are in bytes, and ``code_bytes`` is that
    of a block of machine code, which extensions that were installed together share.

    The counters are of all versions since the first install under the name: ``invocations`` that ended, ``errors`` of
    them, ``yields``, and ``cpu_us``, microseconds of CPU time. ``kills`` is how many workers had to be replaced because of
    it since it was installed or released last; when they are too many it is ``quarantined``, and invokes are refused.
    """

    name: str
    signature: Signature
    version: int
    code_bytes: int
    frame_bytes: int
    invocations: int
    errors: int
    yields: int
    cpu_us: int
    kills: int
    quarantined: bool


class Client:
    """A tenant's connection to a server; several threads may use one client at once.

    ``token`` is the number, or the 16 hexadecimal digits, that creating the tenant returned. ``timeout`` is in seconds,
    for one request with all its repetitions. ``netns`` names the network namespace to connect from (needs root).
    Requests travel by UDP to ``port``; extensions are administered by TCP at ``control_port``, by default the same
    number.

    A request that is not answered in time is repeated, and executed once all the same: a repetition gets the first
    answer. Every method raises :class:`splinter.errors.RequestTimeoutError` when nothing answers (so it is with a wrong
    token, which the server drops), the exception of the status otherwise (:mod:`splinter.errors`). Keys are bytes, text
    (UTF-8) or integers (8 bytes little-endian, as in extensions). Do not share a client across ``fork``.
    """

    def __init__(
        self,
        address: str,
        tenant: int,
        token: int | str,
        *,
        port: int = limits.PORT_DEFAULT,
        timeout: float = 1.0,
        netns: str | None = None,
        control_port: int | None = None,
    ) -> None:
        if not 0 < tenant < limits.TENANTS_MAX:
            raise ValueError(f"a tenant's id is 1 … {limits.TENANTS_MAX - 1}")
        if timeout <= 0:
            raise ValueError("timeout must be positive")
        self._tenant, self._token = tenant, parse_token(token)
        self._address, self._port, self._netns, self._timeout = address, port, netns, timeout
        self._control = ControlConnection(address, control_port or port, netns=netns)
        self._idle: deque[Channel] = deque()  # append and pop are atomic: no lock
        self._signatures: dict[str, Signature] = {}
        self._closed = False
        self._give_back(self._take())  # an impossible address or namespace fails here

    # --- one object ---------------------------------------------------------------------------------------------------

    def get(self, key: Key, *, table: int = 0) -> bytes | None:
        """The object's value, or None when there is no such object."""
        return self.get_with_version(key, table=table)[0]

    def get_with_version(self, key: Key, *, table: int = 0) -> tuple[bytes | None, int]:
        """The object's value and version; (None, 0) when there is no such object."""
        raw, table = encode_key(key), check_table(table)
        channel = self._take()
        try:
            deadline = time.monotonic() + self._timeout
            while True:
                reply = channel.request(Opcode.GET, table, raw)
                if reply.status == Status.NOT_FOUND:
                    return None, 0
                _check(reply)
                if reply.fragment_count <= 1:
                    return reply.value, reply.version
                whole = fragments.get_rest(channel, table, raw, reply)
                if whole is not None:
                    return whole, reply.version
                if time.monotonic() >= deadline:
                    raise BusyError("the object was replaced over and over while its fragments were read")
        finally:
            self._give_back(channel)

    def put(self, key: Key, value: Value, *, table: int = 0, if_version: int = 0) -> int:
        """Store an object, replace the one there was; returns the new version.

        With ``if_version`` only when the object's version is that one (``splinter.wire.OBJECT_ABSENT``: there is none), else
        :class:`splinter.errors.VersionChangedError`.
        """
        raw, body, table = encode_key(key), encode_value(value), check_table(table)
        channel = self._take()
        try:
            if len(raw) + len(body) > limits.PACKET_BODY_BYTES_MAX:
                return fragments.put_large(channel, table, raw, body, if_version)
            return _check(channel.request(Opcode.PUT, table, raw, body, if_version)).version
        finally:
            self._give_back(channel)

    def delete(self, key: Key, *, table: int = 0, if_version: int = 0) -> bool:
        """Delete an object; False when there was none. ``if_version`` as in :meth:`put`.

        Without it, where there is no room for what the server keeps of a new client: :class:`splinter.errors.OutOfMemoryError`
        or :class:`splinter.errors.QuotaExceededError`. To make room then, delete the version that
        :meth:`get_with_version` returns.
        """
        reply = self._request(Opcode.DELETE, check_table(table), encode_key(key), object_version=if_version)
        if reply.status == Status.NOT_FOUND:
            return False
        _check(reply)
        return True

    # --- many objects -------------------------------------------------------------------------------------------------

    def multiget(self, keys: Iterable[Key], *, table: int = 0) -> list[bytes | None]:
        """The values of several keys in their order, None for what is not there; any number of keys."""
        return self.get_many(keys, table=table, window=8)

    def get_many(self, keys: Iterable[Key], *, table: int = 0, window: int = 16) -> list[bytes | None]:
        """As :meth:`multiget`, with up to ``window`` packets of keys on their way at once."""
        raw, table, window = [encode_key(key) for key in keys], check_table(table), bulk.check_window(window)
        channel = self._take()
        try:
            return bulk.get_many(channel, raw, table, window, lambda key: self.get(key, table=table))
        finally:
            self._give_back(channel)

    def put_many(self, items: Iterable[tuple[Key, Value]], *, table: int = 0, window: int = 64) -> int:
        """Store every (key, value), with up to ``window`` requests on their way at once; returns how many.

        Objects of the same key are stored in the order given, others in any order. After an exception some of the
        objects are stored and some are not.
        """
        table, window = check_table(table), bulk.check_window(window)
        channel = self._take()
        try:
            return bulk.put_many(channel, items, table, window, lambda key, value: self.put(key, value, table=table))
        finally:
            self._give_back(channel)

    # --- extensions ---------------------------------------------------------------------------------------------------

    def invoke(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        """Run an installed extension with typed arguments, by position or name; returns its typed result.

        Raises :class:`splinter.errors.BadArgumentsError` before anything is sent when the arguments do not fit the
        signature, :class:`splinter.errors.ExtensionRuntimeError` when the extension ended with an error,
        :class:`splinter.errors.TaskAbortedError` when its worker died after it had written: that stands, and it is not run
        again.
        """
        remembered = name in self._signatures
        try:
            return self._invoke(name, args, kwargs)
        except SignatureChangedError:
            pass
        except BadArgumentsError:
            if not remembered:
                raise
        # It may have been installed anew since we asked for the signature.
        self._signatures.pop(name, None)
        return self._invoke(name, args, kwargs)

    def signature(self, name: str) -> Signature:
        """The signature of an installed extension, asked for once and then remembered."""
        known = self._signatures.get(name)
        if known is None:
            from splinter.ext.signature import Signature

            reply = self._ask("extension.signature", name=name)
            known = self._signatures[name] = Signature.from_wire(reply["signature"])
        return known

    def install(self, extension: Callable[..., Any] | str, *, name: str | None = None) -> ExtensionInfo:
        """Verify, compile and publish an extension: a function, or source text with one ``@extension`` function.

        It is known by ``name``, by default the function's; one of this name is replaced at once. Raises
        :class:`splinter.errors.CompileError`, with all findings in ``diagnostics``, when the source is refused.
        """
        source = extension if isinstance(extension, str) else _source_of(extension)
        return self._install(source=source, name=name)[0]

    def install_all(self, source: str) -> list[ExtensionInfo]:
        """The same for all ``@extension`` functions of a source, each by its own name. They are compiled together, and none
        is installed when one is refused.
        """
        return self._install(source=source, every=True)

    def _install(self, **fields: Any) -> list[ExtensionInfo]:
        installed = [_extension_info(one) for one in self._ask("extension.install", **fields)["extensions"]]
        self._signatures.update({info.name: info.signature for info in installed})
        return installed

    def uninstall(self, name: str) -> None:
        """Remove an extension. Raises :class:`splinter.errors.NoSuchExtensionError` when there is none of this name."""
        self._signatures.pop(name, None)
        self._ask("extension.uninstall", name=name)

    def extensions(self) -> list[ExtensionInfo]:
        """The tenant's installed extensions, by name."""
        return [_extension_info(fields) for fields in self._ask("extension.list")["extensions"]]

    def log(self) -> list[tuple[int, bytes]]:
        """What the tenant's extensions wrote by ``db.log`` of late: (nanoseconds of the server's clock, text), oldest first.

        It is for debugging: the server keeps what fits a small ring that all tenants share.
        """
        return [(entry["time_ns"], entry["text"]) for entry in self._ask("extension.log")["entries"]]

    # --- the connection -----------------------------------------------------------------------------------------------

    def ping(self) -> float:
        """Seconds that a round trip to the tenant's worker took."""
        start = time.perf_counter()
        _check(self._request(Opcode.PING))
        return time.perf_counter() - start

    def close(self) -> None:
        """Close every socket; requests of other threads that are under way are finished first."""
        self._closed = True
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()
        self._control.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _take(self) -> Channel:
        if self._closed:
            raise SplinterError("this client is closed")
        try:
            return self._idle.pop()
        except IndexError:
            return Channel(self._address, self._port, self._tenant, self._token, self._netns, self._timeout)

    def _give_back(self, channel: Channel) -> None:
        self._idle.append(channel)
        if self._closed:  # close() may have emptied the pool just before
            self.close()

    def _request(self, opcode: Opcode, table: int = 0, key: bytes = b"", **rest: Any) -> Reply:
        channel = self._take()
        try:
            return channel.request(opcode, table, key, **rest)
        finally:
            self._give_back(channel)

    def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return self._control.request(op, tenant=self._tenant, token=self._token, **fields)

    def _invoke(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raw = name.encode()
        if not 1 <= len(raw) <= limits.EXTENSION_NAME_BYTES_MAX:
            raise BadKeyError(f"an extension's name has 1 to {limits.EXTENSION_NAME_BYTES_MAX} bytes")
        signature = self.signature(name)
        packed = signature.pack(args, kwargs)
        if len(raw) + len(packed) > limits.PACKET_BODY_BYTES_MAX:
            raise BadArgumentsError(
                f"name and arguments of {signature} have {len(raw) + len(packed)} bytes; "
                f"one packet carries {limits.PACKET_BODY_BYTES_MAX}"
            )
        reply = self._request(
            Opcode.INVOKE,
            0,
            raw,
            value=packed,
            object_version=signature.hash,
            resend_seconds=_INVOKE_RESEND_SECONDS,
        )
        return signature.unpack(_check(reply).value)


def _check(reply: Reply) -> Reply:
    if reply.status != Status.OK:
        error = error_for(reply.status, reply.value.decode(errors="replace"))
        if isinstance(error, ExtensionRuntimeError):
            error.code = reply.version
        raise error
    return reply


def _source_of(function: Callable[..., Any]) -> str:
    from splinter.ext.source_of import source_of

    return source_of(function)[0]


def _extension_info(fields: dict[str, Any]) -> ExtensionInfo:
    from splinter.ext.signature import Signature

    return ExtensionInfo(**{**fields, "signature": Signature.from_wire(fields["signature"])})
