"""Reading a dump: its lines one by one, and what each says beside the others (``docs/reference/dump-format.md``)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from splinter import limits
from splinter.client.dump_format import (
    ALL,
    DumpedExtension,
    DumpedObject,
    DumpedPart,
    DumpedTenant,
    End,
    Header,
    Record,
    read_line,
)
from splinter.errors import DumpError

_LINE_BYTES_MAX = limits.DUMP_LINE_BYTES_MAX


class DumpReader:
    """Reads a dump from pieces of whatever length. Iterating raises :class:`DumpError` at the first line that is not what it
    should be, and at the end of a dump that was cut. ``line`` is the number of the last record's."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.line = 0
        self._header: Header | None = None
        self._tenants: set[int] = set()
        self._extensions: dict[int, int] = {}
        self._extending = 0  # whose extensions stand here
        self._objects = self._parts = 0
        self._part: DumpedPart | None = None  # of the large value that stands here, the last one, and the bytes of all so far
        self._length = 0
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[Record]:
        end: End | None = None
        for raw in self._lines():
            self.line += 1
            if end is not None:
                raise self._error("it stands behind the last line")
            try:
                record = read_line(raw)
            except ValueError as error:
                raise self._error(str(error)) from None
            self._check(record)
            if isinstance(record, End):
                end = record
                continue  # it is told when nothing has come behind it
            self._digest.update(raw)
            self._digest.update(b"\n")
            yield record
        if end is None:
            self.line += 1
            raise self._error("the dump was cut: its last line is missing")
        yield end

    def _lines(self) -> Iterator[bytes]:
        """Lines without their ends; what has no end is none."""
        rest = b""
        for piece in self._pieces:
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines
            if len(rest) > _LINE_BYTES_MAX:
                self.line += 1
                raise self._error(f"it has more than {_LINE_BYTES_MAX} bytes")
        if rest:
            self.line += 1
            raise self._error("the dump was cut in the middle of it")

    def _error(self, what: str) -> DumpError:
        return DumpError(f"line {self.line}: {what}", self.line)

    def _check(self, record: Record) -> None:
        """What a line says beside the others."""
        if isinstance(record, DumpedPart):
            self._check_part(record)
            return
        self._check_large(record)
        if isinstance(record, DumpedObject):
            self._objects += 1
            self._require(record.tenant in self._tenants, f"no line before is of tenant {record.tenant}")
        elif isinstance(record, Header) or self._header is None:
            self._require(isinstance(record, Header) and self._header is None, "the first line, and only that, is the header")
            assert isinstance(record, Header)
            self._header = record
        elif isinstance(record, DumpedTenant):
            self._require(not self._extensions and not self._objects, "tenants stand before extensions and objects")
            self._require(record.tenant not in self._tenants, f"tenant {record.tenant} was there already")
            self._require(self._header.of in (ALL, record.tenant), f"the dump is of tenant {self._header.of}")
            self._tenants.add(record.tenant)
        elif isinstance(record, DumpedExtension):
            self._check_extension(record)
        else:
            counts = len(self._tenants), sum(self._extensions.values()), self._parts, self._objects
            told = record.tenants, record.extensions, record.parts, record.objects
            self._require(told == counts, "it counts other lines than there are")
            self._require(record.sha256 == self._digest.hexdigest(), "the checksum is not that of the lines before")

    def _check_part(self, record: DumpedPart) -> None:
        self._require(record.tenant in self._tenants, f"no line before is of tenant {record.tenant}")
        before = self._part
        number = 0 if before is None else before.number + 1
        self._require(record.number == number and (before is None or before[:3] == record[:3]), "parts stand in their order")
        self._require(before is None or len(before.value) == limits.PART_BYTES, "a part before the last one is not whole")
        self._part, self._length = record, self._length + len(record.value)
        self._parts += 1

    def _check_large(self, record: Record) -> None:
        """A large value, and nothing else, stands behind all its parts."""
        length = record.length if isinstance(record, DumpedObject) else 0
        is_of_parts = self._part is None or (isinstance(record, DumpedObject) and record[:3] == self._part[:3])
        self._require(length == self._length and is_of_parts, "a large value stands behind its parts, all of them")
        self._part, self._length = None, 0

    def _check_extension(self, record: DumpedExtension) -> None:
        tenant = record.tenant
        self._require(tenant in self._tenants and not self._objects, "extensions stand between their tenants and the objects")
        self._require(tenant == self._extending or tenant not in self._extensions, "a tenant's extensions stand together")
        self._extending, count = tenant, self._extensions.get(tenant, 0) + 1
        self._require(count <= limits.EXTENSIONS_PER_TENANT_MAX, "a tenant has not so many extensions")
        self._extensions[tenant] = count

    def _require(self, holds: bool, what: str) -> None:
        if not holds:
            raise self._error(what)
