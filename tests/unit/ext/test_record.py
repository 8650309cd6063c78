"""Records of installed extensions survive the way through the store."""

from __future__ import annotations

import numpy as np
import pytest

from splinter.errors import ProtocolError
from splinter.ext import record
from splinter.ext.abi import MAY_WRITE, RECORD, Isolation, ResultKind, error_message
from splinter.ext.compile import compile_source

COMPILED = compile_source("@extension\ndef f(db: Store, a: u64, b: bytes) -> bytes:\n    return b[a:]\n", "shift")


def test_round_trip() -> None:
    value = record.build(COMPILED, 0x7F0000001040, 0x1040, 3, 17)
    installed = record.parse(value)
    assert installed.signature == COMPILED.signature
    assert installed.statistics == 17
    assert (installed.code_address, installed.code_offset, installed.version) == (0x7F0000001040, 0x1040, 3)
    assert (installed.code_bytes, installed.frame_bytes) == (len(COMPILED.code), COMPILED.frame_bytes)
    assert installed.result_kind == ResultKind.BYTES
    assert installed.source_digest == COMPILED.source_digest
    written = np.frombuffer(value, RECORD, 1)[0]
    assert (written["code"], written["signature_hash"]) == (0x7F0000001040, COMPILED.signature.hash)
    assert int(np.frombuffer(value, RECORD, 1)["arguments_bytes_min"][0]) == 16


@pytest.mark.parametrize(
    ("line", "writes"),
    [
        ("db.put(1, a, 1)", True),
        ("db.delete(1, a)", True),
        ("db.delete(1, a, version=7)", True),
        ("db.add(1, a, 1)", True),
        ("db.put_if(1, a, 1, 0)", True),
        ("db.log(b'x')", False),
        ("if db.exists(1, a): return db.now_ns()", False),
        ("first(db, a)", True),
        ("second(db, a)", False),
    ],
)
@pytest.mark.parametrize(
    ("decorator", "of_reader", "of_writer"),
    [
        ("@extension", Isolation.READS, Isolation.WRITES),
        ("@extension()", Isolation.READS, Isolation.WRITES),
        ("@extension(isolation='serializable')", Isolation.READS, Isolation.WRITES),
        ("@extension(isolation='none')", Isolation.NONE_READS, Isolation.NONE_WRITES),
    ],
)
def test_isolation(line: str, writes: bool, decorator: str, of_reader: Isolation, of_writer: Isolation) -> None:
    compiled = compile_source(
        f"{decorator}\ndef f(db: Store, a: u64) -> u64:\n    {line}\n    return 1\n\n"
        "def first(db: Store, a: u64) -> u64:\n    return third(db, a)\n\n"
        "def second(db: Store, a: u64) -> u64:\n    return 1 if db.exists(1, a) else 0\n\n"
        "def third(db: Store, a: u64) -> u64:\n    db.put(1, a, a)\n    return 1\n"
    )
    isolation = np.frombuffer(record.build(compiled, 1, 0, 1, 0), RECORD, 1)["isolation"][0]
    assert isolation == (of_writer if writes else of_reader)
    assert bool(isolation & MAY_WRITE) == writes


def test_damaged_records() -> None:
    value = record.build(COMPILED, 1, 0, 1, 0)
    for length in range(len(value)):
        with pytest.raises(ProtocolError):
            record.parse(value[:length])
    with pytest.raises(ProtocolError):
        record.parse(bytes(RECORD.itemsize))


def test_error_messages() -> None:
    assert error_message("f", 2, 17) == "f, line 17: integer overflow"
    assert error_message("f", 999, 1) == "f, line 1: error 999"
