"""Fourth stage, native: intermediate code to LLVM's textual form.

Text rather than llvmlite's builder objects, because building those costs more than everything else together. Registers
that live in one block become LLVM values; the others get a stack cell each, which LLVM's ``sroa`` turns into values again.
At a yield point the live ones are stored into the frame, and the function returns; on the next call a ``switch`` on the
frame's state leads to where they are loaded back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from splinter.ext import abi, ir, liveness
from splinter.ext.author import FNV_OFFSET, FNV_PRIME
from splinter.ext.builder import TooLargeError
from splinter.ext.ir import Kind, Op, Operand, Register
from splinter.ext.types import WORD_BYTES
from splinter.limits import FRAME_BYTES, INSTRUCTIONS_MAX

ENTRY = "resume"
BYTES_PER_SPEND = 64  # comparing, copying and clearing spend 1 for each of these
DIGESTED_BYTES_PER_SPEND = 8  # crc32 and hash64

_LLVM_TYPE = {Kind.WORD: "i64", Kind.BIT: "i1", Kind.FLOAT: "double"}
_BINARY = {
    Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul", Op.AND: "and", Op.OR: "or", Op.XOR: "xor", Op.SHL: "shl",
    Op.LSHR: "lshr", Op.ASHR: "ashr", Op.SDIV: "sdiv", Op.SREM: "srem", Op.UDIV: "udiv", Op.UREM: "urem",
}  # fmt: skip
_COMPARE = {Op.EQ: "eq", Op.NE: "ne", Op.SLT: "slt", Op.SLE: "sle", Op.ULT: "ult", Op.ULE: "ule"}
_OVERFLOW = {Op.SADD: "sadd", Op.SSUB: "ssub", Op.SMUL: "smul", Op.UADD: "uadd", Op.USUB: "usub", Op.UMUL: "umul"}

_FLOAT_BINARY = {Op.FADD: "fadd", Op.FSUB: "fsub", Op.FMUL: "fmul", Op.FDIV: "fdiv"}
_FLOAT_COMPARE = {Op.FEQ: "oeq", Op.FLT: "olt", Op.FLE: "ole"}
_CONVERT = {  # instruction, from, to
    Op.WIDEN: ("zext", "i1", "i64"),
    Op.FROM_SIGNED: ("sitofp", "i64", "double"),
    Op.FROM_UNSIGNED: ("uitofp", "i64", "double"),
    Op.TO_SIGNED: ("fptosi", "double", "i64"),
    Op.TO_UNSIGNED: ("fptoui", "double", "i64"),
    Op.TO_BITS: ("bitcast", "double", "i64"),
    Op.FROM_BITS: ("bitcast", "i64", "double"),
}
_FLOAT_CALL = {Op.SQRT: "sqrt", Op.FLOOR: "floor"}
_BIT_CALL = {Op.POPCOUNT: ("ctpop", ""), Op.LEADING_ZEROS: ("ctlz", ", i1 false"), Op.TRAILING_ZEROS: ("cttz", ", i1 false")}

_PRELUDE = "\n".join(
    [f"declare {{i64, i1}} @llvm.{name}.with.overflow.i64(i64, i64)" for name in _OVERFLOW.values()]
    + [f"declare double @llvm.{name}.f64(double)" for name in _FLOAT_CALL.values()]
    + [f"declare i64 @llvm.{name}.i64(i64{', i1' if extra else ''})" for name, extra in _BIT_CALL.values()]
    + [f"declare i{bits} @llvm.bswap.i{bits}(i{bits})" for bits in (16, 32, 64)]
)

# No loop here may become a call of memcmp or bcmp: "no-builtins" says that there are none.
_BYTES_EQUAL = """
define internal i1 @bytes_equal(i64 %a, i64 %an, i64 %b, i64 %bn) #0 {
entry:
  %same = icmp eq i64 %an, %bn
  br i1 %same, label %words, label %no
words:
  %i = phi i64 [0, %entry], [%i8, %word]
  %i8 = add i64 %i, 8
  %whole = icmp ule i64 %i8, %an
  br i1 %whole, label %word, label %bytes
word:
  %wa = add i64 %a, %i
  %wb = add i64 %b, %i
  %pa = inttoptr i64 %wa to ptr
  %pb = inttoptr i64 %wb to ptr
  %va = load i64, ptr %pa, align 1
  %vb = load i64, ptr %pb, align 1
  %eq = icmp eq i64 %va, %vb
  br i1 %eq, label %words, label %no
