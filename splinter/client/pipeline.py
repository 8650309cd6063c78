"""Pipelines: requests that are collected here, and sent together.

**Packets.** As many requests as fit go in one packet, a BATCH (``docs/reference/protocol.md``), which the server executes in
their order. The next packet is sent when the one before is answered: so the order of a pipeline is that of the program. A
packet is writes and then reads, never a read and then a write. For a packet that comes again has its writes executed once, but
its reads again: a read in front of a write would be told what the write made. Invokes count as writes; whether one only reads
the server knows, and ends its reply before a write behind it.

**By themselves**, between two packets, go puts of values that do not fit a packet, gets of those, and the first invoke of an
extension whose signature is not known. Where a reply says of a get that its value is too large, the value is got, and what was
to be read behind it is read anew, behind it. Where one says of an invoke that its extension has another signature by now, the
reply ends with that, which is recorded; it is asked for, and the extension invoked again, before what follows is.

**What fails.** A request that is refused has its exception, and the next ones are executed. A packet that is not answered, or
not in a way that makes sense, ends the pipeline: whether its requests were executed is not known, and those behind it are not
sent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from itertools import takewhile
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, TypeVar

from splinter.client import objects
from splinter.client.arguments import check_integer, check_ttl
from splinter.client.batch import Batched
from splinter.client.channel import Channel
from splinter.client.encoding import Key, Value, check_table, encode_key, encode_name, encode_value
from splinter.client.flights import Reply, was_there
from splinter.client.lifetimes import FOR_EVER, Ttl, seconds_left
from splinter.errors import BusyError, ProtocolError, RequestError, SplinterError, Status
from splinter.limits import CLIENT_WINDOW, PACKET_BODY_BYTES_MAX
from splinter.wire import BATCH_REQUESTS_MAX, TTL_BYTES, Opcode

if TYPE_CHECKING:
    from splinter.ext.signature import Signature

_Function = TypeVar("_Function", bound=Callable[..., Any])


class NotSentError(SplinterError):
    """A request of a pipeline that ended before it was sent: it was not executed."""


class Caller(Protocol):
    """What a pipeline needs of a client."""

    def _take(self, timeout: float | None, numbers: int = 1) -> Channel: ...

    def _give_back(self, channel: Channel) -> None: ...

    def _invoke(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], timeout: float | None, *, may_be_argument: bool
    ) -> Any: ...

    def _packed_invoke(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Batched, Signature] | None: ...


class _Request(NamedTuple):
    """One that was collected: how it goes in a packet, and what its answer means; or how it goes by itself."""

    told: str  # in the notes of exceptions
    batched: Batched | None = None
    result: Callable[[Reply], Any] | None = None
    by_itself: Callable[[Channel], Any] | None = None
    invoke: tuple[str, tuple[Any, ...], dict[str, Any]] | None = None  # name, arguments; what goes in a packet is made later


class Requests:
    """The methods of a pipeline that collect requests. Arguments are those of :class:`splinter.client.Client`'s methods, and
    checked at once; nothing is sent."""

    def __init__(self, caller: Caller, timeout: float | None) -> None:
        self.results: list[Any] = []
        """Of what was sent last."""
        self._caller, self._timeout = caller, timeout
        self._requests: list[_Request] = []

    def __len__(self) -> int:
        """How many requests are collected and not sent yet."""
        return len(self._requests)

    def get(self, key: Key, *, table: int = 0) -> None:
        """The object's value, or None when there is no such object."""
        self._get("get", key, table, lambda found: found[0])

    def get_with_version(self, key: Key, *, table: int = 0) -> None:
        """The object's value and version; (None, 0) when there is no such object."""
        self._get("get", key, table, lambda found: found)

    def _get(self, method: str, key: Key, table: int, of: Callable[[tuple[bytes | None, int]], Any]) -> None:
        raw, table = encode_key(key), check_table(table)
        self._collect(
            method, Batched(Opcode.GET, table, raw),
            lambda reply: of((reply.value, reply.version) if was_there(reply) else (None, 0)),
            lambda channel: of(objects.get(channel, table, raw)),
        )  # fmt: skip

    def put(self, key: Key, value: Value, *, table: int = 0, ttl: Ttl | None = None, if_version: int = 0) -> None:
        """Store an object. Its result is the new version."""
        raw, body, table = encode_key(key), encode_value(value), check_table(table)
        if_version, ns = check_integer("if_version", if_version), 0 if ttl is None else check_ttl(ttl)
        self._collect(
            "put", Batched(Opcode.PUT, table, raw, body, if_version, ns), lambda reply: reply.checked().version,
            lambda channel: objects.put(channel, table, raw, body, if_version, ns),
        )  # fmt: skip

    def delete(self, key: Key, *, table: int = 0, if_version: int = 0) -> None:
        """Delete an object. Its result is False when there was none."""
        raw, table, if_version = encode_key(key), check_table(table), check_integer("if_version", if_version)
        self._collect("delete", Batched(Opcode.DELETE, table, raw, b"", if_version), was_there)

    def expire(self, key: Key, ttl: Ttl, *, table: int = 0, if_version: int = 0) -> None:
        """Have an object live for ``ttl`` seconds from then on. Its result is False when there is none."""
        self._live("expire", key, check_ttl(ttl).to_bytes(TTL_BYTES, "little"), table, if_version)

    def persist(self, key: Key, *, table: int = 0, if_version: int = 0) -> None:
        """Have an object live for ever. Its result is False when there is none."""
        self._live("persist", key, FOR_EVER, table, if_version)

    def _live(self, method: str, key: Key, ttl: bytes, table: int, if_version: int) -> None:
        raw, table, if_version = encode_key(key), check_table(table), check_integer("if_version", if_version)
        self._collect(method, Batched(Opcode.EXPIRE, table, raw, ttl, if_version), was_there)

    def ttl(self, key: Key, *, table: int = 0) -> None:
        """Seconds that an object still lives, ``math.inf`` for ever; None when there is none."""
        self._collect("ttl", Batched(Opcode.TTL, check_table(table), encode_key(key)), seconds_left)

    def invoke(self, name: str, /, *args: Any, **kwargs: Any) -> None:
        """Run an installed extension. All arguments are its own; they are checked when its turn has come."""
        encode_name(name)
        self._requests.append(_Request(f"invoke of {name!r}", invoke=(name, args, kwargs)))

    def _collect(
        self,
        method: str,
        batched: Batched,
        result: Callable[[Reply], Any],
        by_itself: Callable[[Channel], Any] | None = None,
    ) -> None:
        told = f"{method} of key {batched.key!r} in table {batched.table}"
        self._requests.append(_Request(told, batched, result, by_itself))

    def _execute(self, *, raise_errors: bool) -> list[Any]:
        requests, self._requests = self._requests, []
        execution = _Execution(self._caller, requests, self._timeout)
        self.results = execution.results
        execution.run()
        if raise_errors:
            for result in self.results:
                if isinstance(result, Exception):
                    raise result
        return self.results


