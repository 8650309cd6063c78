"""Appending intermediate code: small steps that several parts of the lowering share."""

from __future__ import annotations

from dataclasses import dataclass

from splinter.ext import ir
from splinter.ext.abi import ExtensionError
from splinter.ext.ir import Kind, Op

_BIT_RESULTS = {Op.EQ, Op.NE, Op.SLT, Op.SLE, Op.ULT, Op.ULE, Op.BYTES_EQUAL}
_BITWISE = {Op.AND, Op.OR, Op.XOR}


@dataclass(frozen=True)
class View:
    """Bytes: an address, 0 for None, and a length, 0 for None."""

    address: ir.Operand
    length: ir.Operand


Value = ir.Operand | View
NO_VIEW = View(ir.ZERO, ir.ZERO)


class Builder:
    """Holds the function under construction and the block that code is appended to."""

    def __init__(self, name: str) -> None:
        self.function = ir.Function(name)
        self.block = self.function.new_block()
        self._frame: dict[tuple[ir.Block, int], ir.Register] = {}

    def emit(self, op: Op, *operands: ir.Operand, size: int = 0, line: int = 0) -> ir.Register:
        """Append an instruction with a result."""
        is_bit = op in _BIT_RESULTS or (op in _BITWISE and operands[0].kind is Kind.BIT)
        target = self.function.new_register(Kind.BIT if is_bit else Kind.WORD)
        error = ExtensionError.OVERFLOW if op in ir.CHECKED_ARITHMETIC else 0
        self.block.instructions.append(ir.Instruction(op, target, operands, size, error, line))
        return target

    def end(self, terminator: ir.Terminator) -> None:
        """End the current block, unless it has ended."""
        if self.block.terminator is None:
            self.block.terminator = terminator

    def check(self, condition: ir.Operand, error: ExtensionError, line: int) -> None:
        """End the task with an error unless the condition holds."""
        if condition != ir.TRUE:
            self.block.instructions.append(ir.Instruction(Op.CHECK, None, (condition,), 0, error, line))

    def load(self, address: ir.Operand, size: int, is_signed: bool = False) -> ir.Register:
        return self.emit(Op.LOAD_SIGNED if is_signed else Op.LOAD, address, size=size)

    def store(self, address: ir.Operand, value: ir.Operand, size: int) -> None:
        self.block.instructions.append(ir.Instruction(Op.STORE, None, (address, value), size))

    def frame(self, offset: int) -> ir.Register:
        return self.emit(Op.FRAME, size=offset)

    def spend(self, cost: int) -> None:
        self.block.instructions.append(ir.Instruction(Op.SPEND, None, (), cost))

    def move(self, target: Value, value: Value) -> None:
        """Assign to the registers of a variable."""
        if isinstance(target, View):
            assert isinstance(value, View)
            self.move(target.address, value.address)
            self.move(target.length, value.length)
            return
        assert isinstance(target, ir.Register) and not isinstance(value, View)
        self.block.instructions.append(ir.Instruction(Op.MOVE, target, (value,)))

    def negate(self, bit: ir.Operand) -> ir.Operand:
        if isinstance(bit, ir.Constant):
            return ir.FALSE if bit.value else ir.TRUE
        return self.emit(Op.XOR, bit, ir.TRUE)

    def widen(self, value: ir.Operand) -> ir.Operand:
        """A bit as the word 0 or 1; a word as it is."""
        if value.kind is Kind.WORD:
            return value
        return ir.word(value.value) if isinstance(value, ir.Constant) else self.emit(Op.WIDEN, value)

    def select(self, condition: ir.Operand, yes: ir.Operand, no: ir.Operand) -> ir.Register:
        """One of two words."""
        return self.emit(Op.SELECT, condition, yes, no)
