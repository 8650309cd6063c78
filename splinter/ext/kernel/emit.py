"""The second back end: intermediate code to LLVM's textual form, for the kernel's BPF target.

The code is a function ``u64 run(struct extension_scratch *)`` that the program in ``bpf/extension.c`` calls, and that calls the
functions there: it computes with numbers only, and touches nothing but the scratch record. Whatever a worker would do otherwise
than go on (an error, a yield, a spent budget) it hands over: the worker runs the extension from the beginning, and nothing
has happened.

Registers that several blocks know have cells in the record, not on the stack. So a block begins with nothing that the kernel's
verifier knows, however often control comes to it: it looks at each block about once, and loops need no second look.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from splinter.ext.abi import ResultKind
from splinter.ext.kernel import layout
from splinter.ext.kernel.layout import RUN_DONE, RUN_HAND_OVER, SCRATCH_BYTES
from splinter.ext.middle import ir
from splinter.ext.middle.ir import WORD_MASK, Block, Constant, Op, Register
from splinter.ext.native.llvm_text import Emitter
from splinter.limits import BYTES_PER_COST, DIGESTED_BYTES_PER_COST

ENTRY = "run"
_SIGNED_MAX, _SIGNED_MIN = (1 << 63) - 1, -(1 << 63)
_DECLARATIONS = {
    "@get(": "i64 @get(ptr, i64, i64, i64)",
    **{f"@load{bits}(": f"i64 @load{bits}(ptr, i64)" for bits in (8, 16, 32, 64)},
    "@equal(": "i64 @equal(ptr, i64, i64, i64)",
    "@copy(": "i64 @copy(ptr, i64, i64, i64)",
    "@clear(": "i64 @clear(ptr, i64, i64)",
    "@crc32(": "i64 @crc32(ptr, i64, i64, i64)",
    "@hash64(": "i64 @hash64(ptr, i64, i64, i64)",
    **{f"@llvm.{name}.with.overflow.i64": f"{{i64, i1}} @llvm.{name}.with.overflow.i64(i64, i64)"
       for name in ("sadd", "ssub", "uadd", "usub")},
    **{f"@llvm.bswap.i{bits}": f"i{bits} @llvm.bswap.i{bits}(i{bits})" for bits in (16, 32, 64)},
    "@llvm.ctpop.i64": "i64 @llvm.ctpop.i64(i64)",
    "@llvm.ctlz.i64": "i64 @llvm.ctlz.i64(i64, i1)",
}  # fmt: skip
_ATTRIBUTES = """
attributes #0 = { nounwind "no-builtins" "no-jump-tables"="true" }
!0 = !{!"branch_weights", i32 1, i32 1048576}
!1 = !{!"branch_weights", i32 1048576, i32 1}
"""


def emit(function: ir.Function, placement: ir.Placement, result: ResultKind, identity: int) -> str:
    """The module of one function, which :mod:`splinter.ext.kernel.fit` has found to fit, its registers in the frame.

    It runs only where ``identity`` was asked for.
    """
    lines = KernelEmitter(function, placement, 0, result=result, identity=identity).run()
    text = "\n".join(lines)
    declarations = [f"declare {kind} nounwind" for name, kind in _DECLARATIONS.items() if name in text]
    return "\n".join((*declarations, text, _ATTRIBUTES))


def data_places(function: ir.Function) -> tuple[list[int], int]:
    """Where in the scratch record each constant of a function is, by its number; and how many bytes all take."""
    places, end = [], layout.DATA
    for content in function.data:
        places.append(end)
        end += -(-max(len(content), 1) // 8) * 8
    return places, end - layout.DATA


@dataclass
class KernelEmitter(Emitter):
    """Translates one function."""

    result: ResultKind = ResultKind.NONE
    identity: int = 0
    in_scratch: set[Register] = field(default_factory=set)  # of this block: what certainly is an address in the record

    def __post_init__(self) -> None:
        super().__post_init__()
        ordered = sorted((r for r in self.cells if r not in self.slots), key=lambda register: register.number)
        self.cell_places = {register: layout.CELLS + 8 * index for index, register in enumerate(ordered)}
        self.data_places = data_places(self.function)[0]

    def run(self) -> list[str]:
        """The lines of the function."""
        lines = [
            f"define i64 @{ENTRY}(ptr %frame_at) #0 {{",
            "entry:",
            f"  %identity_at = getelementptr i8, ptr %frame_at, i64 {layout.IDENTITY}",
            "  %identity = load i64, ptr %identity_at",
            f"  %is_meant = icmp eq i64 %identity, {self.identity}",
            "  br i1 %is_meant, label %meant, label %handover",
            "meant:",
        ]
        for content, place in zip(self.function.data, self.data_places, strict=True):
            for at in range(0, len(content), 4):
                part = int.from_bytes(content[at : at + 4].ljust(4, b"\0"), "little")
                lines.append(f"  %data{place + at} = getelementptr i8, ptr %frame_at, i64 {place + at}")
                lines.append(f"  store i32 {part}, ptr %data{place + at}, align 4")
        lines.append("  br label %b0")
        return [*lines, *self._body(self.function.blocks), "}"]

    # --- exits ------------------------------------------------------------------------------------------------------------

    def _return(self, code: int) -> None:
        self._line(f"ret i64 {RUN_DONE + self.result}")

    def _yield(self, block: Block, target: Block, line: int) -> None:
        self._line("br label %handover")

    def _fail_unless(self, holds: str, error: int, line: int) -> None:
        if holds not in self.passed:
            self.passed.add(holds)
            self._hand_over_unless(holds)

    def _fail_if(self, is_broken: str, error: int, line: int) -> None:
        self._line(f"br i1 {is_broken}, label %handover, label %{self._next_label()}{self.unlikely}")
        self._go_on()

    def _hand_over_unless(self, holds: str) -> None:
        self._line(f"br i1 {holds}, label %{self._next_label()}, label %handover{self.likely}")
        self._go_on()

    def _failure_blocks(self) -> None:
        self._begin("handover")
        self._line(f"ret i64 {RUN_HAND_OVER}")

    # --- values -----------------------------------------------------------------------------------------------------------

    def _cell(self, register: Register) -> str:
        place = self.cell_places.get(register)
        return self._frame_pointer(self.slots[register] if place is None else place)

    def _operand(self, operand: ir.Operand) -> str:
        if isinstance(operand, Register) and operand in self.frame_offsets:
            return str(self.frame_offsets[operand])
        return super()._operand(operand)

    def _result(self, instruction: ir.Instruction, operands: list[str]) -> str:
        op, target = instruction.op, instruction.target
        if target is not None and target not in self.cells and self._is_in_scratch(instruction):
            self.in_scratch.add(target)
        match op:
            case Op.UDIV if not isinstance(instruction.operands[1], Constant):
                return self._value(f"udiv i64 {operands[0]}, {self._not_a_power(operands[1])}")
            case Op.UMUL | Op.SMUL:
                return self._checked_product(instruction, operands)
            case Op.FRAME:
                return str(instruction.size)
            case Op.SCRATCH:
                return str(layout.STACK + 8 * instruction.size)
            case Op.DATA:
                return str(self.data_places[instruction.size])
            case Op.TRAILING_ZEROS:  # LLVM's own way is by a table, and a program has none
                below = self._hidden(self._value(f"sub i64 {operands[0]}, 1"))
                zeros = self._value(f"and i64 {below}, {self._value(f'xor i64 {operands[0]}, -1')}")
                return self._value(f"call i64 @llvm.ctpop.i64(i64 {zeros})")
            case Op.BYTES_EQUAL:
                self._spend_for_bytes(instruction.operands[1], operands[1])
                same = self._value(f"icmp eq i64 {operands[1]}, {operands[3]}")
                length = self._value(f"select i1 {same}, i64 {operands[1]}, i64 0")
                equal = self._call("equal", operands[0], operands[2], length)
                return self._value(f"and i1 {same}, {self._value(f'icmp ne i64 {equal}, 0')}")
            case Op.CRC32 | Op.HASH64:
                self._spend(self._value(f"udiv i64 {operands[1]}, {DIGESTED_BYTES_PER_COST}"))
                return self._call("crc32" if op is Op.CRC32 else "hash64", *operands)
        return super()._result(instruction, operands)

    def _instruction(self, instruction: ir.Instruction) -> None:
        if instruction.op is Op.COPY:
            operands = [self._operand(operand) for operand in instruction.operands]
            self._spend_for_bytes(instruction.operands[2], operands[2])
            self._call("copy", *operands)
        elif instruction.op is Op.CLEAR:
            self.unspent += instruction.size // BYTES_PER_COST
            self._call("clear", self._operand(instruction.operands[0]), str(instruction.size))
        else:
            super()._instruction(instruction)

    def _helper(self, instruction: ir.Instruction, operands: list[str]) -> str:
        """A look-up; whatever else it says than found or not found, the worker has to say."""
        result = self._call("get", *operands)
        self._fail_if(self._value(f"icmp slt i64 {result}, 0"), 0, 0)
        return result

    def _call(self, name: str, *operands: str) -> str:
        arguments = "".join(f", i64 {operand}" for operand in operands)
        return self._value(f"call i64 @{name}(ptr %frame_at{arguments})")

    def _checked_product(self, instruction: ir.Instruction, operands: list[str]) -> str:
        """A product that hands over when it does not fit: BPF has no product of 128 bits."""
        left, right = operands
        product = self._value(f"mul i64 {left}, {right}")
        if instruction.op is Op.UMUL:
            self._fail_if(self._exceeds(operands, instruction.operands, str(WORD_MASK)), 0, 0)
            return product
        magnitudes = [self._magnitude(operand) for operand in operands]
        negative = self._value(f"icmp slt i64 {self._value(f'xor i64 {left}, {right}')}, 0")
        most = self._value(f"select i1 {negative}, i64 {-_SIGNED_MIN}, i64 {_SIGNED_MAX}")
        self._fail_if(self._exceeds(magnitudes, (), most), 0, 0)
        return product

    def _exceeds(self, factors: list[str], operands: tuple[ir.Operand, ...], most: str) -> str:
        """Whether the product of two unsigned words, which may be constants among ``operands``, is more than ``most``."""
        left, right = factors
        for operand, other in zip(operands, (right, left), strict=False):
            if isinstance(operand, Constant):
                return self._value(f"icmp ugt i64 {other}, {WORD_MASK // max(operand.value, 1)}")
        is_zero = self._value(f"icmp eq i64 {left}, 0")
        divisor = self._not_a_power(self._value(f"select i1 {is_zero}, i64 1, i64 {left}"))
        quotient = self._value(f"udiv i64 {most}, {divisor}")
        # Seen through, the comparison would become LLVM's own check, by a product of 128 bits.
        bound = self._hidden(quotient)
        is_more = self._value(f"icmp ugt i64 {right}, {bound}")
        return self._value(f"select i1 {is_zero}, i1 false, i1 {is_more}")

    def _hidden(self, value: str) -> str:
        """A value that LLVM knows nothing of."""
        return self._value(f'call i64 asm sideeffect "", "=r,0"(i64 {value})')

    def _not_a_power(self, divisor: str) -> str:
        """A divisor that LLVM does not know to be a power of two: it would shift by the number of the trailing zeros, which it
        counts by a table, and a program has none."""
        return self._hidden(divisor)

    def _magnitude(self, operand: str) -> str:
        is_negative = self._value(f"icmp slt i64 {operand}, 0")
        return self._value(f"select i1 {is_negative}, i64 {self._value(f'sub i64 0, {operand}')}, i64 {operand}")

    # --- memory -----------------------------------------------------------------------------------------------------------

    def _is_in_scratch(self, instruction: ir.Instruction) -> bool:
        """Whether an instruction makes an address in the record: so does what adds to one, as our own verifier has proved."""
        if instruction.op in (Op.FRAME, Op.SCRATCH, Op.DATA):
            return True
        return instruction.op is Op.ADD and self._is_scratch(instruction.operands[0])

    def _is_scratch(self, address: ir.Operand) -> bool:
        return address in self.in_scratch or address in self.frame_offsets

    def _begin_block(self) -> None:
        super()._begin_block()
        self.in_scratch.clear()

    def _memory_access(self, instruction: ir.Instruction) -> None:
        bits, address = 8 * instruction.size, instruction.operands[0]
        is_store = instruction.op is Op.STORE  # our verifier lets it write nothing but the frame and cells
        if isinstance(address, Register) and address in self.frame_offsets:
            pointer = self._frame_pointer(self.frame_offsets[address])
        elif is_store or self._is_scratch(address):
            # Hidden, or LLVM would see that the bound is not needed; the kernel's verifier does not.
            bounded = self._value(f"and i64 {self._hidden(self._operand(address))}, {SCRATCH_BYTES - 1}")
            pointer = self._value(f"getelementptr i8, ptr %frame_at, i64 {bounded}")
        else:
            assert instruction.target is not None
            value = self._call(f"load{bits}", self._operand(address))
            if instruction.op is Op.LOAD_SIGNED and bits < 64:
                value = self._value(f"sext i{bits} {self._value(f'trunc i64 {value} to i{bits}')} to i64")
            self._assign(instruction.target, value)
            return
        self._access(instruction, pointer)
