"""Texts of the command line become typed arguments, and results become text."""

from __future__ import annotations

import pytest

from splinter.cli.arguments import parse, show
from splinter.errors import BadArgumentsError
from splinter.ext.signature import Signature

SIGNATURE = Signature("f", (("a", "u64"), ("b", "i64"), ("c", "bool"), ("d", "bytes")), "None")


def test_by_position_and_by_name():
    assert parse(SIGNATURE, ["1", "-2", "true", "text"]) == ([1, -2, True, b"text"], {})
    assert parse(SIGNATURE, ["0x10", "d=x=y", "c=no", "b=7"]) == ([16], {"d": b"x=y", "c": False, "b": 7})
    assert parse(SIGNATURE, []) == ([], {})


def test_bytes_come_as_text_hex_and_files(tmp_path):
    file = tmp_path / "content"
    file.write_bytes(b"\x00\xff")
    assert parse(SIGNATURE, ["d=hex:00ff"])[1] == {"d": b"\x00\xff"}
    assert parse(SIGNATURE, [f"d=@{file}"])[1] == {"d": b"\x00\xff"}
    assert parse(SIGNATURE, ["1", "2", "0", "e=mc2"])[0][3] == b"e=mc2"  # there is no parameter e


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["x"], "a='x' is not u64"),
        (["1.5"], "a='1.5' is not u64"),
        (["1", "2", "maybe"], "c='maybe' is not bool"),
        (["1", "2", "0", "hex:0"], "is not bytes"),
        (["d=@/no/such/file"], "No such file"),
        (["a=1", "2"], "after a named one"),
        (["1", "2", "0", "x", "5"], "too many"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_signature(texts, message):
    with pytest.raises(BadArgumentsError, match=message):
        parse(SIGNATURE, texts)


@pytest.mark.parametrize(
    ("result", "text"), [(5, "5"), (True, "true"), (b"text", "text"), (b"\x00\xff", "hex:00ff"), (b"a\nb", "hex:610a62")]
)
def test_results_are_shown(result, text):
    assert show(result) == text
