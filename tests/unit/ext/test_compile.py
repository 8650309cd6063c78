"""What lies between checking and machine code: blocks joined, effort chosen, routines linked, sources told apart."""

from __future__ import annotations

import pytest

from splinter.errors import CompileError
from splinter.ext import library
from splinter.ext.abi import FRAME_HEADER_BYTES, Isolation
from splinter.ext.compile import compile_extensions, compile_source
from splinter.ext.front.check import check, check_library
from splinter.ext.front.desugar import desugar
from splinter.ext.front.diagnostics import Diagnostic, Findings
from splinter.ext.front.parse import parse
from splinter.ext.middle import ir
from splinter.ext.middle.effort import waits_for_store
from splinter.ext.middle.ir import Op
from splinter.ext.middle.liveness import place
from splinter.ext.middle.lower import lower
from splinter.ext.middle.simplify import simplify
from splinter.ext.native import machine, routines
from splinter.ext.native.elf import ObjectError
from splinter.ext.native.llvm_text import LlvmModule, emit
from tests.support.runner import Runner


def lowered(source: str) -> ir.Function:
    findings = Findings(source)
    module = parse(source, findings)
    desugar(module)
    return lower(check(module.extensions[0], check_library(module, findings), None, findings))


def simplified(source: str) -> ir.Function:
    function = lowered(source)
    simplify(function)
    return function


def extension(body: str) -> ir.Function:
    lines = "\n".join("    " + line for line in body.split("\n"))
    return lowered(f"@extension\ndef f(db: Store, a: u64, k: bytes) -> u64:\n{lines}\n    return a")


CHOICE = "if a > 5:\n    pass\nelse:\n    a = 1\nassert a != 0"
COMPUTING = "for i in range(len(k)):\n    a = (a * 31 + k[i]) & 0xFFFFFFFF"
LOOKING_UP = "while db.exists(1, a):\n    a = (a + 1) & 0xFF"


def test_every_instruction_stays_and_empty_blocks_go() -> None:
    function = extension(CHOICE)
    before = [i for block in function.reachable() for i in block.instructions]
    entry = function.blocks[0]
    simplify(function)
    blocks = function.blocks
    assert sorted(map(id, before)) == sorted(id(i) for block in blocks for i in block.instructions)
    assert all(block.instructions or not isinstance(block.terminator, ir.Jump) for block in blocks)
    assert len(blocks) == 5  # the test, the assignment, the assertion, its failure, the result
    assert blocks[0] is entry


def test_back_edges_stay() -> None:
    function = extension("while True:\n    pass")
    simplify(function)
    jumps = [block.terminator for block in function.blocks if isinstance(block.terminator, ir.Jump)]
    assert sum(jump.may_yield for jump in jumps) == 1


@pytest.mark.parametrize(
    ("body", "waits"),
    [
        ("a += 1", True), (CHOICE, True), (LOOKING_UP, True), (COMPUTING, False), (f"{LOOKING_UP}\n{COMPUTING}", False),
        ("while True:\n    yield", False),
    ],
)  # fmt: skip
def test_effort(body: str, waits: bool) -> None:
    function = extension(body)
    simplify(function)
    assert waits_for_store(function) is waits


@pytest.mark.parametrize(("entry", "waits"), [("tao", True), ("long", True), ("forest", False), ("sha256", False)])
def test_effort_for_the_library(entry: str, waits: bool) -> None:
    assert {waits_for_store(simplified(source)) for source in library.entry(entry).sources.values()} == {waits}


def test_a_quick_yield_stores_nothing_but_where_to_go_on() -> None:
    function = extension("x = a * 2\nyield\na = x + len(k)")
    assert "resume1:" in emit([(function, place(function, preempt=True, in_frame=False))]).text
    placement = place(function, preempt=True, in_frame=True)
    assert "resume1:" not in emit([(function, placement)]).text
    assert placement.frame_bytes > FRAME_HEADER_BYTES


def test_what_is_checked_twice_in_a_block_is_checked_once() -> None:
    twice, once = (
        emit([(function, place(function, preempt=True, in_frame=False))]).text
        for function in (extension("a = k.u64(8) ^ k.u64(8)"), extension("a = k.u64(8)"))
    )
    assert twice.count("label %fail") == once.count("label %fail") > 0


@pytest.mark.parametrize("name", list(routines.MODULES))
def test_routines_are_linked_only_when_they_are_asked_for(name: str) -> None:
    result = {"copy": "void", "clear": "void", "bytes_equal": "i1"}.get(name, "i64")
    parameters = {"bytes_equal": 4, "clear": 2}.get(name, 3)
    call = f"call {result} @{name}({', '.join(['i64 0'] * parameters)})"
    text = f"""declare {routines.DECLARATIONS["@" + name] % f"@{name}"} nounwind
define i64 @resume(i64 %frame, i64 %context) nounwind {{
  {"" if result == "void" else "%ignored = "}{call}
  ret i64 0
}}"""
    assert machine.machine_code(LlvmModule(text, ["resume"], [name]), is_quick=True)
    with pytest.raises(ObjectError, match="external symbol"):
        machine.machine_code(LlvmModule(text, ["resume"], []), is_quick=True)


def test_extensions_of_one_source_have_digests_of_their_own() -> None:
    functions = "".join(f"@extension\ndef {name}(db: Store) -> u64:\n    return 1\n" for name in "fg")
    f, g = (compile_source(functions, name) for name in "fg")
    assert f.source_digest != g.source_digest
    assert f.source_digest == compile_source(functions, "f").source_digest


