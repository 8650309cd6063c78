"""Extensions compiled in each of the forms that the compiler has, many in one module, and run with poisoned memory.

What a task must not depend on is filled with a pattern before each resume: the frame beyond its inputs and what is live in
it, and the native stack below the call. Who compares two runs with two patterns sees whatever reads a word that nobody wrote.
"""

from __future__ import annotations

import ctypes
import functools
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splinter.ext import abi
from splinter.ext.abi import ResultKind
from splinter.ext.compile import CompiledExtension
from splinter.ext.faults import ExtensionFault
from splinter.ext.front.check import check_all, check_library
from splinter.ext.front.checked import Program
from splinter.ext.front.desugar import desugar
from splinter.ext.front.diagnostics import Findings
from splinter.ext.front.parse import choose, parse
from splinter.ext.kernel.code import KernelCode
from splinter.ext.middle import ir
from splinter.ext.middle.checkpoints import insert_checkpoints
from splinter.ext.middle.first_lookup import first_lookup
from splinter.ext.middle.ir import Op
from splinter.ext.middle.liveness import place
from splinter.ext.middle.lower import lower, result_kind
from splinter.ext.middle.simplify import simplify
from splinter.ext.middle.verifier import verify
from splinter.ext.native import llvm_text, machine
from splinter.ext.native.code import CodeRegion
from splinter.ext.native.elf import link
from splinter.ext.python.instrument import python_function
from splinter.ext.python.local import LocalStore
from splinter.ext.types import WORD_BYTES
from splinter.limits import FRAME_BYTES, TASK_BUDGET
from tests.support.runner import Runner


@dataclass(frozen=True)
class Form:
    """A way to compile: for a short wait or for speed, and with or without the inserted yields."""

    is_quick: bool
    preempt: bool


FORMS = tuple(Form(is_quick, preempt) for preempt in (True, False) for is_quick in (False, True))
PATTERNS = (0xA5A5A5A5A5A5A5A5, 0x5A5A5A5A5A5A5A5A)  # as bits they are 1 and 0, as addresses nobody's


@dataclass(frozen=True)
class Made(CompiledExtension):
    """An extension in one form; ``code`` is that of its module."""

    form: Form
    dead: dict[int, np.ndarray[Any, Any]]  # by state: words of the frame, by number, that nothing reads after that yield
    dead_outputs: dict[int, tuple[str, ...]]  # the same for fields of the frame's header


def accepted(source: str) -> Program:
    """A source's only extension, checked; raises :class:`CompileError`."""
    findings = Findings(source)
    module = parse(source, findings)
    desugar(module)
    library = check_library(module, findings)
    return check_all([choose(module, None, findings)], library, None, findings)[0]


def placed(program: Program) -> Iterator[tuple[ir.Function, ir.Placement, ResultKind]]:
    """The intermediate code of an extension as verifier and back end get it, in both forms."""
    function = lower(program)
    simplify(function)
    insert_checkpoints(function)
    for in_frame in (False, True):
        yield function, place(function, preempt=True, in_frame=in_frame), result_kind(program.extension.result)


def make(programs: Sequence[Program], forms: Sequence[Form] = FORMS) -> list[list[Made]]:
    """Compile each program in each of the forms, one module for each form; by form and program."""
    functions = [lower(program) for program in programs]
    for function in functions:
        simplify(function)
    made = {}
    for form in sorted(forms, key=lambda form: form.preempt):  # checkpoints are put in once, and stay
        if form.preempt and not any(other.preempt for other in made):
            for function in functions:
                insert_checkpoints(function)
        made[form] = _module(programs, functions, form)
    return [made[form] for form in forms]


def _module(programs: Sequence[Program], functions: list[ir.Function], form: Form) -> list[Made]:
    placed = [(function, place(function, form.preempt, form.is_quick)) for function in functions]
    for (function, placement), program in zip(placed, programs, strict=True):
        verify(function, placement, result_kind(program.extension.result))
    emitted = llvm_text.emit(placed)
    linked = machine.machine_code(emitted, form.is_quick)
    made = []
    for number, (program, function) in enumerate(zip(programs, functions, strict=True)):
        placement = placed[number][1]
        dead, outputs = _dead(function, placement)
        made.append(
            Made(
                name=program.signature.name,
                signature=program.signature,
                code=linked.code,
                entry=linked.entries[number],
                frame_bytes=placement.frame_bytes,
                result_kind=result_kind(program.extension.result),
                source_digest=b"",
                first_lookup=first_lookup(function),
                isolation=program.isolation,
                kernel=KernelCode(),
                library="",
                form=form,
                dead=dead,
                dead_outputs=outputs,
            )
        )
    return made


