"""Signatures pack what they declare, and say what they want when they cannot."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest

from splinter.errors import BadArgumentsError, ProtocolError
from splinter.ext.signature import Signature
from splinter.limits import PACKET_BODY_BYTES_MAX

SIGNATURE = Signature("f", (("a", "u64"), ("b", "i64"), ("c", "bool"), ("d", "bytes"), ("e", "bytes")), "u64")


def test_layout() -> None:
    packed = SIGNATURE.pack((1, -2), {"e": b"yz", "d": b"x", "c": True})
    assert packed == struct.pack("<QqQQQ", 1, -2, 1, 40 | 1 << 32, 41 | 2 << 32) + b"xyz"
    assert SIGNATURE.arguments_bytes_min == 40


def test_text_and_hash_are_stable() -> None:
    assert str(SIGNATURE) == "f(a: u64, b: i64, c: bool, d: bytes, e: bytes) -> u64"
    assert SIGNATURE.hash == Signature.from_wire(SIGNATURE.to_wire()).hash != 0
    assert Signature("f", (("a", "u64"),), "u64").hash == 5111905499113823609
    assert Signature("f", (("b", "u64"),), "u64").hash != Signature("f", (("a", "u64"),), "u64").hash


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "argument a is missing"),
        ((1, 2, True, b"", b"", 5), {}, "6 positional arguments for 5 parameters"),
        ((1,), {"a": 1, "b": 1, "c": True, "d": b"", "e": b""}, "argument a is given twice"),
        ((1, 2, True, b"", b""), {"z": 1}, "there is no parameter z"),
        ((-1, 2, True, b"", b""), {}, "a = -1 does not fit u64"),
        ((1 << 64, 2, True, b"", b""), {}, "does not fit u64"),
        ((1, 1 << 63, True, b"", b""), {}, "does not fit i64"),
        ((1, 2, 1, b"", b""), {}, "c is int, not bool"),
        ((True, 2, True, b"", b""), {}, "a is bool, not u64"),
        ((1.0, 2, True, b"", b""), {}, "a is float, not u64"),
        ((1, 2, True, "text", b""), {}, "d is str, not bytes"),
        ((1, 2, True, b"x" * PACKET_BODY_BYTES_MAX, b""), {}, "one packet carries"),
    ],
)
def test_wrong_arguments(args: tuple[object, ...], kwargs: dict[str, object], message: str) -> None:
    with pytest.raises(BadArgumentsError, match=message) as caught:
        SIGNATURE.pack(args, kwargs)
    assert str(SIGNATURE) in str(caught.value)


def test_results() -> None:
    def result(kind: str, value: bytes) -> object:
        return Signature("f", (), kind).unpack(value)

    assert result("None", b"") is None
    assert result("bytes", b"abc") == b"abc"
    assert result("u64", b"\xff" * 8) == 2**64 - 1
    assert result("i64", b"\xff" * 8) == -1
    assert result("bool", b"\1" + bytes(7)) is True
    with pytest.raises(ProtocolError):
        result("u64", b"short")


@pytest.mark.parametrize("wire", [{}, {"name": "f", "parameters": [["a"]], "result": "u64"}, [], 5,
                                  {"name": "f", "parameters": [["a", "str"]], "result": "u64"},
                                  {"name": "f", "parameters": [], "result": "text"},
                                  {"name": "f", "parameters": [["a", "u64"]] * 17, "result": "u64"}])  # fmt: skip
def test_bad_wire_signatures(wire: object) -> None:
    with pytest.raises(ProtocolError):
        Signature.from_wire(wire)  # type: ignore[arg-type]


def test_clients_need_no_compiler() -> None:
    code = "import sys, splinter.ext.signature, splinter.ext; print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "False False\n"
