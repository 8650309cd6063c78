"""docs/reference/protocol.md says what the code does: tables, limits, and the example's bytes."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from splinter import limits
from splinter.client.admin import TenantInfo
from splinter.client.channel import Channel
from splinter.client.line import Line
from splinter.errors import Status
from splinter.wire import (
    ENTRIES_MAX,
    ENTRY,
    ENTRY_DELETES,
    ENTRY_EXPIRES,
    ENTRY_READS,
    HEADER,
    MULTIGET_MISSING,
    MULTIGET_TOO_LARGE,
    Header,
    Opcode,
)
from tests.support.handlers import fields_of_operations

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "protocol.md"


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text()


def rows(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table behind a heading."""
    table = page.split(heading, 1)[1].split("\n|", 1)[1].split("\n\n", 1)[0]
    lines = [line.strip("| ").split(" | ") for line in table.split("\n")[2:]]
    return [[cell.strip(" `|") for cell in line] for line in lines]


def test_the_header_table_is_the_header(page):
    fields = [(int(row[0]), int(row[1]), row[2]) for row in rows(page, "## The packet")]
    assert fields == [(HEADER.offset(name), HEADER.dtype[name].itemsize, name) for name in HEADER.names]


def test_the_table_of_an_entry_is_the_entry(page):
    *told, behind = rows(page, "### TRANSACT")
    fields = [(ENTRY.offset(name), ENTRY.dtype[name].itemsize, name) for name in ENTRY.names]
    assert [(int(row[0]), int(row[1]), row[2]) for row in told] == fields
    assert int(behind[0]) == ENTRY.itemsize
    assert all(f"0x{flag:X}" in told[2][3] for flag in (ENTRY_DELETES, ENTRY_READS, ENTRY_EXPIRES))
    assert f"1 to {ENTRIES_MAX} entries" in page


def test_the_opcode_table_is_the_opcodes(page):
    assert {row[1]: int(row[0]) for row in rows(page, "## Opcodes")} == {code.name: code.value for code in Opcode}


def test_the_status_table_is_the_statuses(page):
    told = {row[1]: (int(row[0]), row[2] if len(row) > 2 else "") for row in rows(page, "## Statuses")}
    assert told == {status.name: (status.value, status.text) for status in Status}


def test_the_table_of_control_operations_names_all_their_fields(page):
    told = {op.strip("`"): words for op, words, *_ in rows(page, "Operations of a tenant need")}
    for op, read in fields_of_operations().items():
        assert not {name for name in read if not re.search(rf"\b{name}\b", told[op])}, op


def test_the_page_names_all_that_is_told_of_a_tenant(page):
    told = " ".join(cell for row in rows(page, "Operations of a tenant need") if row[0].startswith("tenant") for cell in row)
    assert not [field.name for field in fields(TenantInfo) if not re.search(rf"\b{field.name}\b", told)]


def test_the_numbers_are_the_limits(page):
    for number in (
        limits.PORT_DEFAULT, limits.UDP_PAYLOAD_BYTES_MAX, limits.PACKET_BODY_BYTES_MAX, limits.FRAGMENT_BYTES,
        limits.FRAGMENTS_MAX, limits.MULTIGET_KEYS_MAX, limits.VALUE_BYTES_MAX, limits.KEY_BYTES_MAX,
        limits.TENANTS_MAX - 1, limits.TABLES_MAX - 1, limits.EXTENSION_NAME_BYTES_MAX, limits.CONTROL_IDLE_SECONDS,
        limits.CONTROL_CONNECTIONS_MAX, limits.TENANTS_PER_MESSAGE_MAX,
    ):  # fmt: skip
        assert re.search(rf"\b{number}\b", page), number
    assert f"0x{MULTIGET_MISSING:X}" in page
    assert f"0x{MULTIGET_TOO_LARGE:X}" in page


def test_the_example_is_what_the_client_sends(page, responder):
    request, reply = (bytes.fromhex(block) for block in re.findall(r"```\n([0-9a-f \n]+)```", page))
    channel = Channel(Line("127.0.0.1", responder.port, 7, 0x1122334455667788, None, 1.0), 1.0)
    channel.line._client = 0xAA
    assert channel.packet(Opcode.PUT, 1, 1, b"dog", b"barks") == request
    channel.line.close()
    answered = Header.unpack(reply)
    assert (answered.opcode, answered.status, answered.flags, answered.object_version) == (Opcode.PUT, 0, 1, 4160)
    assert len(reply) == limits.REQUEST_HEADER_BYTES


SERVER = PAGE.parents[2] / "splinter" / "server"


def test_every_control_operation_is_on_the_page(page):
    source = (SERVER / "control" / "operations.py").read_text()
    operations = re.findall(r'^            "([a-z.]+)": self\._[a-z_]+,$', source, re.MULTILINE)
    assert {"hello", "tenant.create", "extension.install", "stats"} < set(operations)
    assert [op for op in operations if f"| `{op}` |" not in page] == []


def codes(source: str) -> set[str]:
    """The codes of the errors that a module makes, whatever else stands in the call."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    errors = [call for call in calls if call.func.id in ("ControlError", "PermissionDeniedError") and len(call.args) > 1]
    return {node.value for call in errors for node in ast.walk(call.args[1]) if isinstance(node, ast.Constant)}


def test_every_code_of_a_control_error_is_on_the_page(page):
    assert codes('ControlError(f"{a(b)}", "one" if x() else "two")') == {"one", "two"}
    found = {code for file in SERVER.rglob("*.py") for code in codes(file.read_text())}
    assert {"bad_request", "unknown_op", "permission_denied"} < found
    assert sorted(code for code in found if f"`{code}`" not in page) == []
