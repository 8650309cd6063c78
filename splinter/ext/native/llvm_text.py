"""Fourth stage, native: intermediate code to LLVM's textual form.

Text rather than llvmlite's builder objects, because building those costs more than everything else together. Registers
that live in one block become LLVM values; the others get a cell each. Where the cells are is the difference between the two
forms of the text:

* *Thorough*: on the stack, from where LLVM's ``sroa`` turns them into values again. At a yield point the live ones are stored
  into the frame, and the function returns; on the next call a ``switch`` on the frame's state leads to where they are loaded
  back.
* *Quick*: those that live across a yield are in the frame all the time, so a yield stores only where to go on. Half the text,
  and nothing in it needs LLVM's passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from splinter.ext import abi
from splinter.ext.helpers import HELPERS
from splinter.ext.middle import ir
from splinter.ext.middle.ir import NAN_BITS, NAN_BITS32, Block, Kind, Op, Register
from splinter.ext.native import routines
from splinter.ext.native.llvm_values import LLVM_TYPE, FunctionText
from splinter.limits import BYTES_PER_COST, DIGESTED_BYTES_PER_COST

_LINE_BITS = 8 * (abi.F_LINE - abi.F_STATE)  # state and line are stored as one word
assert (abi.F_STATE, _LINE_BITS) == (0, 32)
_LINE_SHIFT = 8  # a failure on its way to the exit: the line, and below it the error
_ERROR_MASK = (1 << _LINE_SHIFT) - 1

_BINARY = {  # of words, or of bits
    Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul", Op.AND: "and", Op.OR: "or", Op.XOR: "xor", Op.SHL: "shl",
    Op.LSHR: "lshr", Op.ASHR: "ashr", Op.SDIV: "sdiv", Op.SREM: "srem", Op.UDIV: "udiv", Op.UREM: "urem",
}  # fmt: skip
_COMPARE = {Op.EQ: "eq", Op.NE: "ne", Op.SLT: "slt", Op.SLE: "sle", Op.ULT: "ult", Op.ULE: "ule"}
_FLOAT_BINARY = {Op.FADD: "fadd", Op.FSUB: "fsub", Op.FMUL: "fmul", Op.FDIV: "fdiv"}
_FLOAT_COMPARE = {Op.FEQ: "oeq", Op.FLT: "olt", Op.FLE: "ole"}
_OVERFLOW = {Op.SADD: "sadd", Op.SSUB: "ssub", Op.SMUL: "smul", Op.UADD: "uadd", Op.USUB: "usub", Op.UMUL: "umul"}
# One instruction each, which depends on nothing but its operands; by operation and kind of the first one.
_PURE: dict[tuple[Op, Kind], str] = {
    **{(op, kind): f"{name} {LLVM_TYPE[kind]} %s, %s" for op, name in _BINARY.items() for kind in (Kind.WORD, Kind.BIT)},
    **{(op, Kind.WORD): f"icmp {name} i64 %s, %s" for op, name in _COMPARE.items()},
    **{(op, Kind.FLOAT): f"{name} double %s, %s" for op, name in _FLOAT_BINARY.items()},
    **{(op, Kind.FLOAT): f"fcmp {name} double %s, %s" for op, name in _FLOAT_COMPARE.items()},
    (Op.WIDEN, Kind.BIT): "zext i1 %s to i64",
    (Op.FROM_SIGNED, Kind.WORD): "sitofp i64 %s to double",
    (Op.FROM_UNSIGNED, Kind.WORD): "uitofp i64 %s to double",
    (Op.TO_SIGNED, Kind.FLOAT): "fptosi double %s to i64",
    (Op.TO_UNSIGNED, Kind.FLOAT): "fptoui double %s to i64",
    (Op.RAW_BITS, Kind.FLOAT): "bitcast double %s to i64",
    (Op.FROM_BITS, Kind.WORD): "bitcast i64 %s to double",
    (Op.SQRT, Kind.FLOAT): "call double @llvm.sqrt.f64(double %s)",
    (Op.FLOOR, Kind.FLOAT): "call double @llvm.floor.f64(double %s)",
    (Op.POPCOUNT, Kind.WORD): "call i64 @llvm.ctpop.i64(i64 %s)",
    (Op.LEADING_ZEROS, Kind.WORD): "call i64 @llvm.ctlz.i64(i64 %s, i1 false)",
    (Op.TRAILING_ZEROS, Kind.WORD): "call i64 @llvm.cttz.i64(i64 %s, i1 false)",
}
_MEMORY_ACCESSES = frozenset({Op.LOAD, Op.LOAD_SIGNED, Op.STORE})

_DECLARATIONS = {  # by the names of the functions
    **{f"@llvm.{name}.with.overflow.i64": "{i64, i1} %s(i64, i64)" for name in _OVERFLOW.values()},
    **{f"@llvm.{name}.f64": "double %s(double)" for name in ("sqrt", "floor")},
    "@llvm.ctpop.i64": "i64 %s(i64)",
    **{f"@llvm.{name}.i64": "i64 %s(i64, i1)" for name in ("ctlz", "cttz")},
    **{f"@llvm.bswap.i{bits}": f"i{bits} %s(i{bits})" for bits in (16, 32, 64)},
    **routines.DECLARATIONS,
}

_EPILOGUE = """
attributes #0 = { nounwind "no-builtins" }
!0 = !{!"branch_weights", i32 1, i32 1048576}
!1 = !{!"branch_weights", i32 1048576, i32 1}
"""


@dataclass
class LlvmModule:
    """Textual LLVM module with a function for each extension."""

    text: str
    entries: list[str]  # names of the functions
    routines: list[str]  # names of those that they call


def emit(functions: Sequence[tuple[ir.Function, ir.Placement]]) -> LlvmModule:
    """Translate into one module: LLVM's time for a module of its own is that of 300 lines of text.

    Each with where its registers are; with those in the frame it becomes the quick form. The verifier has accepted both.
    """
    emitters = [Emitter(*function, number) for number, function in enumerate(functions)]
    definitions = [line for emitter in emitters for line in emitter.run()]
    named = {line[at : line.find("(", at)] for line in definitions if (at := line.find("@")) >= 0}
    declarations = [f"declare {kind % name} nounwind" for name, kind in _DECLARATIONS.items() if name in named]
    called = dict.fromkeys(routine for emitter in emitters for routine in emitter.routines)
    return LlvmModule(
        "\n".join((*declarations, *definitions, _EPILOGUE)),
        [emitter.entry for emitter in emitters],
        list(called),
    )


class Emitter(FunctionText):
    """Translates one function."""

    def run(self) -> list[str]:
        """The lines of the function and of the constants that it has."""
        blocks = self.function.blocks
        lines = []
        for content, number in self.function.data.items():
            escaped = "".join(f"\\{byte:02x}" for byte in content or b"\0")
            kind = f"[{max(len(content), 1)} x i8]"
            lines.append(f'{self._data(number)} = private unnamed_addr constant {kind} c"{escaped}"')
        lines.append(f"define i64 @{self.entry}(ptr %frame_at, ptr %context_at) #0 {{")
        return [*lines, *self._entry(), *self._body(blocks), "}"]

    # --- frame, entry, exits ------------------------------------------------------------------------------------------

    def _entry(self) -> list[str]:
        lines = ["entry:"]
        on_stack = [r for r in self.cells if not (self.is_quick and r in self.slots)]
        lines += [f"  %cell{r.number} = alloca {LLVM_TYPE[r.kind]}" for r in sorted(on_stack, key=lambda r: r.number)]
        lines += [f"  %scratch{cell} = alloca i64" for cell in range(self.function.scratch_cells)]
        lines += ["  %frame = ptrtoint ptr %frame_at to i64", "  %context = ptrtoint ptr %context_at to i64"]
        if not self.is_quick:
            lines += [
                "  %budget = alloca i64",
                f"  %budget_at = getelementptr i8, ptr %frame_at, i64 {abi.F_BUDGET}",
                "  %budget_start = load i64, ptr %budget_at",
                "  store i64 %budget_start, ptr %budget",
            ]
        lines.append("  %state = load i32, ptr %frame_at")
        cases = " ".join(
            f"i32 {number}, label %{f'b{self._resumes_at(block).number}' if self.is_quick else f'resume{number}'}"
            for block, number in self.states.items()
        )
        lines.append(f"  switch i32 %state, label %b0 [{cases}]")
        return lines

    @staticmethod
    def _resumes_at(block: Block) -> Block:
        assert isinstance(block.terminator, ir.Yield | ir.Jump)
        return block.terminator.target

    def _return(self, code: int) -> None:
        if not self.is_quick:
            budget = self._value("load i64, ptr %budget")
            self._line(f"store i64 {budget}, ptr %budget_at")
        self._line(f"ret i64 {code}")

    def _yield(self, block: ir.Block, target: ir.Block, line: int) -> None:
        """Save what lives on, return; and the code that comes back."""
        number = self.states[block]
        saved = [] if self.is_quick else self.saved[block]
        for register in saved:
            value = self._operand(register)
            if register.kind is Kind.BIT:
                value = self._value(f"zext i1 {value} to i64")
            kind = "double" if register.kind is Kind.FLOAT else "i64"
            self._line(f"store {kind} {value}, ptr {self._frame_pointer(self.slots[register])}")
        self._line(f"store i64 {line << _LINE_BITS | number}, ptr %frame_at")
        self._return(abi.RESUME_YIELD)
        if self.is_quick:
            return
        self._begin(f"resume{number}")
        self.made = {}
        for register in saved:
            kind = "double" if register.kind is Kind.FLOAT else "i64"
            value = self._value(f"load {kind}, ptr {self._frame_pointer(self.slots[register])}")
            if register.kind is Kind.BIT:
                value = self._value(f"trunc i64 {value} to i1")
            self._line(f"store {LLVM_TYPE[register.kind]} {value}, ptr %cell{register.number}")
        self._line(f"br label %b{target.number}")

    def _failure_blocks(self) -> None:
        self.made = {}
        for (error, line), label in self.failures.items():
            self._begin(label)
            self._fail(str(line << _LINE_SHIFT | error))
        for line, results in self.helper_failures.items():
            self._begin(f"helper_failed{line}")
            result = self._value("phi i64 " + ", ".join(f"[{value}, %{label}]" for value, label in results))
            code = self._value(f"and i64 {self._value(f'sub i64 0, {result}')}, {_ERROR_MASK}")
            self._fail(self._value(f"or i64 {code}, {line << _LINE_SHIFT}"))
        self._begin("failed")
        if not self.failed_from:
            self._line("unreachable")
            return
        failure = self._value("phi i64 " + ", ".join(f"[{code}, %{label}]" for label, code in self.failed_from))
        parts = (f"and i64 {failure}, {_ERROR_MASK}", abi.F_ERROR), (f"lshr i64 {failure}, {_LINE_SHIFT}", abi.F_LINE)
        for part, offset in parts:
            value = self._value(f"trunc i64 {self._value(part)} to i32")
            self._line(f"store i32 {value}, ptr {self._frame_pointer(offset)}")
        self._return(abi.RESUME_ERROR)

    def _fail(self, failure: str) -> None:
        self.failed_from.append((self.label, failure))
        self._line("br label %failed")

    # --- blocks and instructions --------------------------------------------------------------------------------------

    def _body(self, blocks: list[ir.Block]) -> list[str]:
        for block in blocks:
            self._begin(f"b{block.number}")
            self._begin_block()
            for instruction in block.instructions:
                self._instruction(instruction)
            self._terminator(block)
        self._failure_blocks()
        return self.lines

    def _begin_block(self) -> None:
        """Nothing is known at a block's start."""
        self.known, self.made, self.passed = {}, {}, set()

    def _terminator(self, block: ir.Block) -> None:
        match block.terminator:
            case ir.Jump(target=target, may_yield=may_yield, line=line, cost=cost):
                if not (may_yield and self.preempt):
                    self._take_unspent()
                    self._line(f"br label %b{target.number}")
                    return
                self.unspent += cost
                left = self._take_unspent() or self._value(f"load i64, ptr {self._budget()}")
                is_gone = self._value(f"icmp sle i64 {left}, 0")
                self._line(f"br i1 {is_gone}, label %yield{block.number}, label %b{target.number}{self.unlikely}")
                self._begin(f"yield{block.number}")
                self._yield(block, target, line)
            case ir.Branch(condition=condition, yes=yes, no=no):
                bit = self._operand(condition)
                self._take_unspent()
                self._line(f"br i1 {bit}, label %b{yes.number}, label %b{no.number}")
            case ir.Yield(target=target, line=line):
                self._take_unspent()
                self._yield(block, target, line)
            case _:
                self._take_unspent()
                self._return(abi.RESUME_DONE)

    def _instruction(self, instruction: ir.Instruction) -> None:
        op = instruction.op
        if op is Op.FRAME and instruction.target is not None and instruction.target not in self.cells:
            self.frame_offsets[instruction.target] = instruction.size  # computed where it is used
            return
        if op in _MEMORY_ACCESSES:
            self._memory_access(instruction)
            return
        operands = [self._operand(operand) for operand in instruction.operands]
        if op is Op.CHECK:
            self._fail_unless(operands[0], instruction.error, instruction.line)
            return
        if op is Op.SPEND:
            self.unspent += instruction.size
            return
        if op is Op.COPY:
            self.routines["copy"] = None
            self._spend_for_bytes(instruction.operands[2], operands[2])
            self._line("call void @copy(" + ", ".join(f"i64 {operand}" for operand in operands) + ")")
            return
        if op is Op.CLEAR:
            self.routines["clear"] = None
            self.unspent += instruction.size // BYTES_PER_COST
            self._line(f"call void @clear(i64 {operands[0]}, i64 {instruction.size})")
            return
        assert instruction.target is not None
        self._assign(instruction.target, self._result(instruction, operands))

    def _result(self, instruction: ir.Instruction, operands: list[str]) -> str:
        op = instruction.op
        if op is Op.MOVE:
            return operands[0]
        if instruction.operands and (pure := _PURE.get((op, instruction.operands[0].kind))):
            return self._pure(pure % tuple(operands))
        if op is Op.HELPER:
            return self._helper(instruction, operands)
        if op in _OVERFLOW:
            call = f"call {{i64, i1}} @llvm.{_OVERFLOW[op]}.with.overflow.i64(i64 {operands[0]}, i64 {operands[1]})"
            pair = self._value(call)
            overflows = self._value(f"extractvalue {{i64, i1}} {pair}, 1")
            self._fail_if(overflows, instruction.error, instruction.line)
            return self._value(f"extractvalue {{i64, i1}} {pair}, 0")
        match op:
            case Op.SELECT:
                kind = LLVM_TYPE[instruction.operands[2].kind]
                return self._pure(f"select i1 {operands[0]}, {kind} {operands[1]}, {kind} {operands[2]}")
            case Op.TO_BITS:
                bits = self._pure(f"bitcast double {operands[0]} to i64")
                return self._number_or_nan(operands[0], f"i64 {NAN_BITS}", f"i64 {bits}")
            case Op.TO_BITS32:
                bits = self._value(f"bitcast float {self._value(f'fptrunc double {operands[0]} to float')} to i32")
                bits = self._number_or_nan(operands[0], f"i32 {NAN_BITS32}", f"i32 {bits}")
                return self._value(f"zext i32 {bits} to i64")
            case Op.FROM_BITS32:
                bits = self._value(f"trunc i64 {operands[0]} to i32")
                return self._value(f"fpext float {self._value(f'bitcast i32 {bits} to float')} to double")
            case Op.SWAP:
                return self._swap(operands[0], 8 * instruction.size)
            case Op.FRAME:
                return self._pure(f"add i64 %frame, {instruction.size}")
            case Op.SCRATCH:
                return self._value(f"ptrtoint ptr %scratch{instruction.size} to i64")
            case Op.DATA:
                return self._pure(f"ptrtoint ptr {self._data(instruction.size)} to i64")
            case Op.BYTES_EQUAL:
                self.routines["bytes_equal"] = None
                self._spend_for_bytes(instruction.operands[1], operands[1])
                return self._value("call i1 @bytes_equal(" + ", ".join(f"i64 {operand}" for operand in operands) + ")")
            case Op.MATH:
                return self._value(f"call double {self._function(instruction)}(double {operands[0]}) nounwind")
            case Op.CRC32 | Op.HASH64:
                name = "crc32" if op is Op.CRC32 else "hash64"
                self.routines[name] = None
                self._spend(self._value(f"udiv i64 {operands[1]}, {DIGESTED_BYTES_PER_COST}"))
                return self._value(f"call i64 @{name}(" + ", ".join(f"i64 {operand}" for operand in operands) + ")")
        raise AssertionError(op)

    def _number_or_nan(self, value: str, nan: str, bits: str) -> str:
        """The bits of a float. Which bits what is not a number has would depend on the form of the code."""
        is_nan = self._pure(f"fcmp uno double {value}, {value}")
        return self._pure(f"select i1 {is_nan}, {nan}, {bits}")

    def _helper(self, instruction: ir.Instruction, operands: list[str]) -> str:
        if (paid := HELPERS[instruction.size].paid_length) is not None:
            self._spend_for_bytes(instruction.operands[paid], operands[paid])
        pointer = self._function(instruction)
        arguments = ", ".join(f"i64 {operand}" for operand in ("%context", "%frame", *operands))
        result = self._value(f"call i64 {pointer}({arguments}) nounwind")
        is_error = self._value(f"icmp slt i64 {result}, 0")
        self.helper_failures.setdefault(instruction.line, []).append((result, self.label))
        self._line(f"br i1 {is_error}, label %helper_failed{instruction.line}, label %{self._next_label()}{self.unlikely}")
        self._go_on()
        return result

    def _function(self, instruction: ir.Instruction) -> str:
        """The function whose address is in the context."""
        pointer_at = self._pure(f"getelementptr i8, ptr %context_at, i64 {instruction.size}")
        pointer = self._pure(f"load ptr, ptr {pointer_at}")  # the context does not change while a task runs
        if instruction.error:  # not every worker has it
            is_missing = self._value(f"icmp eq ptr {pointer}, null")
            self._fail_if(is_missing, instruction.error, instruction.line)
        return pointer

    def _memory_access(self, instruction: ir.Instruction) -> None:
        address = instruction.operands[0]
        if isinstance(address, Register) and address in self.frame_offsets:
            pointer = self._frame_pointer(self.frame_offsets[address])
        else:
            pointer = self._value(f"inttoptr i64 {self._operand(address)} to ptr")
        self._access(instruction, pointer)

    def _access(self, instruction: ir.Instruction, pointer: str) -> None:
        """Load or store at a pointer."""
        bits = 8 * instruction.size
        if instruction.op is Op.STORE:
            value = self._operand(instruction.operands[1])
            if bits < 64:
                value = self._value(f"trunc i64 {value} to i{bits}")
            self._line(f"store i{bits} {value}, ptr {pointer}, align 1")
            return
        assert instruction.target is not None
        value = self._value(f"load i{bits}, ptr {pointer}, align 1")
        if bits < 64:
            value = self._value(f"{'sext' if instruction.op is Op.LOAD_SIGNED else 'zext'} i{bits} {value} to i64")
        self._assign(instruction.target, value)