# --- what may be poisoned ---------------------------------------------------------------------------------------------

_OUTPUTS = ("result", "result_length", "error")  # written at the end of a task, and read by the worker only
_FOUND = {abi.F_OUT_ADDRESS: "out_address", abi.F_OUT_LENGTH: "out_length", abi.F_OUT_VERSION: "out_version"}


def _dead(function: ir.Function, placement: ir.Placement) -> tuple[dict[int, np.ndarray[Any, Any]], dict[int, tuple[str, ...]]]:
    first, frame_bytes = function.memory_end, placement.frame_bytes
    words, outputs = {}, {}
    for block, state in placement.states.items():
        live = {placement.slots[register.number] for register in placement.saved[block]}
        words[state] = np.array([at // WORD_BYTES for at in range(first, frame_bytes, WORD_BYTES) if at not in live], np.int64)
        (target,) = block.successors()
        outputs[state] = (*_OUTPUTS, *(name for name in _FOUND.values() if name not in _read_first(target)))
    return words, outputs


def _read_first(block: ir.Block) -> set[str]:
    """What a get left in the frame, and the block reads: a checkpoint may stand between the two."""
    read = set()
    for instruction in block.instructions:
        if instruction.op is Op.HELPER:
            break
        if instruction.op is Op.FRAME and instruction.size in _FOUND:
            read.add(_FOUND[instruction.size])
    return read


# --- running ----------------------------------------------------------------------------------------------------------

_CALLER = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * 3, ctypes.c_uint64)
_HEADER_WORDS = abi.FRAME_HEADER_BYTES // WORD_BYTES
_HALVES = frozenset({"line", "result_length", "error"})  # of a word
NOW_NS = 1_800_000_000_123_456_789  # where the clock stands by which objects expire
_NO_OBJECTS: Mapping[tuple[int, bytes], bytes] = {}
_CODE_BYTES = 16 << 20
_PLACED_MAX = 2 * len(FORMS)
_STACK_WORDS = 2048  # more than a frame of the native stack has: cells, scratch and what the code generator spills
_CALL = f"""
define i64 @call(ptr %resume, i64 %frame, i64 %context, i64 %pattern) nounwind {{
  call void @fill(i64 %pattern)
  %outcome = call i64 %resume(i64 %frame, i64 %context)
  ret i64 %outcome
}}
define internal void @fill(i64 %pattern) noinline nounwind {{
entry:
  %area = alloca [{_STACK_WORDS} x i64]
  br label %head
head:
  %i = phi i64 [0, %entry], [%next, %head]
  %at = getelementptr i64, ptr %area, i64 %i
  store volatile i64 %pattern, ptr %at
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, {_STACK_WORDS}
  br i1 %more, label %head, label %done
done:
  ret void
}}
"""


@functools.cache
def _call_code() -> bytes:
    return link(machine._object_file(_CALL, is_quick=False), ["call"]).code


class PoisonedRunner(Runner):
    """Runs with the pattern in all memory that a task must not depend on, and sees that it leaves alone what is not its own."""

    def __init__(self, store: LocalStore | None = None, budget: int = TASK_BUDGET, pattern: int = PATTERNS[0]) -> None:
        super().__init__(store, budget)
        self.pattern = pattern
        raw = (ctypes.c_uint64 * (FRAME_BYTES // WORD_BYTES)).from_address(self._frame_address)
        self._words = np.frombuffer(raw, np.uint64)
        self._running: Made | None = None
        self._code = CodeRegion.create(_CODE_BYTES)
        self._call = _CALLER(self._code.write(_call_code())[0])
        self._placed: dict[int, tuple[bytes, int, int]] = {}  # by identity: code, its address and its offset

    def close(self) -> None:
        self._code.close()
        super().close()

    def run_packed(self, compiled: CompiledExtension, arguments: bytes) -> Any:
        return self.run_at(self._place(compiled.code), compiled, arguments)

    def outcome(self, made: Made, *args: Any) -> Any:
        """The result of a task, or error, line and code of the one that ended it."""
        try:
            return self.run(made, *args)
        except ExtensionFault as fault:
            return fault.error.name, fault.line, fault.code

    def _place(self, code: bytes) -> int:
        """The address of code, which stays where it is while others of its module run."""
        if id(code) not in self._placed:
            while len(self._placed) >= _PLACED_MAX:
                self._code.free(self._placed.pop(next(iter(self._placed)))[2])
            self._placed[id(code)] = code, *self._code.write(code)
        return self._placed[id(code)][1]

    def _resume(self, address: int) -> int:
        assert self._running is not None
        state = int(self._frame["state"][0])
        if state in self._running.dead:
            self._words[self._running.dead[state]] = self.pattern
            self._poison_fields(self._running.dead_outputs[state])
        return int(self._call(address, self._frame_address, self._context_address, self.pattern))

    def started(self, compiled: CompiledExtension) -> None:
        assert isinstance(compiled, Made)
        self._running = compiled
        self._words[_HEADER_WORDS:] = self.pattern
        self._poison_fields((*_OUTPUTS, "line", *_FOUND.values()))

    def resumed(self) -> None:
        assert self._running is not None
        beyond = self._words[self._running.frame_bytes // WORD_BYTES :]
        assert (beyond == np.uint64(self.pattern)).all(), "the task wrote beyond its frame"

    def _poison_fields(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._frame[name] = self.pattern & 0xFFFFFFFF if name in _HALVES else self.pattern


@dataclass(frozen=True)
class Prepared:
    """A program in all its forms: compiled, and for CPython."""

    source: str
    program: Program
    python: Callable[..., Any]
    forms: list[Made]

    def agree(self, *args: Any, objects: Mapping[tuple[int, bytes], bytes] = _NO_OBJECTS, budget: int = TASK_BUDGET) -> Any:
        """Run it in every form with every pattern and under CPython: the outcome, the same in all of them."""
        local = _store(objects)
        local.preload(self.source, self.program, self.python)
        try:
            expected = local.invoke(self.source, *args)
        except ExtensionFault as fault:
            expected = fault.error.name, fault.line, fault.code
        for pattern in PATTERNS:
            runner = _runner(pattern)
            runner.budget = budget
            for made in self.forms:
                store = runner.store = _store(objects)
                got = runner.outcome(made, *args)
                where = f"{made.form}, {pattern:#x}, {args}\n{self.source}"
                assert same(got, expected), f"{got!r} in place of {expected!r}: {where}"
                assert state_of(store) == state_of(local), where
        return expected


def prepare(*sources: str, forms: Sequence[Form] = FORMS) -> list[Prepared]:
    """Compile several together; raises :class:`CompileError`."""
    programs = list(map(accepted, sources))
    made = make(programs, forms)
    return [
        Prepared(source, program, python_function(program, "<source>", 0), [of_form[number] for of_form in made])
        for number, (source, program) in enumerate(zip(sources, programs, strict=True))
    ]


def state_of(store: LocalStore) -> tuple[Any, ...]:
    """What a store has: objects, their versions, when they expire, and the log."""
    return store.objects, store.versions, store._objects.expires, store.logged


def stopped(store: LocalStore, now_ns: int = NOW_NS) -> LocalStore:
    """The same store, whose clock stands still."""
    store._objects.now_ns = lambda: now_ns  # type: ignore[method-assign]
    return store


def _store(objects: Mapping[tuple[int, bytes], bytes]) -> LocalStore:
    store = stopped(LocalStore())
    for (table, key), value in objects.items():
        store.put(table, key, value)
    return store


@functools.cache
def _runner(pattern: int) -> PoisonedRunner:
    return PoisonedRunner(pattern=pattern)


def same(left: Any, right: Any) -> bool:
    """Whether two outcomes are the same, of the same types; what is not a number has the same bits."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left) and math.isnan(right):
        return struct.pack("<d", left) == struct.pack("<d", right)
    return type(left) is type(right) and left == right
