"""Records of installed extensions survive the way through the store."""

from __future__ import annotations

import numpy as np
import pytest

from splinter.errors import ProtocolError
from splinter.ext import record
from splinter.ext.abi import RECORD, ResultKind, error_message
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
        ("db.put_if(1, a, 1, 0)", True),
        ("db.log(b'x')", False),
        ("if db.exists(1, a): return db.now_ns()", False),
    ],
)
def test_whether_it_writes(line: str, writes: bool) -> None:
    compiled = compile_source(f"@extension\ndef f(db: Store, a: u64) -> u64:\n    {line}\n    return 1\n")
    assert bool(np.frombuffer(record.build(compiled, 1, 0, 1, 0), RECORD, 1)["writes"][0]) == writes


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
