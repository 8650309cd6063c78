"""The verifier alone: what it refuses whatever came before it, and what a single slip before it can do."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from splinter.errors import CompileError
from splinter.ext import abi, compile
from splinter.ext.abi import ExtensionError, ResultKind
from splinter.ext.compile import compile_source
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Instruction, Kind, Op
from splinter.ext.middle.liveness import place
from splinter.ext.middle.verifier import UnprovenError, verify
from splinter.limits import BYTES_PER_COST, HELPER_COST, VALUE_BYTES_MAX
from tests.support.forms import accepted, placed
from tests.support.ir_model import Model, ViolationError
from tests.support.ir_mutants import Mutant, applied, mutants

PARAMETERS = "db: Store, a: i64, b: u64, k: bytes"
PROGRAMS = {  # name: body, result
    "views": ("v = k[a:b]\nw = db.get(1, v)\nif w is None:\n    return b\nreturn w.u64(8) + w[a] + v.u32(b)", "u64"),
    "joined views": ("v = k\nif b > 3:\n    v = db.get(2, b)\nyield\nif v is None:\n    return b''\nreturn v[1:]", "bytes"),
    "slices": ("while a < 3:\n    a += 1\nreturn k[:a].u32(4) + k[1:][a:].u64(0) + k[:a][b:].u16(b & 7)", "u64"),
    "arrays": ("c = array(u32, 9)\nfor i in range(9):\n    c[i] = i\n    if len(k) > 3:\n        yield\nreturn c[b]", "u64"),
    "buffers": ("o = buffer(40)\no.append(k)\no.append_u16(7)\no.set_u32(b, 5)\ndb.put(3, k, o)\nreturn o[2:]", "bytes"),
    "records": ("n = b\nfor r in k.records(8):\n    n ^= r.u64(0)\n    if b > 3:\n        yield\nreturn n", "u64"),
    "multiget": ("n = 0\nfor v in db.multiget(1, k, 8):\n    if v is not None:\n        n += len(v)\nreturn n", "u64"),
    "numbers": ("x = a // (a - 3) + a % 7\ny = b // (b | 1) + (b >> (b % 64)) + u64(f64(b))\nreturn y + (x & 255)", "u64"),
    "digest": ("if k == b'secret':\n    return 1\nreturn crc32(k) + k.u16(crc32(k))", "u64"),
    "several results": ("return a, b + len(k)", "tuple[i64, u64]"),
    "errors": ("if b > 3:\n    raise Error(7)\nassert a < 9\nif len(k) > 2:\n    raise Error(b)\nreturn k[0]", "u64"),
    "counters": ("n = db.add(1, b, a)\nif db.delete(2, k, version=n):\n    yield\n    n = db.add(1, k, 2)\nreturn n", "u64"),
    "lifetimes": (
        "db.put(1, b, k, ttl=a)\nif db.expire(1, k, 0.5):\n    yield\nreturn int(db.ttl(1, b)) + int(db.persist(1, k))",
        "i64",
    ),
    "versions": ("n = db.version(1, b)\nif not db.put_if(1, b, k, n):\n    return db.now_ns()\nreturn n", "u64"),
}  # fmt: skip

# What may remain after one slip, and why it is harmless: nothing of it reaches beyond what is the task's own anyway.
HARMLESS = {
    "drop": "a check of numbers or None, one that was made before, or a result that nobody reads: None is a view of no bytes",
    "exchange with the next": "the two do not depend on each other",
    "move forward": "what it is moved past does not depend on it, nor it on that",
    "move to the end": "a check of numbers, or one that was made before",
    "reverse operands": "another number, or one that is the same",
    "exchange arms": "another number",
    "another operation": "another number is computed or compared",
    "another size": "another word, another cell, another field of what the task may access all the same; or more is spent",
    "another error": "the same one, or one with a code that was stored",
    "another operand": "another number or another view of the task's own",
    "another target": "a register that nobody reads, or another number",
    "exchange branches": "another way that the code may take all the same",
    "branch elsewhere": "another way that the code may take all the same",
    "another condition": "another way that the code may take all the same",
    "jump elsewhere": "another way that the code may take all the same",
    "resume elsewhere": "another way that the code may take all the same",
    "no end": "more is computed",
    "no yield": "the budget, which it still looks at, makes it yield",
    "a turn for less": "a turn still costs what it has instructions",
    "a turn for nothing": "a checkpoint of straight code costs nothing anyway",
    "another place in the frame": "a place that is free",
    "come back elsewhere": "a number that is free",
}
# What is never harmless, of whatever instruction.
ALWAYS_REFUSED = {
    "no terminator", "a turn for no price", "no price", "no word", "no look at the budget", "no look whether it is there",
    "no cell", "no place in the frame", "drop what a yield saves", "come back nowhere",
}  # fmt: skip
GUARDS = {ExtensionError.CAPACITY, ExtensionError.DIVISION, ExtensionError.SHIFT}  # each before one instruction only
SEEDS = 6
Verified = tuple[ir.Function, ir.Placement, ResultKind]


def source(name: str) -> str:
    body, result = PROGRAMS[name]
    return f"@extension\ndef f({PARAMETERS}) -> {result}:\n    " + body.replace("\n", "\n    ")


def verified(text: str) -> Iterator[Verified]:
    return placed(accepted(text))


def arguments(chance: random.Random) -> bytes:
    """Of a, b and k, mostly well-formed."""
    content = bytes(chance.choice([0, 1, 8, 255]) for _ in range(chance.choice([0, 3, 8, 16, 40])))
    words = [chance.choice([0, 1, 2, 3, 8, (1 << 64) - 1, 1 << 63]) for _ in range(2)]
    view = len(content) << 32 | 24 if chance.random() < 0.8 else chance.getrandbits(64)
    return b"".join(word.to_bytes(8, "little") for word in (*words, view)) + content


def violation(function: ir.Function, placement: ir.Placement, result: ResultKind) -> str:
    """What the code does that it must not, found by running it; empty when nothing is."""
    for seed in range(SEEDS):
        try:
            Model(function, placement, result, seed).run(arguments(random.Random(seed)), steps_max=400)
        except ViolationError as error:
            return str(error)
    return ""


def is_refused(function: ir.Function, placement: ir.Placement, result: ResultKind) -> bool:
    try:
        verify(function, placement, result)
    except UnprovenError as error:
        assert str(error)
        return True
    return False


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_model_finds_nothing_in_what_is_accepted(name: str) -> None:
    for one in verified(source(name)):
        verify(*one)
        assert not violation(*one)


def must_be_refused(mutant: Mutant) -> bool:
    """By what it is: without running it."""
    if mutant.operator in ALWAYS_REFUSED:
        return True
    instruction = mutant.instruction
    if instruction is None or mutant.operator != "drop":
        return False
    if instruction.op in (Op.SPEND, Op.CLEAR, Op.FRAME, Op.DATA, Op.SCRATCH):
        return True
    checks = [one for one in mutant.block.instructions if one.op is Op.CHECK]
    return instruction.op is Op.CHECK and instruction.error in GUARDS and instruction is checks[-1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_single_slip_is_refused_or_harmless(name: str) -> None:
    """Every change to every instruction, way and place: either refused, or of a known kind and without harm when it is run."""
    counts: Counter[str] = Counter()
    for one in verified(source(name)):
        function, placement, _ = one
        for mutant in mutants(function, placement):
            is_certain = must_be_refused(mutant)
            with applied(mutant):
                refused = is_refused(*one)
                assert refused or not is_certain, mutant
                assert refused or mutant.operator in HARMLESS, mutant
                if not refused:
                    assert violation(*one) == "", mutant
                counts["refused" if refused else "harmless"] += 1
                counts["certain"] += is_certain
        verify(*one)  # all is as it was
    assert counts["refused"] > 100
    assert counts["refused"] > counts["harmless"]
    assert counts["certain"] >= 5


def test_the_model_sees_harm_in_what_is_refused() -> None:
    """Else it would prove nothing that it sees none in what is accepted."""
    seen = 0
    for one in verified(source("views")):
        for mutant in mutants(*one[:2]):
            if mutant.operator in ("drop", "another operand", "another size"):
                with applied(mutant):
                    seen += is_refused(*one) and bool(violation(*one))
    assert seen >= 100


# --- by hand -----------------------------------------------------------------------------------------------------------


class Code:
    """A function made instruction by instruction."""

    def __init__(self) -> None:
        self.function = ir.Function("f")
        self.block = self.function.new_block()

    def __call__(self, op: Op, *operands: ir.Operand, size: int = 0, error: int = 0, kind: Kind = Kind.WORD) -> ir.Register:
        """Append an instruction with a result."""
        target = self.function.new_register(kind)
        self.block.instructions.append(Instruction(op, target, operands, size, error))
        return target

    def do(self, op: Op, *operands: ir.Operand, size: int = 0, error: int = 0) -> None:
        self.block.instructions.append(Instruction(op, None, operands, size, error))

    def new_block(self) -> ir.Block:
        return self.function.new_block()

    def store_result(self, value: ir.Operand) -> None:
        self.do(Op.STORE, self(Op.FRAME, size=abi.F_RESULT), value, size=8)

    def refused(self, result: ResultKind = ResultKind.SCALAR) -> bool:
        forms = [place(self.function, preempt=True, in_frame=in_frame) for in_frame in (False, True)]
        refused = [is_refused(self.function, placement, result) for placement in forms]
        assert refused[0] == refused[1]
        return refused[0]


def found(code: Code) -> tuple[ir.Register, ir.Register]:
    """An object of the store: address and length."""
    code.do(Op.SPEND, size=HELPER_COST)
    cell = code(Op.SCRATCH, size=0)
    code.function.scratch_cells = 1
    code.do(Op.STORE, cell, ir.word(5), size=8)
    code(Op.HELPER, ir.word(1), cell, ir.word(8), size=abi.C_GET)
    return tuple(code(Op.LOAD, code(Op.FRAME, size=at), size=8) for at in (abi.F_OUT_ADDRESS, abi.F_OUT_LENGTH))  # type: ignore[return-value]


def reader_of_nothing(*, assigned: bool) -> Code:
    """``x = nothing(n)``, which assigns no register, joined with what a get found, and read under a check of the length."""
    code = Code()
    address, length = (code.function.new_register(Kind.WORD) for _ in range(2))
    resumed, found_it, joined = (code.new_block() for _ in range(3))
    if assigned:
        for register in (address, length):
            code.block.instructions.append(Instruction(Op.MOVE, register, (ir.ZERO,)))
    code.block.terminator = ir.Yield(resumed)
    code.block = resumed
    tenant = code(Op.LOAD, code(Op.FRAME, size=abi.F_TENANT), size=4)
    is_large = code(Op.ULT, ir.word(9), tenant, kind=Kind.BIT)
    code.block.terminator = ir.Branch(is_large, found_it, joined)
    code.block = found_it
    for register, value in zip((address, length), found(code), strict=True):
        code.block.instructions.append(Instruction(Op.MOVE, register, (value,)))
    code.block.terminator = ir.Jump(joined)
    code.block = joined
    fits = code(Op.ULE, ir.word(8), length, kind=Kind.BIT)
    code.do(Op.CHECK, fits, error=ExtensionError.INDEX)
    code.store_result(code(Op.LOAD, address, size=8))
    code.block.terminator = ir.Done()
    return code


def test_a_value_that_a_helper_function_never_gave_is_refused() -> None:
    """Though lowering had forgotten again that a helper function may end without ``return``."""
    assert reader_of_nothing(assigned=False).refused()
    assert not reader_of_nothing(assigned=True).refused()


def test_what_a_get_left_is_gone_after_the_next_helper() -> None:
    for helper, refused in ((None, False), (abi.C_NOW_NS, True), (abi.C_GET, False)):
        code = Code()
        address, length = found(code)
        if helper == abi.C_GET:
            _, length = found(code)  # another object's: too late for the first address
            refused = True
        elif helper is not None:
            code.do(Op.SPEND, size=HELPER_COST)
            code(Op.HELPER, size=helper, error=ExtensionError.UNAVAILABLE)
            length = code(Op.LOAD, code(Op.FRAME, size=abi.F_OUT_LENGTH), size=8)
        code.do(Op.CHECK, code(Op.ULE, ir.word(8), length, kind=Kind.BIT), error=ExtensionError.INDEX)
        code.store_result(code(Op.LOAD, address, size=8))
        code.block.terminator = ir.Done()
        assert code.refused() is refused, helper


@pytest.mark.parametrize("helper", [abi.C_EXPIRE, abi.C_PERSIST, abi.C_DELETE])
def test_a_copy_of_a_value_is_paid_for_as_of_the_longest(helper: int) -> None:
    """What ``expire`` and ``persist`` copy has a length that the code does not know."""
    for paid, is_enough in ((HELPER_COST, helper == abi.C_DELETE), (HELPER_COST + VALUE_BYTES_MAX // BYTES_PER_COST, True)):
        code = Code()
        code.do(Op.SPEND, size=paid)
        cell = code(Op.SCRATCH, size=0)
        code.function.scratch_cells = 1
        code.do(Op.STORE, cell, ir.word(5), size=8)
        further = [ir.word(0)] if helper == abi.C_EXPIRE else []
        code.store_result(code(Op.HELPER, ir.word(1), cell, ir.word(8), *further, size=helper))
        code.block.terminator = ir.Done()
        assert code.refused() is not is_enough


@pytest.mark.parametrize("before", ["nothing", "another block", "cleared", "cleared on one way", "cleared behind", "a count"])
def test_the_count_of_a_buffer_is_read_where_it_was_written(before: str) -> None:
    """Else it is what a task left there to which the frame belonged before, and as large as that liked."""
    code = Code()
    at = code.function.new_memory(8 + 16, 16)
    address = code(Op.FRAME, size=at)
    if before in ("cleared", "another block"):
        code.do(Op.CLEAR, address, size=24)
    if before == "a count":
        code.do(Op.STORE, address, ir.word(3), size=8)
    if before == "another block":
        onward = code.new_block()
        code.block.terminator = ir.Jump(onward)
        code.block = onward
    if before == "cleared on one way":
        clearing, onward = code.new_block(), code.new_block()
        is_large = code(Op.ULT, ir.word(9), code(Op.LOAD, code(Op.FRAME, size=abi.F_TENANT), size=4), kind=Kind.BIT)
        code.block.terminator = ir.Branch(is_large, clearing, onward)
        code.block = clearing
        code.do(Op.CLEAR, code(Op.FRAME, size=at), size=24)
        code.block.terminator = ir.Jump(onward)
        code.block = onward
    code.store_result(code(Op.LOAD, code(Op.FRAME, size=at), size=8))
    if before == "cleared behind":
        code.do(Op.CLEAR, address, size=24)
    code.block.terminator = ir.Done()
    assert code.refused() is (before in ("nothing", "cleared on one way", "cleared behind"))


@pytest.mark.parametrize(
    ("offset", "size"),
    [(abi.F_TENANT, 4), (abi.F_BUDGET, 8), (abi.F_STATE, 4), (abi.F_OUT_ADDRESS, 8),
     (abi.FRAME.offset("effect"), 8), (abi.F_ARGUMENTS, 8),
     (abi.F_RESULT, 4), (abi.F_RESULT + 1, 8), (abi.FRAME_HEADER_BYTES, 8), (4096, 8), (-8, 8)],
)  # fmt: skip
def test_fields_of_the_frame_that_are_not_its_own_are_never_written(offset: int, size: int) -> None:
    code = Code()
    code.do(Op.STORE, code(Op.FRAME, size=offset), ir.ZERO, size=size)
    code.store_result(ir.ZERO)
    code.block.terminator = ir.Done()
    assert code.refused()


def test_no_result_is_no_result() -> None:
    code = Code()
    code.block.terminator = ir.Done()
    assert code.refused()
    assert code.refused(ResultKind.BYTES)
    assert not code.refused(ResultKind.NONE)


def test_a_result_on_the_stack_is_refused() -> None:
    code = Code()
    code.function.scratch_cells = 1
    cell = code(Op.SCRATCH, size=0)
    code.do(Op.STORE, cell, ir.word(1), size=8)
    code.store_result(cell)
    code.do(Op.STORE, code(Op.FRAME, size=abi.F_RESULT_LENGTH), ir.word(8), size=4)
    code.block.terminator = ir.Done()
    assert code.refused(ResultKind.BYTES)


def test_a_circle_without_a_price_is_refused() -> None:
    for cost, refused in ((0, True), (1, False)):
        code = Code()
        code.block.terminator = ir.Jump(code.block, may_yield=True, cost=cost)
        assert code.refused() is refused


def test_a_refusal_is_a_finding_on_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = compile.lower

    def forgetful(*program: object) -> ir.Function:
        function = lower(*program)  # type: ignore[arg-type]
        for block in function.blocks:
            block.instructions = [one for one in block.instructions if one.error != ExtensionError.INDEX]
        return function

    monkeypatch.setattr(compile, "lower", forgetful)
    with pytest.raises(CompileError) as caught:
        compile_source("@extension\ndef f(db: Store, k: bytes) -> u64:\n    x = 3 // len(k)\n    return k.u64(x)")
    (finding,) = caught.value.diagnostics  # type: ignore[attr-defined]
    assert finding.rule == "unproven"
    assert finding.line == 3  # the last that is known
    assert "report" in finding.hint
    assert "internal" not in str(caught.value)


def test_a_frame_that_is_too_large_is_refused() -> None:
    code = Code()
    code.function.areas.append(ir.Area(abi.FRAME_HEADER_BYTES, 4096))
    code.store_result(ir.ZERO)
    code.block.terminator = ir.Done()
    placement = ir.Placement(True, False, 0, {}, {}, {}, 4096)
    assert is_refused(code.function, placement, ResultKind.SCALAR)
    code.function.areas[:] = [ir.Area(abi.FRAME_HEADER_BYTES, 64, -1)]
    assert is_refused(code.function, replace(placement, frame_bytes=512), ResultKind.SCALAR)
    code.function.areas[:] = [ir.Area(abi.FRAME_HEADER_BYTES, 64), ir.Area(abi.FRAME_HEADER_BYTES + 56, 64)]
    assert is_refused(code.function, replace(placement, frame_bytes=512), ResultKind.SCALAR)