bytes:
  %j = phi i64 [%i, %words], [%j1, %byte]
  %more = icmp ult i64 %j, %an
  br i1 %more, label %byte, label %yes
byte:
  %ba = add i64 %a, %j
  %bb = add i64 %b, %j
  %qa = inttoptr i64 %ba to ptr
  %qb = inttoptr i64 %bb to ptr
  %ca = load i8, ptr %qa
  %cb = load i8, ptr %qb
  %beq = icmp eq i8 %ca, %cb
  %j1 = add i64 %j, 1
  br i1 %beq, label %bytes, label %no
yes:
  ret i1 true
no:
  ret i1 false
}
"""

# Towards higher addresses when the target lies below the source, else towards lower ones: the two may overlap.
_COPY = """
define internal void @copy(i64 %to, i64 %from, i64 %n) #0 {
entry:
  %up = icmp ule i64 %to, %from
  br i1 %up, label %words, label %down
words:
  %i = phi i64 [0, %entry], [%i8, %word]
  %i8 = add i64 %i, 8
  %whole = icmp ule i64 %i8, %n
  br i1 %whole, label %word, label %bytes
word:
  %wf = add i64 %from, %i
  %wt = add i64 %to, %i
  %pf = inttoptr i64 %wf to ptr
  %pt = inttoptr i64 %wt to ptr
  %w = load i64, ptr %pf, align 1
  store i64 %w, ptr %pt, align 1
  br label %words
bytes:
  %j = phi i64 [%i, %words], [%j1, %byte]
  %more = icmp ult i64 %j, %n
  br i1 %more, label %byte, label %done
byte:
  %bf = add i64 %from, %j
  %bt = add i64 %to, %j
  %qf = inttoptr i64 %bf to ptr
  %qt = inttoptr i64 %bt to ptr
  %b = load i8, ptr %qf
  store i8 %b, ptr %qt
  %j1 = add i64 %j, 1
  br label %bytes
down:
  %k = phi i64 [%n, %entry], [%k1, %downbyte]
  %left = icmp ne i64 %k, 0
  br i1 %left, label %downbyte, label %done
downbyte:
  %k1 = sub i64 %k, 1
  %df = add i64 %from, %k1
  %dt = add i64 %to, %k1
  %rf = inttoptr i64 %df to ptr
  %rt = inttoptr i64 %dt to ptr
  %d = load i8, ptr %rf
  store i8 %d, ptr %rt
  br label %down
done:
  ret void
}
"""

_CLEAR = """
define internal void @clear(i64 %at, i64 %n) #0 {
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%i8, %word]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %word, label %done
word:
  %address = add i64 %at, %i
  %p = inttoptr i64 %address to ptr
  store i64 0, ptr %p
  %i8 = add i64 %i, 8
  br label %head
done:
  ret void
}
"""

def _crc32_table() -> list[int]:
    """Remainders of all bytes, for the reflected polynomial of IEEE 802.3."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    return table


_BYTE_LOOP = """
define internal i64 @{name}(i64 %at, i64 %n) #0 {{
entry:
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %body]
  %state = phi i64 [{start}, %entry], [%next, %body]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %address = add i64 %at, %i
  %p = inttoptr i64 %address to ptr
  %b8 = load i8, ptr %p
  %b = zext i8 %b8 to i64
  %mixed = xor i64 %state, %b
{step}
  %i1 = add i64 %i, 1
  br label %head
done:
  %result = xor i64 %state, {end}
  ret i64 %result
}}
"""
_CRC32 = (
    f"@crc32_table = private unnamed_addr constant [256 x i32] [{', '.join(f'i32 {value}' for value in _crc32_table())}]"
    + _BYTE_LOOP.format(
        name="crc32",
        start=0xFFFFFFFF,
        end=0xFFFFFFFF,
        step="""  %low = and i64 %mixed, 255
  %q = getelementptr i32, ptr @crc32_table, i64 %low
  %r32 = load i32, ptr %q
  %r = zext i32 %r32 to i64
  %rest = lshr i64 %state, 8
  %next = xor i64 %rest, %r""",
    )
)
_HASH64 = _BYTE_LOOP.format(
    name="hash64", start=FNV_OFFSET, end=0, step=f"  %next = mul i64 %mixed, {FNV_PRIME}"
)  # fmt: skip
_DIGESTS = {Op.CRC32: ("crc32", _CRC32), Op.HASH64: ("hash64", _HASH64)}

