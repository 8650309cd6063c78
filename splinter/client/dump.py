"""A dump: all objects of a tenant, or of all, with tenants and extensions, by the control connection while the server serves.

Each message asks for what stands behind the one before; the server keeps nothing in between
(:mod:`splinter.server.control.dumps`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from splinter import limits
from splinter.client.arguments import check_integer
from splinter.client.control import understood
from splinter.client.dump_format import (
    ALL,
    DumpedObject,
    DumpedPart,
    End,
    end_line,
    extension_line,
    header_line,
    object_line,
    objects_told,
    part_line,
    tenant_line,
)
from splinter.errors import UnknownTenantError

Request = Callable[..., dict[str, Any]]  # an operation's name and fields: its reply


class Dump:
    """Iterating asks the server, and gives the dump in pieces of whole lines (``docs/reference/dump-format.md``); once.

    The counts say how much there was so far. ``without_source``: extensions (tenant, name) whose server has no data folder, and
    so no source of them. ``unreadable``: objects (tenant, table, key) with large values that could not be read, and were left
    out. ``incomplete``: tenants that have such, or were removed meanwhile. ``done`` of ``total`` tells how far it is.
    """

    def __init__(self, request: Request, tenant: int | None = None, *, with_tokens: bool = False) -> None:
        self._request, self._with_tokens = request, with_tokens
        self._tenant = None if tenant is None else check_integer("tenant", tenant)
        self.tenants = self.extensions = self.parts = self.objects = self.bytes = 0
        self.without_source: list[tuple[int, str]] = []
        self.unreadable: list[tuple[int, int, bytes]] = []
        self.incomplete: list[int] = []
        self.done, self.total = 0, 1
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        of = ALL if self._tenant is None else self._tenant
        server = self._request("hello")
        begun, tenants = self._begin()
        with understood():
            first = header_line(of, time.time_ns() // 1_000_000, str(server["version"]))
            yield self._noted(first + b"".join(tenant_line(told) for told in tenants.values()))
            self.tenants, self.total = len(tenants), int(begun["buckets"])
            generations = {tenant: int(told["generation"]) for tenant, told in tenants.items()}
            extending = [tenant for tenant, told in tenants.items() if told["extensions"]]
        for tenant in extending:
            yield from self._extension_lines(tenant, generations[tenant])
        for told in object_pieces(self._request, begun["store"], self._tenant, generations, self._reached):
            lines: list[bytes] = []
            with understood():
                for one in objects_told(told, generations):
                    if one.length != 0:
                        yield from self._large_lines(one, generations[one.tenant])
                    else:
                        lines.append(object_line(one))
            self.objects += len(lines)
            if lines:
                yield self._noted(b"".join(lines))
        self.done = self.total
        if self._tenant is None:  # of one the server has told that it was there to the end
            after = self._begin()[1]
            self.incomplete += [t for t, before in generations.items() if after.get(t, {}).get("generation") != before]
        self.incomplete = sorted({*self.incomplete, *(tenant for tenant, _, _ in self.unreadable)})
        end = End(self.tenants, self.extensions, self.parts, self.objects, tuple(self.incomplete), self._digest.hexdigest())
        yield self._noted(end_line(end))

    def _large_lines(self, one: DumpedObject, generation: int) -> Iterator[bytes]:
        """The lines of what a key has, of which an object with a large value was told."""
        try:
            reply = self._request("dump.object", tenant=one.tenant, generation=generation, table=one.table, key=one.key)
        except UnknownTenantError:
            if self._tenant is not None:
                raise
            return  # it was removed meanwhile
        value = reply["value"]
        for present in objects_told(bytes(reply["object"]), {one.tenant: generation}):
            if value is None:
                self.unreadable.append((one.tenant, one.table, one.key))
                return
            if len(value) != present.length:
                raise ValueError(f"a value of {len(value)} bytes in place of {present.length}")
            for number, at in enumerate(range(0, present.length, limits.PART_BYTES)):
                part = bytes(value[at : at + limits.PART_BYTES])
                yield self._noted(part_line(DumpedPart(one.tenant, one.table, one.key, number, part)))
                self.parts += 1
            self.objects += 1
            yield self._noted(object_line(present))

    def _noted(self, lines: bytes) -> bytes:
        self._digest.update(lines)
        self.bytes += len(lines)
        return lines

    def _reached(self, bucket: int) -> None:
        self.done = bucket

    def _begin(self) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """What the server says of itself, and its tenants by id."""
        found: dict[int, dict[str, Any]] = {}
        start: int | None = 0
        reply: dict[str, Any] = {}
        while start is not None:
            one = None if self._tenant is None else self._tenant
            reply = self._request("dump.begin", tenant=one, start=start, tokens=self._with_tokens)
            with understood():
                found |= {int(told["tenant"]): told for told in reply["tenants"]}
                start = reply["next"]
        return reply, found

    def _extension_lines(self, tenant: int, generation: int) -> Iterator[bytes]:
        behind: str | None = None
        while True:
            try:
                reply = self._request("dump.extensions", tenant=tenant, generation=generation, name=behind)
            except UnknownTenantError:
                if self._tenant is not None:
                    raise
                return  # it was removed meanwhile
            with understood():
                for told in reply["extensions"]:
                    name, source = str(told["name"]), told["source"]
                    self.extensions += 1
                    if source is None:
                        self.without_source.append((tenant, name))
                    yield self._noted(extension_line(tenant, name, source, bool(told["together"])))
                behind = reply["next"]
            if behind is None:
                return


def object_pieces(
    request: Request,
    store: int,
    tenant: int | None,
    generations: dict[int, int],
    reached: Callable[[int], None] = lambda _: None,
) -> Iterator[bytes]:
    """The objects of a tenant, or (None) of all, as the server tells them (DUMPED), in pieces. ``reached`` is told the main
    bucket that it has come to."""
    generation = None if tenant is None else generations[tenant]
    bucket: int | None = 0
    behind: bytes | None = None
    while bucket is not None:
        reply = request("dump.objects", store=store, tenant=tenant, generation=generation, bucket=bucket, behind=behind)
        with understood():
            told, bucket, behind = bytes(reply["objects"]), reply["next"], reply["behind"]
        if bucket is not None:
            reached(bucket)
        yield told
