"""The linker: what LLVM emits becomes one blob, and what must not be installed is refused."""

from __future__ import annotations

import contextlib
import ctypes

import llvmlite.binding as llvm
import pytest

from splinter.ext.native import elf, machine
from splinter.ext.native.code import CodeRegion

ENTRY = "resume0"


def object_file(text: str) -> bytes:
    target, _ = machine._target()
    module = llvm.parse_assembly(text)
    module.verify()
    return target.emit_object(module)  # type: ignore[no-any-return]


TABLE = f"""
@table = private unnamed_addr constant [4 x i64] [i64 10, i64 20, i64 30, i64 40]
define i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{
  %p = getelementptr i64, ptr @table, i64 %i
  %a = load i64, ptr %p
  %b = call i64 @twice(i64 %a)
  ret i64 %b
}}
define internal i64 @twice(i64 %a) noinline nounwind {{
  %b = add i64 %a, %a
  ret i64 %b
}}
"""
JUMPS = "\n".join(f"r{i}: ret i64 {i * i * 7 + 1}" for i in range(20))
SWITCH = f"""
define i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{
  switch i64 %i, label %no [{" ".join(f"i64 {i}, label %r{i}" for i in range(20))}]
no: ret i64 -1
{JUMPS}
}}
"""


def run(blob: bytes, argument: int) -> int:
    region = CodeRegion.create(4096)
    address, _ = region.write(blob)
    result = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(address)(argument, 0)
    region.close()
    return int(result)


def test_data_is_found_at_any_address() -> None:
    blob = elf.link(object_file(TABLE), [ENTRY]).code
    assert [run(blob, i) for i in range(4)] == [20, 40, 60, 80]


def test_jump_tables() -> None:
    blob = elf.link(object_file(SWITCH), [ENTRY]).code
    assert [run(blob, i) for i in range(21)] == [*(i * i * 7 + 1 for i in range(20)), -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"declare i64 @puts(i64)\ndefine i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{\n %r = call i64 @puts(i64 %i)\n"
         " ret i64 %r\n}", "puts|relocation type"),
        (f"@x = global i64 5\ndefine i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{\n %r = load i64, ptr @x\n ret i64 %r\n}}",
         r"\.data"),
        (f"@x = internal global i64 0\ndefine i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{\n store i64 %i, ptr @x\n ret i64 0\n}}",
         "zero-initialised"),
        (f"@x = constant ptr @{ENTRY}\ndefine i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{\n ret i64 0\n}}", r"\.data|relocation"),
        ("define i64 @other(i64 %i, i64 %j) nounwind {\n ret i64 0\n}", "not the first function"),
        (f"define i64 @other(i64 %i, i64 %j) nounwind {{\n ret i64 1\n}}\n"
         f"define i64 @{ENTRY}(i64 %i, i64 %j) nounwind {{\n ret i64 0\n}}", "not the first function"),
        (f"define i64 @{ENTRY}(i64 %i, i64 %j) uwtable {{\n ret i64 0\n}}", r"eh_frame|relocation"),
    ],
)  # fmt: skip
def test_refused_objects(text: str, message: str) -> None:
    with pytest.raises(elf.ObjectError, match=message):
        elf.link(object_file(text), [ENTRY])


def test_damaged_objects_are_refused_or_harmless() -> None:
    """Cutting or changing bytes never raises anything but ObjectError."""
    good = object_file(TABLE)
    for length in range(0, len(good), 7):
        with pytest.raises(elf.ObjectError):
            elf.link(good[:length], [ENTRY])
    for at in range(len(good)):
        for value in (0, 0xFF):
            damaged = bytearray(good)
            damaged[at] = value
            with contextlib.suppress(elf.ObjectError):
                assert elf.link(bytes(damaged), [ENTRY]).code


def test_several_entries_have_their_places_and_missing_ones_are_refused() -> None:
    text = f"{TABLE}\ndefine i64 @other(i64 %i, i64 %j) nounwind {{\n  ret i64 7\n}}"
    linked = elf.link(object_file(text), [ENTRY, "other"])
    assert linked.entries[0] == 0 < linked.entries[1] < len(linked.code)
    assert run(linked.code, 2) == 60
    assert run(linked.code[linked.entries[1] :], 2) == 7
    with pytest.raises(elf.ObjectError, match="no code for some entry"):
        elf.link(object_file(text), [ENTRY, "missing"])
    with pytest.raises(elf.ObjectError, match="not the first function"):
        elf.link(object_file(text), ["other", ENTRY])