_EPILOGUE = """
attributes #0 = { nounwind "no-builtins" }
!0 = !{!"branch_weights", i32 1, i32 1048576}
!1 = !{!"branch_weights", i32 1048576, i32 1}
"""


@dataclass
class LlvmModule:
    """Textual LLVM module with the function ``resume``."""

    text: str
    frame_bytes: int  # header and spilled registers


def emit(function: ir.Function, preempt: bool) -> LlvmModule:
    """Translate; raises :class:`TooLargeError` when frame or code exceed their limits."""
    return _Emitter(function, preempt).run()


def _share_slots(saved: list[list[Register]]) -> dict[Register, int]:
    """A slot for each register that is saved; two share one unless some yield point saves both."""
    companions: dict[Register, set[Register]] = {}
    for registers in saved:
        for register in registers:
            companions.setdefault(register, set()).update(registers)
    slots: dict[Register, int] = {}
    for register in sorted(companions, key=lambda r: r.number):
        taken = {slots[other] for other in companions[register] if other in slots}
        slots[register] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
    return slots


@dataclass
class _Emitter:
    function: ir.Function
    preempt: bool
    lines: list[str] = field(default_factory=list)
    failures: dict[tuple[int, int], str] = field(default_factory=dict)  # (error, line) → label
    helper_failures: dict[int, list[tuple[str, str]]] = field(default_factory=dict)  # line → (result, label)
    values: int = 0
    label: str = ""
    routines: dict[str, None] = field(default_factory=dict)  # internal functions that are called

    def run(self) -> LlvmModule:
        blocks = self.function.reachable()
        self.cells = liveness.across_blocks(blocks)
        live = liveness.live_out(blocks)
        yielding = [block for block in blocks if block.is_yield_point(self.preempt)]
        self.states = {block: number for number, block in enumerate(yielding, 1)}
        self.saved = {block: sorted(live[block], key=lambda r: r.number) for block in yielding}
        first = abi.FRAME_HEADER_BYTES + self.function.memory_bytes
        slots = _share_slots(list(self.saved.values()))
        self.slots = {register: first + WORD_BYTES * slot for register, slot in slots.items()}
        frame_bytes = first + WORD_BYTES * (max(slots.values(), default=-1) + 1)
        if frame_bytes > FRAME_BYTES:
            raise TooLargeError(f"arrays, buffers and the variables that live across yields need {frame_bytes} bytes; "
                                f"a frame has {FRAME_BYTES}")  # fmt: skip
        count = sum(len(block.instructions) for block in blocks) + 2 * sum(map(len, self.saved.values()))
        if count > INSTRUCTIONS_MAX:
            raise TooLargeError(f"the function has {count} instructions; at most {INSTRUCTIONS_MAX} are possible")
        body = self._body(blocks)
        text = [_PRELUDE]
        for content, number in self.function.data.items():
            escaped = "".join(f"\\{byte:02x}" for byte in content or b"\0")
            kind = f"[{max(len(content), 1)} x i8]"
            text.append(f'@data{number} = private unnamed_addr constant {kind} c"{escaped}"')
        text += [f"define i64 @{ENTRY}(i64 %frame, i64 %context) #0 {{", *self._entry(), *body, "}"]
        text += [*self.routines, _EPILOGUE]
        return LlvmModule("\n".join(text), frame_bytes)

    # --- frame, entry, exits ------------------------------------------------------------------------------------------

    def _entry(self) -> list[str]:
        lines = ["entry:", "  %budget = alloca i64"]
        lines += [f"  %cell{r.number} = alloca {_LLVM_TYPE[r.kind]}" for r in sorted(self.cells, key=lambda r: r.number)]
        lines += [f"  %scratch{cell} = alloca i64" for cell in range(self.function.scratch_cells)]
        lines += ["  %frame_at = inttoptr i64 %frame to ptr", "  %context_at = inttoptr i64 %context to ptr"]
        for name, offset, kind in (("budget_at", abi.F_BUDGET, "i64"), ("state_at", abi.F_STATE, "i32")):
            lines.append(f"  %{name} = getelementptr i8, ptr %frame_at, i64 {offset}")
            lines.append(f"  %{name}_start = load {kind}, ptr %{name}")
        lines.append("  store i64 %budget_at_start, ptr %budget")
        cases = " ".join(f"i32 {number}, label %resume{number}" for number in self.states.values())
        lines.append(f"  switch i32 %state_at_start, label %b0 [{cases}]")
        return lines

    def _frame_pointer(self, offset: int) -> str:
        return self._value(f"getelementptr i8, ptr %frame_at, i64 {offset}")

    def _return(self, code: int) -> None:
        budget = self._value("load i64, ptr %budget")
        self._line(f"store i64 {budget}, ptr %budget_at")
        self._line(f"ret i64 {code}")

    def _yield(self, block: ir.Block, target: ir.Block, line: int) -> None:
        """Save what lives on, return; and the code that comes back."""
        number = self.states[block]
        for register in self.saved[block]:
            value = self._value(f"load {_LLVM_TYPE[register.kind]}, ptr %cell{register.number}")
            if register.kind is Kind.BIT:
                value = self._value(f"zext i1 {value} to i64")
            kind = "double" if register.kind is Kind.FLOAT else "i64"
            self._line(f"store {kind} {value}, ptr {self._frame_pointer(self.slots[register])}")
        self._line(f"store i32 {number}, ptr %state_at")
        self._line(f"store i32 {line}, ptr {self._frame_pointer(abi.F_LINE)}")
        self._return(abi.RESUME_YIELD)
        self._begin(f"resume{number}")
        for register in self.saved[block]:
            kind = "double" if register.kind is Kind.FLOAT else "i64"
            value = self._value(f"load {kind}, ptr {self._frame_pointer(self.slots[register])}")
            if register.kind is Kind.BIT:
                value = self._value(f"trunc i64 {value} to i1")
            self._line(f"store {_LLVM_TYPE[register.kind]} {value}, ptr %cell{register.number}")
        self._line(f"br label %b{target.number}")

    def _failure_blocks(self) -> None:
        for (error, line), label in self.failures.items():
            self._begin(label)
            self._fail(str(error), line)
        for line, results in self.helper_failures.items():
            self._begin(f"helper_failed{line}")
            result = self._value("phi i64 " + ", ".join(f"[{value}, %{label}]" for value, label in results))
            code = self._value(f"trunc i64 {self._value(f'sub i64 0, {result}')} to i32")
            self._fail(code, line)
        self._begin("failed")
        pairs = self.failed_from
        if not pairs:
            self._line("unreachable")
            return
        error_value = self._value("phi i32 " + ", ".join(f"[{error}, %{label}]" for label, error, _ in pairs))
        line_value = self._value("phi i32 " + ", ".join(f"[{line}, %{label}]" for label, _, line in pairs))
        self._line(f"store i32 {error_value}, ptr {self._frame_pointer(abi.F_ERROR)}")
        self._line(f"store i32 {line_value}, ptr {self._frame_pointer(abi.F_LINE)}")
        self._return(abi.RESUME_ERROR)

    def _fail(self, error: str, line: int) -> None:
        self.failed_from.append((self.label, error, line))
        self._line("br label %failed")

    # --- blocks and instructions --------------------------------------------------------------------------------------

    def _body(self, blocks: list[ir.Block]) -> list[str]:
        self.failed_from: list[tuple[str, str, int]] = []
        self.names: dict[Register, str] = {}
        self.frame_offsets: dict[Register, int] = {}  # registers that hold an address in the frame
        for block in blocks:
            self._begin(f"b{block.number}")
            for instruction in block.instructions:
                self._instruction(instruction)
            self._terminator(block)
        self._failure_blocks()
        return self.lines

    def _terminator(self, block: ir.Block) -> None:
        match block.terminator:
            case ir.Jump(target=target, is_loop=is_loop, line=line):
                if not (is_loop and self.preempt):
                    self._line(f"br label %b{target.number}")
                    return
                self._spend("1")
                left = self._value("load i64, ptr %budget")
                is_gone = self._value(f"icmp sle i64 {left}, 0")
                self._line(f"br i1 {is_gone}, label %yield{block.number}, label %b{target.number}, !prof !0")
                self._begin(f"yield{block.number}")
                self._yield(block, target, line)
            case ir.Branch(condition=condition, yes=yes, no=no):
                bit = self._operand(condition)
                self._line(f"br i1 {bit}, label %b{yes.number}, label %b{no.number}")
            case ir.Yield(target=target, line=line):
                self._yield(block, target, line)
            case _:
                self._return(abi.RESUME_DONE)

    def _instruction(self, instruction: ir.Instruction) -> None:
        op = instruction.op
        if op is Op.FRAME and instruction.target is not None and instruction.target not in self.cells:
            self.frame_offsets[instruction.target] = instruction.size  # computed where it is used
            return
        if op in (Op.LOAD, Op.LOAD_SIGNED, Op.STORE):
            self._memory_access(instruction)
            return
        operands = [self._operand(operand) for operand in instruction.operands]
        if op is Op.CHECK:
            self._fail_unless(operands[0], instruction.error, instruction.line)
            return
        if op is Op.SPEND:
            self._spend(str(instruction.size))
            return
        if op is Op.COPY:
            self.routines[_COPY] = None
            self._spend(self._value(f"udiv i64 {operands[2]}, {BYTES_PER_SPEND}"))
            self._line("call void @copy(" + ", ".join(f"i64 {operand}" for operand in operands) + ")")
            return
        if op is Op.CLEAR:
            self.routines[_CLEAR] = None
            self._spend(str(instruction.size // BYTES_PER_SPEND))
            self._line(f"call void @clear(i64 {operands[0]}, i64 {instruction.size})")
            return
        assert instruction.target is not None
        self._assign(instruction.target, self._result(instruction, operands))

    def _result(self, instruction: ir.Instruction, operands: list[str]) -> str:
        op = instruction.op
        if op in _BINARY:
            kind = _LLVM_TYPE[instruction.operands[0].kind]
            return self._value(f"{_BINARY[op]} {kind} {operands[0]}, {operands[1]}")
        if op in _COMPARE:
            return self._value(f"icmp {_COMPARE[op]} i64 {operands[0]}, {operands[1]}")
        if op in _FLOAT_BINARY:
            return self._value(f"{_FLOAT_BINARY[op]} double {operands[0]}, {operands[1]}")
        if op in _FLOAT_COMPARE:
            return self._value(f"fcmp {_FLOAT_COMPARE[op]} double {operands[0]}, {operands[1]}")
        if op in _CONVERT:
            name, source, target = _CONVERT[op]
            return self._value(f"{name} {source} {operands[0]} to {target}")
        if op in _FLOAT_CALL:
            return self._value(f"call double @llvm.{_FLOAT_CALL[op]}.f64(double {operands[0]})")
        if op in _BIT_CALL:
            name, extra = _BIT_CALL[op]
            return self._value(f"call i64 @llvm.{name}.i64(i64 {operands[0]}{extra})")
        if op in _OVERFLOW:
            call = f"call {{i64, i1}} @llvm.{_OVERFLOW[op]}.with.overflow.i64(i64 {operands[0]}, i64 {operands[1]})"
            pair = self._value(call)
            overflows = self._value(f"extractvalue {{i64, i1}} {pair}, 1")
            self._fail_if(overflows, instruction.error, instruction.line)
            return self._value(f"extractvalue {{i64, i1}} {pair}, 0")
        match op:
            case Op.MOVE:
                return operands[0]
            case Op.SELECT:
                kind = _LLVM_TYPE[instruction.operands[2].kind]
                return self._value(f"select i1 {operands[0]}, {kind} {operands[1]}, {kind} {operands[2]}")
            case Op.TO_BITS32:
                bits = self._value(f"bitcast float {self._value(f'fptrunc double {operands[0]} to float')} to i32")
                return self._value(f"zext i32 {bits} to i64")
            case Op.FROM_BITS32:
                bits = self._value(f"trunc i64 {operands[0]} to i32")
                return self._value(f"fpext float {self._value(f'bitcast i32 {bits} to float')} to double")
            case Op.SWAP:
                return self._swap(operands[0], 8 * instruction.size)
            case Op.FRAME:
                return self._value(f"add i64 %frame, {instruction.size}")
            case Op.SCRATCH:
                return self._value(f"ptrtoint ptr %scratch{instruction.size} to i64")
            case Op.DATA:
                return self._value(f"ptrtoint ptr @data{instruction.size} to i64")
            case Op.BYTES_EQUAL:
                self.routines[_BYTES_EQUAL] = None
                self._spend(self._value(f"udiv i64 {operands[1]}, {BYTES_PER_SPEND}"))
                return self._value("call i1 @bytes_equal(" + ", ".join(f"i64 {operand}" for operand in operands) + ")")
            case Op.HELPER:
                return self._helper(instruction, operands)
            case Op.MATH:
                return self._value(f"call double {self._function(instruction)}(double {operands[0]}) nounwind")
            case Op.CRC32 | Op.HASH64:
                name, routine = _DIGESTS[op]
                self.routines[routine] = None
                self._spend(self._value(f"udiv i64 {operands[1]}, {DIGESTED_BYTES_PER_SPEND}"))
                return self._value(f"call i64 @{name}(i64 {operands[0]}, i64 {operands[1]})")
        raise AssertionError(op)

    def _helper(self, instruction: ir.Instruction, operands: list[str]) -> str:
        pointer = self._function(instruction)
        arguments = ", ".join(f"i64 {operand}" for operand in ("%context", "%frame", *operands))
        result = self._value(f"call i64 {pointer}({arguments}) nounwind")
        is_error = self._value(f"icmp slt i64 {result}, 0")
        self.helper_failures.setdefault(instruction.line, []).append((result, self.label))
        onward = self._new_label()
        self._line(f"br i1 {is_error}, label %helper_failed{instruction.line}, label %{onward}, !prof !0")
        self._begin(onward)
        return result

    def _function(self, instruction: ir.Instruction) -> str:
        """The function whose address is in the context."""
        pointer_at = self._value(f"getelementptr i8, ptr %context_at, i64 {instruction.size}")
        pointer = self._value(f"load ptr, ptr {pointer_at}")
        if instruction.error:  # not every worker has it
            is_missing = self._value(f"icmp eq ptr {pointer}, null")
            self._fail_if(is_missing, instruction.error, instruction.line)
        return pointer

    def _fail_unless(self, holds: str, error: int, line: int) -> None:
        failure = self.failures.setdefault((error, line), f"fail{len(self.failures)}")
        onward = self._new_label()
        self._line(f"br i1 {holds}, label %{onward}, label %{failure}, !prof !1")
        self._begin(onward)

    def _fail_if(self, is_broken: str, error: int, line: int) -> None:
        failure = self.failures.setdefault((error, line), f"fail{len(self.failures)}")
        onward = self._new_label()
        self._line(f"br i1 {is_broken}, label %{failure}, label %{onward}, !prof !0")
        self._begin(onward)

    def _spend(self, cost: str) -> None:
        left = self._value(f"sub i64 {self._value('load i64, ptr %budget')}, {cost}")
        self._line(f"store i64 {left}, ptr %budget")

    def _swap(self, value: str, bits: int) -> str:
        if bits < 64:
            value = self._value(f"trunc i64 {value} to i{bits}")
        value = self._value(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {value})")
        return value if bits == 64 else self._value(f"zext i{bits} {value} to i64")

    def _memory_access(self, instruction: ir.Instruction) -> None:
        bits = 8 * instruction.size
        address = instruction.operands[0]
        if isinstance(address, Register) and address in self.frame_offsets:
            pointer = self._frame_pointer(self.frame_offsets[address])
        else:
            pointer = self._value(f"inttoptr i64 {self._operand(address)} to ptr")
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

    # --- values -------------------------------------------------------------------------------------------------------

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, ir.Constant):
            if operand.kind is Kind.FLOAT:
                return f"0x{operand.value:016X}"
            return str(operand.value) if operand.kind is Kind.WORD else ("true" if operand.value else "false")
        if operand in self.frame_offsets:
            return self._value(f"add i64 %frame, {self.frame_offsets[operand]}")
        if operand in self.cells:
            return self._value(f"load {_LLVM_TYPE[operand.kind]}, ptr %cell{operand.number}")
        return self.names[operand]

    def _assign(self, target: Register, value: str) -> None:
        if target in self.cells:
            self._line(f"store {_LLVM_TYPE[target.kind]} {value}, ptr %cell{target.number}")
        else:
            self.names[target] = value

    def _value(self, instruction: str) -> str:
        self.values += 1
        name = f"%v{self.values}"
        self.lines.append(f"  {name} = {instruction}")
        return name

    def _new_label(self) -> str:
        self.values += 1
        return f"c{self.values}"

    def _begin(self, label: str) -> None:
        self.label = label
        self.lines.append(f"{label}:")

    def _line(self, line: str) -> None:
        self.lines.append("  " + line)
