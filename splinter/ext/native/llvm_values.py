"""Fourth stage, native: the lines of one function in LLVM's textual form, its values, its budget and its failures."""

from __future__ import annotations

from dataclasses import dataclass, field

from splinter.ext import abi
from splinter.ext.middle import ir, liveness
from splinter.ext.middle.ir import Kind, Operand, Register
from splinter.limits import BYTES_PER_COST

LLVM_TYPE = {Kind.WORD: "i64", Kind.BIT: "i1", Kind.FLOAT: "double"}


@dataclass
class FunctionText:
    """Lines as they are written, and what is known at the end of them."""

    function: ir.Function
    placement: ir.Placement
    number: int  # of the function in its module
    lines: list[str] = field(default_factory=list)
    failures: dict[tuple[int, int], str] = field(default_factory=dict)  # (error, line) → label
    helper_failures: dict[int, list[tuple[str, str]]] = field(default_factory=dict)  # line → (result, label)
    values: int = 0
    made: dict[str, str] = field(default_factory=dict)  # instruction → value, of this block: the same is not done twice
    passed: set[str] = field(default_factory=set)  # bits that were checked in this block
    label: str = ""
    routines: dict[str, None] = field(default_factory=dict)  # those that are called
    known: dict[Register, str] = field(default_factory=dict)  # what cells hold, as far as this block has read or written them
    names: dict[Register, str] = field(default_factory=dict)
    frame_offsets: dict[Register, int] = field(default_factory=dict)  # registers that hold an address in the frame
    failed_from: list[tuple[str, str]] = field(default_factory=list)  # label, and line and error in one word
    unspent: int = 0  # of the budget: what this block costs and has not taken yet

    def __post_init__(self) -> None:
        # Quick code is laid out as it is written, whatever is likely.
        self.entry = f"resume{self.number}"
        registers = self.function.registers
        self.is_quick = self.placement.in_frame
        self.preempt, self.states, self.saved = self.placement.preempt, self.placement.states, self.placement.saved
        self.cells = {registers[number] for number in liveness.members(self.placement.cells)}
        self.slots = {registers[number]: offset for number, offset in self.placement.slots.items()}
        self.unlikely, self.likely = ("", "") if self.is_quick else (", !prof !0", ", !prof !1")

    def _data(self, number: int) -> str:
        return f"@data{self.number}.{number}"

    def _frame_pointer(self, offset: int) -> str:
        return self._pure(f"getelementptr i8, ptr %frame_at, i64 {offset}")

    def _cell(self, register: Register) -> str:
        """The pointer to a register's cell."""
        if self.is_quick and register in self.slots:
            return self._frame_pointer(self.slots[register])
        return f"%cell{register.number}"

    def _fail_unless(self, holds: str, error: int, line: int) -> None:
        if holds in self.passed:
            return
        self.passed.add(holds)
        failure = self.failures.setdefault((error, line), f"fail{len(self.failures)}")
        self._line(f"br i1 {holds}, label %{self._next_label()}, label %{failure}{self.likely}")
        self._go_on()

    def _fail_if(self, is_broken: str, error: int, line: int) -> None:
        failure = self.failures.setdefault((error, line), f"fail{len(self.failures)}")
        self._line(f"br i1 {is_broken}, label %{failure}, label %{self._next_label()}{self.unlikely}")
        self._go_on()

    def _budget(self) -> str:
        """The pointer to what is left of the budget."""
        return self._frame_pointer(abi.F_BUDGET) if self.is_quick else "%budget"

    def _spend(self, cost: str) -> None:
        left = self._value(f"sub i64 {self._value(f'load i64, ptr {self._budget()}')}, {cost}")
        self._line(f"store i64 {left}, ptr {self._budget()}")

    def _spend_for_bytes(self, length: Operand, operand: str) -> None:
        if isinstance(length, ir.Constant):
            self.unspent += length.value // BYTES_PER_COST
        else:
            self._spend(self._value(f"udiv i64 {operand}, {BYTES_PER_COST}"))

    def _take_unspent(self) -> str:
        """Take what the block cost, at its end: nothing looks at the budget before. What is left."""
        if not self.unspent:
            return ""
        left = self._value(f"sub i64 {self._value(f'load i64, ptr {self._budget()}')}, {self.unspent}")
        self._line(f"store i64 {left}, ptr {self._budget()}")
        self.unspent = 0
        return left

    def _swap(self, value: str, bits: int) -> str:
        if bits < 64:
            value = self._value(f"trunc i64 {value} to i{bits}")
        value = self._value(f"call i{bits} @llvm.bswap.i{bits}(i{bits} {value})")
        return value if bits == 64 else self._value(f"zext i{bits} {value} to i64")

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, ir.Constant):
            if operand.kind is Kind.FLOAT:
                return f"0x{operand.value:016X}"
            return str(operand.value) if operand.kind is Kind.WORD else ("true" if operand.value else "false")
        value = self.names.get(operand)
        if value is not None:
            return value
        if operand in self.frame_offsets:
            return self._pure(f"add i64 %frame, {self.frame_offsets[operand]}")
        if operand not in self.known:
            self.known[operand] = self._value(f"load {LLVM_TYPE[operand.kind]}, ptr {self._cell(operand)}")
        return self.known[operand]

    def _assign(self, target: Register, value: str) -> None:
        if target in self.cells:
            self._line(f"store {LLVM_TYPE[target.kind]} {value}, ptr {self._cell(target)}")
            self.known[target] = value
        else:
            self.names[target] = value

    def _value(self, instruction: str) -> str:
        # Numbers in place of names, counted as LLVM does: its symbol table is a third of the time to parse and compile. It
        # counts blocks without a name as well.
        name = f"%{self.values}"
        self.values += 1
        self.lines.append(f"  {name} = {instruction}")
        return name

    def _pure(self, instruction: str) -> str:
        """The value of an instruction that depends on nothing but its operands."""
        value = self.made.get(instruction)
        if value is None:
            value = self.made[instruction] = self._value(instruction)
        return value

    def _next_label(self) -> str:
        """Of the block that begins behind the next line: a number too, counted with the values."""
        return str(self.values)

    def _go_on(self) -> None:
        """Begin the block that :meth:`_next_label` named."""
        self._begin(self._next_label())
        self.values += 1

    def _begin(self, label: str) -> None:
        self.label = label
        self.lines.append(f"{label}:")

    def _line(self, line: str) -> None:
        self.lines.append("  " + line)