class Pipeline(Requests):
    """Requests of :meth:`Client.pipeline`; one thread's. What is collected is sent by :meth:`execute`, or at the end of its
    ``with`` block, unless that raises; then the pipeline is empty, and may be used again.

    Requests are executed in their order, each by itself: others' may come between them, and one that is refused does not keep
    the next from being executed. ``results`` has what came of each, in their order: what the client's method returns, or the
    exception that it raises.
    """

    def execute(self, *, raise_errors: bool = True) -> list[Any]:
        """Send all, and return ``results``.

        When all are executed the first of the exceptions is raised, with a note that tells which request's it is; with
        ``raise_errors=False`` none is. A request that is not answered (:class:`splinter.errors.RequestTimeoutError`) ends the
        pipeline: its exception is that of all that were sent with it, and those behind have a :class:`NotSentError`.
        """
        return self._execute(raise_errors=raise_errors)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if kind is not None:
            self._requests.clear()
        elif self._requests:
            self.execute()


class _Execution:
    """Of what a pipeline has collected. ``results``: of the first requests, as far as it has come."""

    def __init__(self, caller: Caller, requests: Sequence[_Request], timeout: float | None) -> None:
        self.results: list[Any] = []
        self._caller, self._requests, self._timeout = caller, list(requests), timeout
        self._channel: Channel | None = None
        self._sent = 0  # of the requests

    def run(self) -> None:
        """All of it. Whatever ends it but an exception of Splinter's is raised."""
        try:
            while len(self.results) < len(self._requests):
                self._step()
        except SplinterError as error:
            self._end(error)
        finally:
            self._leave()

    def _step(self) -> None:
        channel = self._enter()
        packet = self._packet(channel)
        if not packet:
            self._go_alone()
            return
        self._sent = len(self.results) + len(packet)
        alone = 0
        with contextlib.closing(channel.batch(packet)) as coming:
            for answers in coming:
                alone = self._settle(answers)
                if alone:
                    break
        for _ in range(alone):
            self._go_alone()

    def _packet(self, channel: Channel) -> list[Batched]:
        """What goes in the next packet; nothing, if the next request goes by itself."""
        packet: list[Batched] = []
        room = room_back = most = channel.size.body_bytes_max()
        begin = len(self.results)
        for place in range(begin, min(begin + BATCH_REQUESTS_MAX, len(self._requests))):
            batched = self._batched(place)
            if batched is None or (packet and packet[-1].is_read and not batched.is_read):
                break
            room, room_back = room - batched.size, room_back - batched.answer_size
            lacking = -min(room, room_back)
            if lacking > 0 and channel.size.must_ask(most + lacking):
                channel.learn(most + lacking)
                return self._packet(channel)
            if lacking > 0:
                break
            packet.append(batched)
        return packet

    def _batched(self, place: int) -> Batched | None:
        """A request as it goes in a packet; None: it goes by itself."""
        request = self._requests[place]
        if request.invoke is None:
            return request.batched
        made = self._caller._packed_invoke(*request.invoke)
        if made is None:
            return None
        batched, signature = made
        self._requests[place] = request._replace(batched=batched, result=lambda reply: signature.unpack(reply.checked().value))
        return batched

    def _settle(self, answers: Sequence[Reply]) -> int:
        """Enter the results of the next requests, up to the first that is to go by itself: a get of what does not fit a packet,
        or an invoke by another signature. Returns how many gets of that kind there are in a row, or one invoke."""
        for number, answer in enumerate(answers):
            request = self._requests[len(self.results)]
            if _is_too_large(request, answer):
                rest = answers[number:]
                pairs = zip(self._requests[len(self.results) : len(self.results) + len(rest)], rest, strict=True)
                return sum(1 for _ in takewhile(lambda pair: _is_too_large(*pair), pairs))
            if answer.status == Status.BAD_SIGNATURE and request.invoke is not None:
                return 1
            try:
                self.results.append(_given(request.result)(answer))
            except RequestError as error:
                self._refused(error)
        return 0

    def _go_alone(self) -> None:
        """Enter the result of the next request, which is not one of a packet's."""
        request = self._requests[len(self.results)]
        self._sent = len(self.results) + 1
        try:
            if request.invoke is not None:
                self._leave()  # it takes a channel itself
                name, args, kwargs = request.invoke
                self.results.append(self._caller._invoke(name, args, kwargs, self._timeout, may_be_argument=False))
            else:
                self.results.append(_given(request.by_itself)(self._enter()))
        except (BusyError, ProtocolError):
            raise
        except RequestError as error:
            self._refused(error)

    def _refused(self, error: RequestError) -> None:
        self._note(error, len(self.results) + 1)
        self.results.append(error)

    def _end(self, error: SplinterError) -> None:
        """Enter what ended the pipeline, and that the rest was not sent."""
        begin = len(self.results)
        end = max(self._sent, begin + 1)
        self._note(error, end)
        self.results += [error] * (end - begin)
        for _ in self._requests[end:]:
            rest = NotSentError(f"not sent, as request {begin + 1} of its pipeline was not answered: {error}")
            rest.__cause__ = error
            self.results.append(rest)

    def _note(self, error: SplinterError, end: int) -> None:
        """Say in an exception of whose requests it is: from the next on, up to this one."""
        begin = len(self.results) + 1
        if end == begin:
            error.add_note(f"request {begin} of the pipeline: {self._requests[begin - 1].told}")
        else:
            error.add_note(f"requests {begin} to {end} of the pipeline, the first: {self._requests[begin - 1].told}")

    def _enter(self) -> Channel:
        if self._channel is None:
            # As of Calls.put: what goes in fragments has a channel's numbers to itself.
            is_large = any(each.batched is not None and each.batched.size > PACKET_BODY_BYTES_MAX for each in self._requests)
            numbers = CLIENT_WINDOW if is_large else min(len(self._requests), BATCH_REQUESTS_MAX)
            self._channel = self._caller._take(self._timeout, numbers)
        return self._channel

    def _leave(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._caller._give_back(channel)


def _is_too_large(request: _Request, answer: Reply) -> bool:
    """Whether it is a get whose value does not fit a packet."""
    assert request.batched is not None
    return answer.status == Status.VALUE_TOO_LARGE and request.batched.opcode == Opcode.GET


def _given(function: _Function | None) -> _Function:
    assert function is not None
    return function
