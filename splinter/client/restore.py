"""Putting a dump back, into the same server or another, by the control connection.

Objects of a tenant are collected until a message is full; while the server puts them, the following lines are read. A line is
checked as a whole before anything of it is done. A large value is sent when all of it has been read, at once and by itself: the
server keeps parts without their object for a minute only, and nobody knows how long the next line takes to come.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from splinter import limits
from splinter.client.arguments import check_integer
from splinter.client.control import understood
from splinter.client.dump import Request, object_pieces
from splinter.client.dump_format import (
    ALL,
    NS_PER_MS,
    DumpedExtension,
    DumpedObject,
    DumpedPart,
    DumpedTenant,
    End,
    Header,
    dumped,
)
from splinter.client.dump_reader import DumpReader
from splinter.client.encoding import parse_token
from splinter.errors import CompileError, ControlError, RequestError, SplinterError, Status, UnknownTenantError, error_for
from splinter.wire import (
    DUMPED_LARGE,
    DUMPED_PART,
    DURABILITIES,
    LARGE,
    PART,
    PART_KEY_STRUCT,
)

_PIECE_BYTES = limits.RESTORE_PIECE_BYTES
_WAITING_BYTES = limits.RESTORE_WAITING_BYTES
_MESSAGES_MAX = 2  # that are on their way: messages of objects, or large values
_UPLOADS_MAX = 3  # of a large value, whose parts are forgotten if it takes longer than PART_NS


class Into(StrEnum):
    """What a tenant that is there already may have: "empty", "merge" or "replace"."""

    EMPTY = "empty"  # no objects: else it is refused
    MERGE = "merge"  # objects, of which those that the dump has, too, are replaced
    REPLACE = "replace"  # objects, which are removed first, and extensions: at the end those that the dump does not have


@dataclass
class Restored:
    """What came of a restore, or has come of it so far."""

    tenants: int = 0  # that were in it, and wanted
    created: list[tuple[int, int]] = field(default_factory=list)  # those of them that are new, with their tokens
    objects: int = 0  # that were put
    over: int = 0  # that had expired, and were left out
    extensions: int = 0  # that were installed
    not_installed: list[tuple[int, str, str]] = field(default_factory=list)  # tenant, name, why
    incomplete: list[int] = field(default_factory=list)  # tenants of which the dump has not all


@dataclass
class _Batch:
    """Objects of a tenant that wait for their message; of each the number of its line."""

    tenant: int
    generation: int
    objects: bytearray = field(default_factory=bytearray)
    lines: list[int] = field(default_factory=list)


class Restore:
    """Puts a dump back: :meth:`run`. ``done`` tells how far that is, and stays true when it raises.

    ``tenant``: only this one of the dump; ``to``: under this id; ``token`` of the one that is created, by default that of the
    dump, or a random one; ``durability`` of those that are created, by default that of the dump.
    """

    def __init__(
        self,
        request: Request,
        *,
        tenant: int | None = None,
        to: int | None = None,
        into: Into | str = "empty",
        token: int | str | None = None,
        durability: str | None = None,
        done: Restored | None = None,
    ) -> None:
        self._request, self._into = request, Into(into)
        self._only = None if tenant is None else check_integer("tenant", tenant)
        self._to = None if to is None else check_integer("to", to)
        self._token = None if token is None else parse_token(token)
        if durability is not None and durability not in DURABILITIES:
            raise ValueError(f"durability is one of {', '.join(DURABILITIES)}, not {durability!r}")
        self._durability = durability
        self.done = Restored() if done is None else done
        self._named: list[DumpedTenant] = []
        self._batches: dict[int, _Batch] = {}  # by id in the dump
        self._waiting_bytes = 0
        self._parts: list[DumpedPart] = []  # of a large value, whose object is not read yet
        self._extensions: list[DumpedExtension] = []
        self._keeps: dict[int, set[str]] = {}  # extensions of the dump, by id in it, where all others are removed
        self._sent: deque[Future[None]] = deque()

    def run(self, pieces: Iterable[bytes]) -> Restored:
        """Put back the dump in ``pieces``: a file opened in binary, pieces of :class:`splinter.client.dump.Dump`.

        Raises :class:`splinter.errors.DumpError` where it is damaged or cut, :class:`splinter.errors.ControlError` for a tenant
        that has objects, the error of the first object that the server refuses. What was done before stays.
        """
        reader = DumpReader(pieces)
        with ThreadPoolExecutor(1) as sender:
            try:
                for record in reader:
                    self._take(record, reader.line, sender)
                while self._sent:
                    self._sent.popleft().result()
            finally:
                sender.shutdown(wait=True, cancel_futures=True)
        return self.done

    def _take(self, record: object, line: int, sender: ThreadPoolExecutor) -> None:
        if isinstance(record, DumpedObject | DumpedPart):
            self._begin()
            self._add(record, line, sender)
        elif isinstance(record, Header):
            if self._only is None and record.of == ALL and (self._to is not None or self._token is not None):
                raise SplinterError("the dump is of all tenants: say which one is to have another id, or that token")
        elif isinstance(record, DumpedTenant):
            if self._only in (None, record.tenant):
                self._named.append(record)
        elif isinstance(record, DumpedExtension):
            self._begin()
            if self._extensions and self._extensions[0].tenant != record.tenant:
                self._install()
            if record.tenant in self._batches:
                self._extensions.append(record)
        else:
            assert isinstance(record, End)
            self._begin()
            self._install()
            for batch in list(self._batches.values()):
                self._send(batch, sender)
            self._finish(record)

    # --- tenants --------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """All lines of tenants are read: look at all of those, and then make what is missing."""
        if not self._named:
            return
        named, self._named = self._named, []
        there = {one.tenant: self._look(self._to or one.tenant) for one in named}
        for one in named:
            target = self._to or one.tenant
            if there[one.tenant] is None:
                self._create(one, target)
            elif self._token is not None:
                raise SplinterError(f"tenant {target} is there, and keeps its token")
            reply = self._request("restore.begin", tenant=target, replace=self._into is Into.REPLACE)
            with understood():
                self._batches[one.tenant] = _Batch(target, int(reply["generation"]))
            if self._into is Into.REPLACE and there[one.tenant] is not None:
                self._keeps[one.tenant] = set()
                self._empty(self._batches[one.tenant])
        self.done.tenants = len(named)

    def _look(self, target: int) -> dict[str, Any] | None:
        """The tenant that is there, or None. Raises :class:`ControlError` when it must not have what it has."""
        try:
            reply = self._request("dump.begin", tenant=target)
        except UnknownTenantError:
            return None
        with understood():
            told = dict(reply["tenants"][0])
            place = int(reply["store"]), target, {target: int(told["generation"])}
            may_have = told["objects"] > 0
        if self._into is Into.EMPTY and may_have and any(object_pieces(self._request, *place)):
            raise ControlError(
                f"tenant {target} has objects: merge with them (--merge), or replace them (--replace)", "tenant_not_empty"
            )
        return told

    def _create(self, one: DumpedTenant, target: int) -> None:
        token = self._token if self._token is not None else int(one.token, 16) if one.token is not None else None
        durability = self._durability or one.durability
        try:
            reply = self._request(
                "tenant.create",
                tenant=target,
                quota_bytes=one.quota_bytes,
                token=token,
                durability=durability,
                eviction=one.eviction,
                **one.limits,
            )
        except ControlError as error:
            if error.code != "no_data_folder":
                raise
            text = f"tenant {target} has durability {durability!r}, and {error}; or restore it with durability 'none'"
            raise ControlError(text, error.code) from None
        with understood():
            self.done.created.append((target, int(reply["tenants"][0]["token"])))

    def _empty(self, batch: _Batch) -> None:
        """Delete all objects of a tenant."""
        with understood():
            store = int(self._request("dump.begin", tenant=batch.tenant)["store"])
        who = {"tenant": batch.tenant, "generation": batch.generation}
        for told in object_pieces(self._request, store, batch.tenant, {batch.tenant: batch.generation}):
            if told:
                reply = self._request("restore.objects", **who, objects=told, deletes=True)
                if reply.get("refused") is not None:
                    raise _refusal(str(reply["refused"]), f"removing objects of tenant {batch.tenant}")

    # --- extensions -----------------------------------------------------------------------------------------------------

    def _install(self) -> None:
        """Install what was read of a tenant: first what was compiled together, then single ones. Of a source only what the dump
        has from it: its other names are another source's by now, or nobody's."""
        extensions, self._extensions = self._extensions, []
        if not extensions:
            return
        tenant = self._batches[extensions[0].tenant].tenant
        self._keeps.get(extensions[0].tenant, set()).update(one.name for one in extensions)
        groups = dict.fromkeys(one.source for one in extensions if one.together and one.source is not None)
        for source in groups:
            group = [one for one in extensions if one.together and one.source == source]
            self._try_install(tenant, group, source=source, every=True, names=[one.name for one in group])
        for one in extensions:
            if one.source is None:
                reason = "the dump has no source of it: the server had no data folder"
                self.done.not_installed.append((tenant, one.name, reason))
            elif not one.together:
                self._try_install(tenant, [one], source=one.source, name=one.name)

    def _try_install(self, tenant: int, extensions: list[DumpedExtension], **fields: Any) -> None:
        """Install; what the server refuses is noted."""
        try:
            self._request("extension.install", tenant=tenant, **fields)
        except (CompileError, RequestError, ControlError) as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise
            self.done.not_installed += [(tenant, one.name, str(error)) for one in extensions]
            return
        self.done.extensions += len(extensions)

    # --- objects --------------------------------------------------------------------------------------------------------

    def _add(self, one: DumpedObject | DumpedPart, line: int, sender: ThreadPoolExecutor) -> None:
        self._install()
        batch = self._batches.get(one.tenant)
        if batch is None:
            return  # of another tenant
        if isinstance(one, DumpedPart):
            self._parts.append(one)  # its object says whether it is over
            return
        if one.length:
            parts, self._parts = self._parts, []
            self._send(batch, sender)
            self._submit(sender, self._put_large, batch, parts, one, line)
            return
        packed = dumped(one.table, one.key, one.value, one.expires_unix_ms * NS_PER_MS)
        if len(batch.objects) + len(packed) > _PIECE_BYTES:
            self._send(batch, sender)
        batch.objects += packed
        batch.lines.append(line)
        self._waiting_bytes += len(packed)
        if self._waiting_bytes > _WAITING_BYTES:  # of many tenants
            self._send(max(self._batches.values(), key=lambda each: len(each.objects)), sender)

    def _send(self, batch: _Batch, sender: ThreadPoolExecutor) -> None:
        """Have what a batch has sent, behind what is on its way; waits when that is much."""
        if not batch.lines:
            return
        full = _Batch(batch.tenant, batch.generation, batch.objects, batch.lines)
        self._waiting_bytes -= len(batch.objects)
        batch.objects, batch.lines = bytearray(), []
        self._submit(sender, self._put, full)

    def _submit(self, sender: ThreadPoolExecutor, put: Callable[..., None], *arguments: object) -> None:
        while len(self._sent) >= _MESSAGES_MAX:
            self._sent.popleft().result()
        self._sent.append(sender.submit(put, *arguments))

    def _put(self, batch: _Batch) -> None:
        """Send a message of objects. Raises the error of one that is refused, with its line."""
        done, over, refused = self._ask(batch, bytes(batch.objects), len(batch.lines))
        self.done.objects += done
        self.done.over += over
        if refused is not None:
            raise _refusal(refused, f"line {batch.lines[done + over]}: tenant {batch.tenant}")

    def _put_large(self, batch: _Batch, parts: list[DumpedPart], head: DumpedObject, line: int) -> None:
        """Put a large value, whose object stands in ``line``. Raises the error of what is refused, with its line."""
        for left in reversed(range(_UPLOADS_MAX)):
            refused, number = self._try_large(batch, parts, head)
            if refused is None:
                return
            if refused != Status.NOT_FOUND.name or not left:  # else it took so long that the server has forgotten parts
                raise _refusal(refused, f"line {line - len(parts) + number}: tenant {batch.tenant}")

    def _try_large(self, batch: _Batch, parts: list[DumpedPart], head: DumpedObject) -> tuple[str | None, int]:
        """Put parts, and the object behind them, under a new id. Returns the status of what is refused, and which it is."""
        identity, expires = secrets.randbits(64), head.expires_unix_ms * NS_PER_MS
        start = PART.struct.pack(head.table, len(head.key), 0) + head.key
        # Parts have the moment of their object: where that is over, none is put.
        packed = [
            dumped(head.table, PART_KEY_STRUCT.pack(identity, one.number), start + one.value, expires, kind=DUMPED_PART)
            for one in parts
        ]
        last = dumped(head.table, head.key, LARGE.struct.pack(identity, head.length), expires, kind=DUMPED_LARGE)
        packed.append(last)
        step = _PIECE_BYTES // len(packed[0])
        for number in range(0, len(packed), step):
            piece = packed[number : number + step]
            done, over, refused = self._ask(batch, b"".join(piece), len(piece))
            if refused is not None:
                number += done + over
                if number < len(parts) and refused != Status.BUSY.name:
                    self._ask(batch, last, 1)  # it is refused, as a part is missing, and the others are removed
                return refused, number
        self.done.over += over > 0
        self.done.objects += over == 0
        return None, 0

    def _ask(self, batch: _Batch, objects: bytes, count: int) -> tuple[int, int, str | None]:
        """Send a message of so many objects or parts: how many are done, and over, and the status that the next one got."""
        reply = self._request("restore.objects", tenant=batch.tenant, generation=batch.generation, objects=objects)
        with understood():
            done, over, refused = int(reply["done"]), int(reply["over"]), reply["refused"]
            if done + over != count if refused is None else done + over >= count:
                raise ValueError(f"{done} objects were put, {over} were over, of {count}")
        return done, over, None if refused is None else str(refused)

    def _finish(self, end: End) -> None:
        """The last line was read, and counts what was read."""
        if not self._batches and self._only is not None:
            raise UnknownTenantError(f"the dump has no tenant {self._only}")
        for tenant, keeps in self._keeps.items():
            target = self._batches[tenant].tenant
            with understood():
                listed = [str(told["name"]) for told in self._request("extension.list", tenant=target)["extensions"]]
            for name in listed:
                if name not in keeps:
                    self._request("extension.uninstall", tenant=target, name=name)
        self.done.incomplete = [self._batches[tenant].tenant for tenant in end.incomplete if tenant in self._batches]


def _refusal(status: str, where: str) -> SplinterError:
    """The error of a status that is told by its name."""
    try:
        known = Status[status]
    except KeyError:
        return ControlError(f"{where}: {status}", "bad_reply")
    return error_for(known, f"{where}: {known.text}")
