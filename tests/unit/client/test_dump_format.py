"""The lines of a dump: what was written is read again, and what is not as it should be is told with its line."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splinter import limits
from splinter.cli.restore import verify
from splinter.client.dump_format import (
    EXPIRES_MS_MAX,
    NS_PER_MS,
    DumpedExtension,
    DumpedObject,
    DumpedPart,
    End,
    Header,
    dumped,
    end_line,
    extension_line,
    header_line,
    object_line,
    objects_told,
    part_line,
    read_line,
    tenant_line,
)
from splinter.client.dump_reader import DumpReader
from splinter.errors import DumpError
from splinter.wire import DUMPED_LARGE, LARGE
from tests.support.dumps import EXTENSION, HEADER, OBJECT, TENANT, line, sealed

WHOLE = sealed(HEADER, TENANT, EXTENSION, OBJECT, {**OBJECT, "key": "other", "expires_unix_ms": 5})
KEYS = st.binary(min_size=1, max_size=limits.KEY_BYTES_MAX) | st.text(min_size=1, max_size=60).map(
    lambda text: text.encode(errors="replace")
)
OBJECTS = st.builds(
    DumpedObject,
    tenant=st.integers(1, limits.TENANTS_MAX - 1),
    table=st.integers(0, limits.TABLES_MAX - 1),
    key=KEYS,
    value=st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode(errors="replace")),
    expires_unix_ms=st.just(0) | st.integers(1, EXPIRES_MS_MAX),
    length=st.just(0),
)


def read(*pieces: bytes) -> list[Any]:
    return list(DumpReader(pieces))


@given(OBJECTS)
def test_an_object_is_read_as_it_was_written(one: DumpedObject):
    written = object_line(one)
    assert written.isascii() and written.endswith(b"\n") and written.count(b"\n") == 1
    assert read_line(written[:-1]) == one
    fields = json.loads(written)  # as any other tool
    key = fields["key"].encode() if "key" in fields else base64.b64decode(fields["key_base64"])
    value = fields["value"].encode() if "value" in fields else base64.b64decode(fields["value_base64"])
    assert (key, value) == (one.key, one.value)


@given(st.lists(OBJECTS, max_size=20))
def test_what_the_server_tells_becomes_lines(objects: list[DumpedObject]):
    told = b"".join(
        dumped(one.table, one.key, one.value, one.expires_unix_ms * NS_PER_MS, tenant=one.tenant, generation=3)
        for one in objects
    )
    found = list(objects_told(told, {one.tenant: 3 for one in objects}))
    assert found == objects
    assert [read_line(object_line(each)[:-1]) for each in found] == objects
    assert list(objects_told(told, {one.tenant: 4 for one in objects})) == []  # of the tenants before them


def test_a_moment_is_rounded_up_to_what_it_is_told_in():
    (found,) = objects_told(dumped(0, b"k", b"", NS_PER_MS + 1, tenant=7, generation=1), {7: 1})
    assert json.loads(object_line(found))["expires_unix_ms"] == 2


@pytest.mark.parametrize("cut", [1, 8, 24, 30])
def test_a_message_that_is_cut_is_no_objects(cut: int):
    told = dumped(0, b"key", b"value", tenant=7)
    with pytest.raises(Exception, match=r"cut|buffer"):
        list(objects_told(told + told[:-cut], {7: 0}))


@pytest.mark.parametrize("length", [1, limits.VALUE_BYTES_MAX, limits.LARGE_BYTES_MAX + 1, (1 << 64) - 1])
def test_a_server_that_tells_impossible_lengths_is_not_believed(length: int):
    told = dumped(0, b"key", LARGE.struct.pack(5, length), kind=DUMPED_LARGE, tenant=7)
    with pytest.raises(ValueError, match="too large"):
        list(objects_told(told, {7: 0}))


@given(st.sampled_from(["plain", "tab\there", "line\nend\r\n", "é", "𝄞"]))
def test_text_is_text(text: str):
    assert json.loads(object_line(DumpedObject(1, 0, text.encode(), b"", 0)))["key"] == text


@pytest.mark.parametrize("data", [b"\0", b"\xff", b"a\x1bb", b"\x7f", (5).to_bytes(8, "little"), b"\xed\xa0\x80"])
def test_what_is_no_text_is_base64(data: bytes):
    assert base64.b64decode(json.loads(object_line(DumpedObject(1, 0, data, data, 0)))["value_base64"]) == data


def test_the_other_lines_are_read_as_they_were_written():
    end = End(1, 2, 6, 3, (4, 5), "0" * 64)
    for of in (7, "all"):
        assert read_line(header_line(of, 12, "1.0")[:-1]) == Header(of, 12, "1.0")
    assert read_line(end_line(end)[:-1]) == end
    for source in (None, "text\n"):
        assert read_line(extension_line(7, "name", source, True)[:-1]) == DumpedExtension(7, "name", source, True)
    told = {**TENANT, "quota_bytes": limits.TENANT_QUOTA_BYTES_DEFAULT, "token": 0}
    assert json.loads(tenant_line(told)) == TENANT
    told |= {"quota_bytes": 5, "token": 0x1F}
    assert json.loads(tenant_line(told)) == TENANT | {"quota_bytes": 5, "token": "000000000000001f"}


# --- large values ------------------------------------------------------------------------------------------------------------

PIECE = limits.PART_BYTES


def parts_of(size: int, **other: Any) -> list[dict[str, Any]]:
    """The lines of the parts of a value."""
    sizes = [PIECE] * (size // PIECE) + ([size % PIECE] if size % PIECE else [])
    return [
        {"type": "part", "tenant": 7, "table": 1, "key": "dog", "number": number, "value": "v" * each} | other
        for number, each in enumerate(sizes)
    ]


def head_of(size: int, **other: Any) -> dict[str, Any]:
    return {"type": "object", "tenant": 7, "table": 1, "key": "dog", "length": size} | other


@given(st.builds(DumpedPart, st.just(7), st.integers(0, 9), KEYS, st.integers(0, 3), st.binary(min_size=1, max_size=300)))
def test_a_part_is_read_as_it_was_written(one: DumpedPart):
    assert read_line(part_line(one)[:-1]) == one


@pytest.mark.parametrize("size", [limits.VALUE_BYTES_MAX + 1, 2 * PIECE, 2 * PIECE + 1])
def test_a_large_value_stands_behind_its_parts(size: int):
    records = read(sealed(HEADER, TENANT, *parts_of(size), head_of(size), OBJECT, *parts_of(size), head_of(size)))
    assert sum(len(one.value) for one in records if isinstance(one, DumpedPart)) == 2 * size
    assert [one.length for one in records if isinstance(one, DumpedObject)] == [size, 0, size]
    for one in records:
        if isinstance(one, DumpedObject):
            assert read_line(object_line(one)[:-1]) == one


SIZE = 2 * PIECE + 10
PARTS, HEAD = parts_of(SIZE), head_of(SIZE)


@pytest.mark.parametrize(
    "lines",
    [
        [HEAD],
        PARTS,
        [*PARTS, OBJECT],
        [*PARTS[:2], HEAD],
        [*PARTS, head_of(SIZE - 1)],
        [*PARTS, head_of(SIZE, key="cat")],
        [*PARTS, head_of(SIZE, table=2)],
        [PARTS[0], *PARTS, HEAD],
        [PARTS[1], PARTS[0], PARTS[2], HEAD],
        [PARTS[0], OBJECT, *PARTS[1:], HEAD],
        [PARTS[0], PARTS[1] | {"key": "cat"}, PARTS[2], HEAD],
        [PARTS[0] | {"value": "short"}, PARTS[1], PARTS[2], head_of(5 + PIECE + 10)],
        [PARTS[0] | {"value": "v" * (PIECE + 1)}, HEAD],
        [PARTS[0] | {"value": ""}, HEAD],
        [PARTS[0] | {"number": limits.PARTS_MAX}, HEAD],
        [PARTS[0] | {"number": -1}, HEAD],
        [PARTS[0] | {"tenant": 8}, *PARTS[1:], HEAD],
        [*PARTS, HEAD | {"value": "too"}],
        [head_of(limits.VALUE_BYTES_MAX)],
        [head_of(0)],
        [head_of(limits.LARGE_BYTES_MAX + 1)],
    ],
)
def test_parts_that_are_no_value_are_refused(lines: list[dict[str, Any]]):
    with pytest.raises(DumpError):
        read(sealed(HEADER, TENANT, *lines))


# --- cut, damaged ------------------------------------------------------------------------------------------------------------


def test_a_dump_is_read_in_whatever_pieces_it_comes():
    whole = read(WHOLE)
    assert [type(one).__name__ for one in whole] == [
        "Header", "DumpedTenant", "DumpedExtension", "DumpedObject", "DumpedObject", "End",
    ]  # fmt: skip
    for size in (1, 7, 100):
        assert read(*(WHOLE[at : at + size] for at in range(0, len(WHOLE), size))) == whole


def test_a_dump_that_is_cut_anywhere_is_refused():
    for cut in range(len(WHOLE)):
        expected = WHOLE.count(b"\n", 0, cut) + 1
        with pytest.raises(DumpError, match=rf"line {expected}: .*cut") as refused:
            read(WHOLE[:cut])
        assert refused.value.line == expected
        with pytest.raises(DumpError, match=r"line \d+: .*(cut|no JSON|first line)"):
            verify(iter([WHOLE[:cut]]))
    verify(iter([WHOLE]))


def test_a_bit_that_is_another_one_is_seen():
    for at in range(len(WHOLE)):
        damaged = WHOLE[:at] + bytes([WHOLE[at] ^ 4]) + WHOLE[at + 1 :]
        with pytest.raises(DumpError):
            read(damaged)
        with pytest.raises(DumpError):
            verify(iter([damaged]))


@pytest.mark.parametrize("size", [1, 10, 1 << 20])
def test_verifying_takes_pieces_of_any_size(size: int):
    verify(WHOLE[at : at + size] for at in range(0, len(WHOLE), size))


def test_what_stands_behind_the_end_is_refused():
    for more in (b"\n", line(OBJECT), WHOLE, b"x"):
        with pytest.raises(DumpError, match=r"line 7: "):
            read(WHOLE + more)


def test_a_line_without_an_end_is_not_collected():
    def endless() -> Any:
        while True:
            yield bytes(1 << 16)

    for reads in (lambda: list(DumpReader(endless())), lambda: verify(endless())):
        with pytest.raises(DumpError, match="line 1: it has more than 1048576 bytes"):
            reads()


# --- lines that are none -----------------------------------------------------------------------------------------------------

DEEP = b"[" * 100_000
HOSTILE: list[bytes | dict[str, Any]] = [
    b"", b"null", b"[]", b"7", b'"text"', b"{", b"\xff", b'{"type":"object"', DEEP, b'{"type":' + DEEP, b"9" * 10_000,
    "é".encode(),
    {}, {"type": "objects"}, {"type": None}, {"type": ["object"]}, {"type": {}},
    {**OBJECT, "more": 1}, {**OBJECT, "tenant": 0}, {**OBJECT, "tenant": limits.TENANTS_MAX}, {**OBJECT, "tenant": "7"},
    {**OBJECT, "tenant": True}, {**OBJECT, "tenant": 7.0}, {**OBJECT, "tenant": 8}, {**OBJECT, "table": -1},
    {**OBJECT, "table": limits.TABLES_MAX}, {**OBJECT, "table": limits.TABLE_EXTENSIONS}, {**OBJECT, "table": None},
    {**OBJECT, "key": ""}, {**OBJECT, "key": "x" * 256}, {**OBJECT, "key": "é" * 128}, {**OBJECT, "key": None},
    {**OBJECT, "key": 5},
    {**OBJECT, "key": "\ud800"}, {**OBJECT, "key_base64": "a2V5"}, {**OBJECT, "value": "x" * (limits.VALUE_BYTES_MAX + 1)},
    {**OBJECT, "value": None}, {**OBJECT, "expires_unix_ms": 0}, {**OBJECT, "expires_unix_ms": -1},
    {**OBJECT, "expires_unix_ms": EXPIRES_MS_MAX + 1}, {**OBJECT, "expires_unix_ms": 1e3}, {**OBJECT, "expires_unix_ms": "5"},
    {**{name: OBJECT[name] for name in ("type", "tenant", "table", "key")}, "value_base64": "?"},
    {**{name: OBJECT[name] for name in ("type", "tenant", "table", "key")}, "value_base64": "YQ=\n="},
    {**{name: OBJECT[name] for name in ("type", "tenant", "table", "key")}, "value_base64": "YWJ"},
    {**{name: OBJECT[name] for name in ("type", "tenant", "table", "key")}, "value_base64": "é"},
    {**{name: OBJECT[name] for name in ("type", "tenant", "table", "key")}, "value_base64": 5},
    *({name: OBJECT[name] for name in OBJECT if name != missing} for missing in OBJECT),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE)))
def test_a_line_that_is_none_is_told_with_its_number(place: int):
    with pytest.raises(DumpError, match=r"line 4: ") as refused:
        read(sealed(HEADER, TENANT, OBJECT, HOSTILE[place], OBJECT))
    assert len(str(refused.value)) < 400


HOSTILE_TENANTS: list[dict[str, Any]] = [
    {**TENANT, "tenant": 8}, {**TENANT, "quota_bytes": -1}, {**TENANT, "quota_bytes": 1 << 63}, {**TENANT, "quota_bytes": "1"},
    {**TENANT, "durability": "maybe"}, {**TENANT, "durability": ["none"]}, {**TENANT, "token": "1f"},
    {**TENANT, "token": "0" * 16},
    {**TENANT, "token": "g" * 16}, {**TENANT, "packets_per_second": limits.PACKETS_PER_SECOND_MAX + 1}, {**TENANT, "home": 1},
    *({name: TENANT[name] for name in TENANT if name != missing} for missing in TENANT),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE_TENANTS)))
def test_a_tenant_that_cannot_be_is_told_with_its_line(place: int):
    with pytest.raises(DumpError, match=r"line 2: "):
        read(sealed(HEADER, HOSTILE_TENANTS[place]))


HOSTILE_EXTENSIONS: list[dict[str, Any]] = [
    {**EXTENSION, "name": "no name"}, {**EXTENSION, "name": "x" * 65}, {**EXTENSION, "name": 5}, {**EXTENSION, "together": 1},
    {**EXTENSION, "source": ""}, {**EXTENSION, "source": 5}, {**EXTENSION, "source": "x" * (limits.SOURCE_BYTES_MAX + 1)},
    {**EXTENSION, "source": "\ud800"}, {**EXTENSION, "source_base64": "YQ=="}, {**EXTENSION, "tenant": 8},
    *({name: EXTENSION[name] for name in EXTENSION if name != missing} for missing in EXTENSION),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HOSTILE_EXTENSIONS)))
def test_an_extension_that_cannot_be_is_told_with_its_line(place: int):
    with pytest.raises(DumpError, match=r"line 3: "):
        read(sealed(HEADER, TENANT, HOSTILE_EXTENSIONS[place]))


HEADERS: list[dict[str, Any]] = [
    {**HEADER, "version": 2}, {**HEADER, "version": 0}, {**HEADER, "of": "7"}, {**HEADER, "of": 0}, {**HEADER, "of": ["all"]},
    {**HEADER, "at_unix_ms": -1}, {**HEADER, "server": 5}, {**HEADER, "more": 5}, TENANT, OBJECT, EXTENSION,
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(HEADERS)))
def test_a_first_line_that_is_none(place: int):
    with pytest.raises(DumpError, match=r"line 1: "):
        read(sealed(HEADERS[place], TENANT))


ALL = {**HEADER, "of": "all"}
OTHER = {**TENANT, "tenant": 8}
ORDERS: list[tuple[list[dict[str, Any]], int]] = [
    ([HEADER, HEADER], 2),
    ([HEADER, TENANT, TENANT], 3),
    ([HEADER, OBJECT, TENANT], 2),
    ([ALL, TENANT, OBJECT, OTHER], 4),
    ([ALL, TENANT, EXTENSION, OTHER], 4),
    ([HEADER, EXTENSION, TENANT], 2),
    ([HEADER, TENANT, OBJECT, EXTENSION], 4),
    ([ALL, TENANT, OTHER, EXTENSION, {**EXTENSION, "tenant": 8}, EXTENSION], 6),
    ([HEADER, TENANT, *[EXTENSION] * (limits.EXTENSIONS_PER_TENANT_MAX + 1)], 3 + limits.EXTENSIONS_PER_TENANT_MAX),
]


@pytest.mark.parametrize("place", range(len(ORDERS)))
def test_lines_that_stand_where_they_must_not(place: int):
    lines, number = ORDERS[place]
    with pytest.raises(DumpError, match=rf"line {number}: "):
        read(sealed(*lines))


ENDS: list[dict[str, Any]] = [
    {"objects": 2}, {"objects": -1}, {"tenants": 0}, {"extensions": 1}, {"incomplete": None}, {"incomplete": [0]},
    {"incomplete": ["7"]}, {"sha256": "0" * 64}, {"sha256": "0"}, {"sha256": None}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(ENDS)))
def test_an_end_that_does_not_fit(place: int):
    with pytest.raises(DumpError, match=r"line 4: "):
        read(sealed(HEADER, TENANT, OBJECT, **ENDS[place]))


@given(st.binary(max_size=200))
def test_whatever_a_line_is_made_of(raw: bytes):
    try:
        read_line(raw)
    except ValueError as error:
        assert str(error)


FIELDS = st.dictionaries(
    st.sampled_from([*OBJECT, *TENANT, *EXTENSION, *HEADER, "key_base64", "expires_unix_ms", "sha256", "incomplete"]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers(), max_size=2),
)


@given(st.sampled_from([OBJECT, TENANT, EXTENSION, HEADER]), FIELDS)
def test_whatever_stands_in_its_fields(of: dict[str, Any], fields: dict[str, Any]):
    try:
        read_line(json.dumps({**of, **fields}).encode())
    except ValueError as error:
        assert str(error)
