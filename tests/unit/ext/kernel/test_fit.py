"""What the compiler has for the kernel, and what it says of the rest. LLVM's work is done in a child: it ends a process."""

from __future__ import annotations

import pytest
from splinter_bench.subjects.only_reading import only_reading

from splinter.errors import CompileError
from splinter.ext.compile import compile_source
from splinter.ext.kernel import layout
from splinter.ext.kernel.code import KernelCode
from tests.property.hostile.in_child import in_child

PLACED_LEAST = 0.9  # of what only reads


def kernel(source: str) -> KernelCode:
    """What the compiler has of a source's only extension."""
    return in_child(lambda note: compile_source(source, kernel=True).kernel)


def body(text: str, parameters: str = "x: u64", result: str = "u64", decorator: str = "@extension") -> str:
    """A source whose body begins in its third line."""
    lines = "".join(f"    {line}\n" for line in text.split("\n"))
    return f"{decorator}\ndef f(db: Store, {parameters}) -> {result}:\n{lines}"


def test_what_only_reads_has_code() -> None:
    found = kernel(body("v = db.get(1, x)\nreturn 0 if v is None else v.u64(0)"))
    assert found.object_file.startswith(b"\x7fELF") and found.identity != 0 and found.text == ""


def test_each_compilation_has_an_identity_of_its_own() -> None:
    source = body("return x")
    assert kernel(source).identity != kernel(source).identity


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("y = x\ndb.put(1, y, y)\nreturn y", "line 4: it writes, and in the kernel extensions only read"),
        ("db.delete(1, x)\nreturn x", "line 3: it writes, and in the kernel extensions only read"),
        ("return db.add(1, x, 1)", "line 3: it writes, and in the kernel extensions only read"),
        ("y = x + 1\nz = y\ndb.log(b'here')\nreturn z", "line 5: db.log is not offered in the kernel"),
        ("y = f64(x)\ndb.put(1, x, x, ttl=y)\nreturn x", "line 4: it writes, and in the kernel extensions only read"),
        ("db.expire(1, x, 60)\nreturn x", "line 3: it writes, and in the kernel extensions only read"),
        ("y = x\nreturn u64(db.ttl(1, y))", "line 4: db.ttl is not offered in the kernel"),
        ("return db.now_ns()", "line 3: db.now_ns is not offered in the kernel"),
        ("y = f64(x)\nreturn u64(y * 0.5)", "line 3: the kernel has no floats"),
    ],
)
def test_the_reason_names_the_line(text: str, told: str) -> None:
    found = kernel(body(text))
    assert (found.object_file, found.identity, found.text) == (b"", 0, told)


def test_constants_have_a_limit() -> None:
    table = ", ".join(str(number << 40) for number in range(layout.DATA_BYTES_MAX // 8 + 1))
    found = kernel(f"TABLE = ({table})\n\n@extension\ndef f(db: Store, x: u64) -> i64:\n    return TABLE[x]\n")
    assert found.object_file == b"" and "constants have" in found.text


def test_a_place_in_the_worker_is_kept() -> None:
    found = kernel(body("return x", decorator="@extension(place='worker')"))
    assert (found.object_file, found.text) == (b"", "its author placed it there")


def test_a_place_in_the_kernel_is_had_or_refused() -> None:
    assert kernel(body("return x", decorator="@extension(place='kernel')")).is_required
    with pytest.raises(CompileError) as caught:
        compile_source(body("y = x\ndb.put(1, y, y)\nreturn y", decorator="@extension(place='kernel')"), kernel=True)
    (finding,) = caught.value.diagnostics
    assert (finding.line, finding.rule) == (4, "place")
    assert "cannot run in the kernel: it writes" in finding.message


def test_without_a_tier_the_compiler_does_not_look() -> None:
    assert compile_source(body("return x")).kernel == KernelCode()
    assert compile_source(body("return x", decorator="@extension(place='kernel')")).kernel == KernelCode(is_required=True)


@pytest.mark.parametrize(
    "text",
    [  # each led LLVM to what BPF has not: products of 128 bits, tables
        "return x * x",
        "y: i64 = -3\nreturn u64(y * y) + x * 12345",
        "return ctz(x) + clz(x) + popcount(x)",
        "\n".join(f"if x == {number}: return {number * number}" for number in range(1, 12)) + "\nreturn 0",
        "return crc32(b'abc') + hash64(b'abc') % 7 + x // 10",
    ],
)
def test_no_code_ends_llvm(text: str) -> None:
    assert kernel(body(text)).object_file


def test_an_llvm_without_bpf_leaves_all_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splinter.ext.kernel.machine._TARGET", "no-such-target")
    found = kernel(body("return x"))
    assert (found.object_file, found.text) == (b"", "LLVM makes no code of it for the kernel")


def test_nine_of_ten_that_only_read_have_code() -> None:
    found = {name: kernel(source) for name, source in only_reading().items()}
    assert len(found) >= 15
    without = {name: code.text for name, code in found.items() if not code.object_file}
    assert len(without) <= (1 - PLACED_LEAST) * len(found), without