MIXED = """
def h(a: u64) -> u64:
    return a + {}

@extension
def f(db: Store, a: u64) -> bytes:
    v = db.get(1, h(a))
    return b"none" if v is None else v

@extension
def computing(db: Store, k: bytes) -> u64:
    a = 0
    for i in range(len(k)):
        a = (a * 31 + k[i]) & 0xFFFFFFFF
    return a

@extension
def g(db: Store, a: u64) -> bytes:
    db.put(1, h(a), b"put by g")
    return b"some"
"""


def test_extensions_of_one_source_are_compiled_together_each_with_the_effort_it_is_worth() -> None:
    f, computing, g = compile_extensions(MIXED.format(1), every=True)
    assert [one.name for one in (f, computing, g)] == ["f", "computing", "g"]
    assert f.code is g.code and f.source_digest == g.source_digest and f.entry != g.entry
    assert computing.source_digest != f.source_digest and computing.code != f.code
    assert computing.code == compile_source(MIXED.format(1), "computing").code
    assert (f.isolation, g.isolation) == (Isolation.READS, Isolation.WRITES)
    with Runner() as runner:
        assert runner.run(f, 5) == b"none"
        assert runner.run(g, 5) == b"some"
        assert runner.run(f, 5) == b"put by g"
        assert runner.run(computing, b"ab") == 97 * 31 + 98
    assert compile_extensions(MIXED.format(2), every=True)[0].source_digest != f.source_digest


@pytest.mark.parametrize("entry", library.NAMES)
def test_every_extension_of_the_library_is_compiled_by_its_own_name(entry: str) -> None:
    compiled = compile_extensions(library.text(entry), every=True)
    assert [one.name for one in compiled] == list(library.entry(entry).sources)


def test_what_is_too_large_when_compiled_quickly_is_compiled_thoroughly_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = len(compile_extensions(MIXED.format(1), every=True)[0].code)
    monkeypatch.setattr("splinter.ext.compile.CODE_BYTES_MAX", quick - 1)
    compiled = compile_extensions(MIXED.format(1), every=True)
    assert len({one.source_digest for one in compiled}) == 1
    with Runner() as runner:
        assert [runner.run(compiled[1], b"ab"), runner.run(compiled[0], 1)] == [97 * 31 + 98, b"none"]


def test_findings_of_all_extensions_are_told_at_once_and_names_must_differ() -> None:
    source = MIXED.format(1).replace("h(a))", "h(b))").replace("k[i]", "j[i]")
    with pytest.raises(CompileError) as refused:
        compile_extensions(source, every=True)
    assert [finding.rule for finding in refused.value.diagnostics] == ["unknown-name", "unknown-name"]
    with pytest.raises(CompileError, match="`f` is defined twice"):
        compile_extensions(MIXED.format(1).replace("def g", "def f"), every=True)
    with pytest.raises(CompileError, match="no extension"):
        compile_extensions("X = 1\n", every=True)


def test_sources_that_share_helpers_are_checked_each_with_its_own() -> None:
    source = "def h(a: u64) -> u64:\n    return a + {}\n@extension\ndef f(db: Store, a: u64) -> u64:\n    return h(a)\n"
    constants = []
    for number in (1, 2, 1):
        function = lowered(source.format(number))
        constants.append(next(i.operands[1] for i in function.instructions() if i.op is Op.UADD))
        assert compile_source(source.format(number)).code
    assert constants == [ir.word(1), ir.word(2), ir.word(1)]


def test_without_preemption_only_the_authors_yields_stay() -> None:
    source = "@extension\ndef f(db: Store, n: u64) -> u64:\n    for i in range(n):\n        {}\n    return n\n"
    with Runner(budget=1) as runner:
        for statement, preempt, resumes in (("pass", True, 3), ("pass", False, 1), ("yield", False, 4)):
            assert runner.run(compile_source(source.format(statement), preempt=preempt), 3) == 3
            assert runner.resumes == resumes
    with_yields, without = (compile_source(source.format("pass"), preempt=preempt) for preempt in (True, False))
    assert with_yields.source_digest != without.source_digest  # they share no code


def test_a_fault_of_the_compiler_is_a_finding_at_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is accepted and cannot be lowered; no source is known that does it, so the compiler is broken for it."""

    def fail(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("splinter.ext.middle.lower._Lowering._visit_Pass", fail)
    with pytest.raises(CompileError, match="the compiler fails at it: KeyError: 'x'") as caught:
        compile_source("@extension\ndef f(db: Store, a: u64) -> None:\n    a += 1\n    pass")
    (finding,) = caught.value.diagnostics
    assert isinstance(finding, Diagnostic)
    assert (finding.rule, finding.line) == ("internal", 4)
    assert "the fault is not yours" in finding.hint


def test_what_is_too_large_is_told_at_the_line_where_it_is() -> None:
    lines = "\n".join("    a = (a * 3) & 255" for _ in range(400))
    many = "\n".join("    b(a)" for _ in range(30))
    with pytest.raises(CompileError) as caught:
        compile_source(f"def b(a: u64) -> None:\n{lines}\n@extension\ndef f(db: Store, a: u64) -> None:\n{many}")
    (finding,) = caught.value.diagnostics
    assert isinstance(finding, Diagnostic)
    assert finding.rule == "too-large"
    assert finding.line > 1
