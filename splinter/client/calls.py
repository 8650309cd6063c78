"""What a client asks for, one method each; :class:`splinter.client.Client` and the client for event loops have them."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from splinter import limits
from splinter.client import bulk, objects
from splinter.client.arguments import check_integer, check_those_given, check_timeout, check_ttl, is_timeout
from splinter.client.batch import Batched
from splinter.client.channel import INVOKE_RESEND_SECONDS, Channel
from splinter.client.control import ControlConnection, understood
from splinter.client.diagnosis import Diagnosis
from splinter.client.encoding import Key, Value, check_table, encode_key, encode_name, encode_value, parse_token
from splinter.client.extension_info import ExtensionInfo, extension_info
from splinter.client.flights import Reply, was_there
from splinter.client.lifetimes import Lifetimes, Ttl
from splinter.client.line import Line
from splinter.client.pipeline import Pipeline
from splinter.client.put_many import put_many
from splinter.client.scans import Scans
from splinter.client.transaction import Transaction, repeat, transaction
from splinter.errors import BadArgumentsError, SignatureChangedError
from splinter.wire import TTL_BYTES, Opcode

if TYPE_CHECKING:
    from splinter.ext.signature import Signature

_T = TypeVar("_T")

TRIES_DEFAULT = 64  # of a transaction whose conflicts are not told
_TIMEOUT_SECONDS = 1.0  # where none is given
_CONTROL_SECONDS = 30.0  # of the control plane, which compiles; other tenants' sources may be under way


class Calls(Lifetimes, Scans):
    """Of one tenant, by channels that a subclass has (:meth:`_take`, :meth:`_give_back`)."""

    _closed: bool  # by its user

    def __init__(
        self,
        address: str,
        tenant: int,
        token: int | str,
        *,
        port: int = limits.PORT_DEFAULT,
        timeout: float | None = None,
        netns: str | None = None,
        control_port: int | None = None,
    ) -> None:
        self._tenant, self._token = check_integer("tenant", tenant), parse_token(token)
        port = check_integer("port", port)
        control_port = port if control_port is None else check_integer("control_port", control_port)
        timeout = None if timeout is None else check_timeout(timeout)
        self._address, self._port, self._netns = address, port, netns
        self._timeout = _TIMEOUT_SECONDS if timeout is None else timeout
        self._control_timeout = _CONTROL_SECONDS if timeout is None else timeout
        self._control = ControlConnection(address, control_port, netns=netns)
        self._diagnosis = Diagnosis(self._ask_control, address, port)
        self._signatures: dict[str, Signature] = {}
        self._begin()

    # --- one object ---------------------------------------------------------------------------------------------------

    def get(self, key: Key, *, table: int = 0, timeout: float | None = None) -> bytes | None:
        """The object's value, or None when there is no such object."""
        return self.get_with_version(key, table=table, timeout=timeout)[0]

    def get_with_version(self, key: Key, *, table: int = 0, timeout: float | None = None) -> tuple[bytes | None, int]:
        """The object's value and version; (None, 0) when there is no such object."""
        raw, table = encode_key(key), check_table(table)
        channel = self._take(timeout)
        try:
            return objects.get(channel, table, raw)
        finally:
            self._give_back(channel)

    def put(
        self,
        key: Key,
        value: Value,
        *,
        table: int = 0,
        ttl: Ttl | None = None,
        if_version: int = 0,
        timeout: float | None = None,
    ) -> int:
        """Store an object, replace the one there was; returns the new version. It lives for ``ttl`` seconds; without, for ever.

        A value of more than 64 KiB, up to 8 MiB, goes in parts, each of which has ``timeout``; it is seen when all are there.
        With ``if_version`` only when the object's version is that one (``splinter.wire.OBJECT_ABSENT``: there is none), else
        :class:`splinter.errors.VersionChangedError`.
        """
        raw, body, table = encode_key(key), encode_value(value), check_table(table)
        if_version, ns = check_integer("if_version", if_version), 0 if ttl is None else check_ttl(ttl)
        # What goes in fragments has a channel's numbers to itself. The server keeps what it collected of a put, at each worker
        # that got some, until its client waits for no reply up to that number: beside others, until the oldest of them ends.
        is_one_packet = len(raw) + len(body) + TTL_BYTES <= limits.PACKET_BODY_BYTES_MAX
        channel = self._take(timeout, 1 if is_one_packet else limits.CLIENT_WINDOW)
        try:
            return objects.put(channel, table, raw, body, if_version, ns)
        finally:
            self._give_back(channel)

    def delete(self, key: Key, *, table: int = 0, if_version: int = 0, timeout: float | None = None) -> bool:
        """Delete an object; False when there was none. ``if_version`` as in :meth:`put`.

        Without it, where there is no room for what the server keeps of a new client: :class:`splinter.errors.OutOfMemoryError`
        or :class:`splinter.errors.QuotaExceededError`. To make room then, delete the version that
        :meth:`get_with_version` returns.
        """
        raw, table, if_version = encode_key(key), check_table(table), check_integer("if_version", if_version)
        return was_there(self._request(timeout, Opcode.DELETE, table, raw, object_version=if_version))

    # --- many objects -------------------------------------------------------------------------------------------------

    def multiget(self, keys: Iterable[Key], *, table: int = 0, timeout: float | None = None) -> list[bytes | None]:
        """The values of several keys in their order, None for what is not there; any number of keys. Those that one packet
        brings are of one instant."""
        return self.get_many(keys, table=table, window=8, timeout=timeout)

    def get_many(
        self, keys: Iterable[Key], *, table: int = 0, window: int = 16, timeout: float | None = None
    ) -> list[bytes | None]:
        """As :meth:`multiget`, with up to ``window`` packets of keys on their way at once; ``timeout`` is each packet's."""
        raw, table, window = [encode_key(key) for key in keys], check_table(table), check_integer("window", window)
        channel = self._take(timeout)
        try:
            return bulk.get_many(channel, raw, table, window).values
        finally:
            self._give_back(channel)

    def put_many(
        self, items: Iterable[tuple[Key, Value]], *, table: int = 0, window: int = 64, timeout: float | None = None
    ) -> int:
        """Store every (key, value), with up to ``window`` objects on their way at once; returns how many.

        Of a list, or what else is there already, many go in a packet. What an iterator makes is sent before it is asked for the
        next. ``timeout`` is each packet's; the time that ``items`` takes to make the next is not counted.

        Objects of the same key are stored in the order given, others in any order. After an exception some of the
        objects are stored and some are not.
        """
        table, window = check_table(table), check_integer("window", window)
        channel = self._take(timeout, limits.CLIENT_WINDOW)
        try:
            return put_many(
                channel, items, table, window, lambda key, value: self.put(key, value, table=table, timeout=timeout)
            )
        finally:
            self._give_back(channel)

    def pipeline(self, *, timeout: float | None = None) -> Pipeline:
        """Requests of any kind that are collected and sent together, many in a packet, and answered in their order.

        ``with db.pipeline() as p:`` sends them at the block's end, and nothing when that raises; then ``p.results`` has what
        came of them. ``timeout`` is each packet's. See :class:`Pipeline`.
        """
        return Pipeline(self, None if timeout is None else check_timeout(timeout))

    # --- transactions -------------------------------------------------------------------------------------------------

    def transaction(self, *, timeout: float | None = None) -> contextlib.AbstractContextManager[Transaction]:
        """A block whose reads and writes, by the :class:`Transaction` that it is given, happen at one instant or not at all.

        All is sent at the end of the block; nothing when that raises. ``timeout`` is each request's. Raises
        :class:`splinter.errors.ConflictError` when something that was read has changed since: nothing is written, and the block
        is to be tried again, as :meth:`transact` does. :class:`splinter.errors.TransactionTooLargeError`: what it reads and
        writes does not fit one packet.
        """
        return self._begin_transaction(None if timeout is None else check_timeout(timeout))

    @contextlib.contextmanager
    def _begin_transaction(self, timeout: float | None) -> Iterator[Transaction]:
        channel = self._take(timeout)
        try:
            with transaction(channel) as begun:
                yield begun
        finally:
            self._give_back(channel)

    def transact(
        self, function: Callable[[Transaction], _T], *, tries: int = TRIES_DEFAULT, timeout: float | None = None
    ) -> _T:
        """Call ``function`` with a :class:`Transaction` that is committed when it returns; returns what it returned.

        It is called again after a conflict, up to ``tries`` times in all, with random pauses that grow up to 64 ms: its only
        effects should be those of the transaction. Raises what :meth:`transaction` does, and what ``function`` does.
        """
        return repeat(lambda: self.transaction(timeout=timeout), function, check_integer("tries", tries))

    # --- extensions ---------------------------------------------------------------------------------------------------

    def invoke(self, name: str, /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
        """Run an installed extension with typed arguments, by position or name; returns its typed result.

        ``timeout`` is this call's, unless the extension has a parameter of that name: then it is the argument.

        Raises :class:`splinter.errors.BadArgumentsError` before anything is sent when the arguments do not fit the
        signature, :class:`splinter.errors.ExtensionRuntimeError` when the extension ended with an error: then nothing of it
        is done, unless it runs without isolation.
        """
        return self._invoke(name, args, kwargs, timeout)

    def signature(self, name: str, *, timeout: float | None = None) -> Signature:
        """The signature of an installed extension, asked for once and then remembered."""
        known = self._signatures.get(name)
        if known is None:
            from splinter.ext.signature import Signature

            reply = self._ask("extension.signature", timeout, name=name)
            with understood():
                known = self._signatures[name] = Signature.from_wire(reply["signature"])
        return known

    def install(
        self, extension: Callable[..., Any] | str, *, name: str | None = None, timeout: float | None = None
    ) -> ExtensionInfo:
        """Verify, compile and publish an extension: a function, or source text with one ``@extension`` function.

        It is known by ``name``, by default the function's; one of this name is replaced at once. Raises
        :class:`splinter.errors.CompileError`, with all findings in ``diagnostics``, when the source is refused.
        """
        if not isinstance(extension, str):
            from splinter.ext.front.source_of import source_of

            extension = source_of(extension)[0]
        return self._install(timeout, source=extension, name=name)[0]

    def install_all(self, source: str, *, timeout: float | None = None) -> list[ExtensionInfo]:
        """The same for all ``@extension`` functions of a source, each by its own name. They are compiled together, and none
        is installed when the compiler refuses one. Where a limit or the quota is met on the way, those before it are.
        """
        return self._install(timeout, source=source, every=True)

    def _install(self, timeout: float | None, **fields: Any) -> list[ExtensionInfo]:
        reply = self._ask("extension.install", timeout, **fields)
        with understood():
            installed = [extension_info(one) for one in reply["extensions"]]
        self._signatures.update({info.name: info.signature for info in installed})
        return installed

    def uninstall(self, name: str, *, timeout: float | None = None) -> None:
        """Remove an extension. Raises :class:`splinter.errors.NoSuchExtensionError` when there is none of this name."""
        self._signatures.pop(name, None)
        self._ask("extension.uninstall", timeout, name=name)

    def extensions(self, *, timeout: float | None = None) -> list[ExtensionInfo]:
        """The tenant's installed extensions, by name."""
        reply = self._ask("extension.list", timeout)
        with understood():
            return [extension_info(fields) for fields in reply["extensions"]]

    def extension_history(self, *, timeout: float | None = None) -> list[dict[str, Any]]:
        """Installs and uninstalls: ``name``, ``version``, ``what``, ``at`` (s since 1970). ControlError: none are kept."""
        reply = self._ask("extension.history", timeout)
        with understood():
            return [dict(each) for each in reply["events"]]

    def log(self, *, timeout: float | None = None) -> list[tuple[int, bytes]]:
        """What the tenant's extensions wrote by ``db.log`` of late: (nanoseconds of the server's clock, text), oldest first.

        It is for debugging: the server keeps what fits a small ring that all tenants share.
        """
        reply = self._ask("extension.log", timeout)
        with understood():
            return [(int(entry["time_ns"]), bytes(entry["text"])) for entry in reply["entries"]]

    def events(self, after: int | None = None, *, timeout: float | None = None) -> dict[str, Any]:
        """What happened to the tenant after a number, or all that is kept; as :meth:`splinter.client.admin.Admin.events`."""
        return self._ask("events", timeout, **check_those_given(after=after))

    # --- how ----------------------------------------------------------------------------------------------------------

    def ping(self, *, timeout: float | None = None) -> float:
        """Seconds that a round trip to the tenant's worker took."""
        start = time.perf_counter()
        self._request(timeout, Opcode.PING).checked()
        return time.perf_counter() - start

    @abstractmethod
    def _begin(self) -> None:
        """Make what the channels stand on."""

    @abstractmethod
    def _take(self, timeout: float | None, numbers: int = 1) -> Channel:
        """A channel for one call, with its time-out. ``numbers``: how many it has open at most, if it writes by them."""

    @abstractmethod
    def _give_back(self, channel: Channel) -> None:
        """The call has ended."""

    def _new_line(self, timeout: float) -> Line:
        return Line(self._address, self._port, self._tenant, self._token, self._netns, timeout)

    def _seconds(self, timeout: float | None) -> float:
        """The time-out of a call that has been given this one."""
        return self._timeout if timeout is None else check_timeout(timeout)

    def _request(self, timeout: float | None, opcode: Opcode, table: int = 0, key: bytes = b"", **rest: Any) -> Reply:
        channel = self._take(timeout)
        try:
            return channel.request(opcode, table, key, **rest)
        finally:
            self._give_back(channel)

    def _ask(self, op: str, timeout: float | None, **fields: Any) -> dict[str, Any]:
        return self._ask_control(op, timeout, **fields)

    def _ask_control(self, op: str, timeout: float | None, **fields: Any) -> dict[str, Any]:
        seconds = self._control_timeout if timeout is None else check_timeout(timeout)
        try:
            return self._control.request(op, seconds=seconds, tenant=self._tenant, token=self._token, **fields)
        finally:
            if self._closed:  # close() may have found nothing to close, as this used it
                self._control.close()

    def _invoke(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None, *, may_be_argument: bool = True
    ) -> Any:
        """``may_be_argument``: whether ``timeout`` is the extension's where that has a parameter of this name."""
        remembered = name in self._signatures
        try:
            return self._invoke_once(name, args, kwargs, timeout, may_be_argument)
        except SignatureChangedError:
            pass
        except BadArgumentsError:
            if not remembered:
                raise
        # It may have been installed anew since we asked for the signature.
        self._signatures.pop(name, None)
        return self._invoke_once(name, args, kwargs, timeout, may_be_argument)

    def _packed_invoke(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Batched, Signature] | None:
        """An invoke as it goes in a BATCH, and what unpacks its answer. None: it goes by itself, as its signature is not known
        here, or does not take these arguments."""
        signature = self._signatures.get(name)
        if signature is None:
            return None
        try:
            packed = signature.pack(args, kwargs)
        except BadArgumentsError:
            return None
        return Batched(Opcode.INVOKE, 0, encode_name(name), packed, signature.hash), signature

    def _invoke_once(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None, may_be_argument: bool
    ) -> Any:
        raw = encode_name(name)
        # Whether it is a time-out at all is not known before the signature is.
        signature = self._signatures.get(name) or self.signature(name, timeout=timeout if is_timeout(timeout) else None)
        if may_be_argument and timeout is not None and any(parameter == "timeout" for parameter, _ in signature.parameters):
            kwargs, timeout = {**kwargs, "timeout": timeout}, None
        packed = signature.pack(args, kwargs)
        channel = self._take(timeout)
        try:
            channel.learn(len(raw) + len(packed))
            if len(raw) + len(packed) > channel.size.body_bytes_max():
                raise BadArgumentsError(
                    f"name and arguments of {signature} have {len(raw) + len(packed)} bytes; "
                    f"one packet carries {channel.size.body_bytes_max()} on this network"
                )
            reply = channel.request(Opcode.INVOKE, 0, raw, packed, signature.hash, resend_seconds=INVOKE_RESEND_SECONDS)
        finally:
            self._give_back(channel)
        return signature.unpack(reply.checked().value)
