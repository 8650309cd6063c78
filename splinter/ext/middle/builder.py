"""Appending intermediate code: small steps that several parts of the lowering share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splinter.errors import SplinterError
from splinter.ext.abi import ExtensionError
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Kind, Op
from splinter.ext.types import Element
from splinter.limits import INSTRUCTIONS_MAX, LOWERING_STEPS_MAX

_NEUTRAL_ZERO = {Op.ADD, Op.SUB}


@dataclass(eq=False, slots=True)
class View:
    """Bytes: an address, 0 for None, and a length, 0 for None. A value of type None is ``NO_VIEW`` itself."""

    address: ir.Operand
    length: ir.Operand


@dataclass(frozen=True)
class Memory:
    """An array or buffer: where it starts in the frame, its length in elements or bytes, and the size of an element.

    A buffer's first 8 bytes hold how many bytes are in it; its content follows. A table of constants is no part of the
    frame: its number stands in ``data``.
    """

    offset: int
    length: int
    element: Element
    data: int = -1


_LOOK_BACK = 4  # instructions: the two loads of a view, and what computes the second's address
# Behind these, and at the start of a block, the code may be cut: no cell of the stack, which a yield loses, is in use there.
CUT_BEHIND = frozenset({Op.HELPER, Op.BYTES_EQUAL, Op.COPY, Op.CRC32, Op.HASH64})
Value = ir.Operand | View | Memory | tuple[Any, ...]
NO_VIEW = View(ir.ZERO, ir.ZERO)


def _found_by(block: ir.Block) -> tuple[ir.Block, ir.Operand] | None:
    """Where control comes to when a block's branch has found that a word is not 0, and that word."""
    branch = block.terminator
    if not isinstance(branch, ir.Branch) or not block.instructions:
        return None
    test = block.instructions[-1]
    if test.target is not branch.condition or test.op not in (Op.EQ, Op.NE) or test.operands[1] != ir.ZERO:
        return None
    return (branch.yes if test.op is Op.NE else branch.no), test.operands[0]


class TooLargeError(SplinterError):
    """The function exceeds a limit of a back end; the message names it."""

    line = 1  # where it did, if that is known


class UntranslatedError(SplinterError):
    """A statement was accepted that cannot be lowered: a fault of the compiler."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(reason)


@dataclass(slots=True)
class Work:
    """What lowering has done so far, for all extensions that are compiled together."""

    steps: int = 0

    def step(self) -> None:
        """Count something that takes time, also where no instruction comes of it."""
        self.steps += 1
        if self.steps > LOWERING_STEPS_MAX:
            raise TooLargeError(f"more than {LOWERING_STEPS_MAX} steps to compile, with helper functions put in place")


class Builder:
    """Holds the function under construction and the block that code is appended to.

    It leaves out what is known already, since every instruction costs all that comes behind: the copy of what was computed for
    a variable, an address in the frame that the block has, the look at a view that is certainly not None.
    """

    def __init__(self, name: str, work: Work) -> None:
        self.step = work.step
        self.function = ir.Function(name)
        self.block = self.function.new_block()
        self.count = 0  # instructions so far: inlining must not multiply without bound
        self.entered = {self.block}  # blocks that control may come to, as far as is known
        self._temporary: set[ir.Operand] = set()  # results of instructions that nothing but the expression around knows
        self._frame: dict[int, ir.Register] = {}  # by offset: its address, for as long as the block is not cut
        self._frame_of = self.block
        # By block that has not ended: registers that are not 0 there, on whatever way control comes.
        self._nonzero: dict[ir.Block, frozenset[ir.Operand]] = {}

    def append(
        self, op: Op, target: ir.Register | None, *operands: ir.Operand, size: int = 0, error: int = 0, line: int = 0
    ) -> None:
        """Append an instruction whose result, if it has one, is nobody's but the target's."""
        self.step()
        self.block.instructions.append(ir.Instruction(op, target, operands, size, error, line))

    def new_block(self) -> ir.Block:
        self.step()
        return self.function.new_block()

    def emit(self, op: Op, *operands: ir.Operand, size: int = 0, line: int = 0, error: int = 0) -> ir.Register:
        """Append an instruction with a result."""
        if op in _NEUTRAL_ZERO and operands[1] == ir.ZERO and isinstance(operands[0], ir.Register):
            return operands[0]
        self.step()
        self.count += 1
        if self.count > INSTRUCTIONS_MAX:
            raise TooLargeError(f"more than {INSTRUCTIONS_MAX} instructions, with helper functions put in place")
        kind = ir.RESULT_KINDS[op, *[operand.kind for operand in operands]]
        assert kind is not None
        target = self.function.new_register(kind)
        error = ExtensionError.OVERFLOW if op in ir.CHECKED_ARITHMETIC else error
        self.block.instructions.append(ir.Instruction(op, target, operands, size, error, line))
        self._temporary.add(target)
        if op in CUT_BEHIND:
            self._frame.clear()
        return target

    def loop_head(self) -> ir.Block:
        """A new block to which control comes back, so that nothing is known there of what is before."""
        head = self.new_block()
        self._nonzero[head] = frozenset()
        return head

    def end(self, terminator: ir.Terminator) -> None:
        """End the current block, unless it has ended."""
        block = self.block
        if block.terminator is not None:
            return
        block.terminator = terminator
        known = self._nonzero.pop(block, frozenset())
        found = _found_by(block)
        for successor in block.successors():
            self.entered.add(successor)
            there = known | {found[1]} if found is not None and found[0] is successor else known
            before = self._nonzero.get(successor)
            self._nonzero[successor] = there if before is None else there & before

    def go_on(self, block: ir.Block) -> None:
        """Append to a block to which every jump has been made. If there was none, it has ended before it begins.

        The checker takes code that is never reached as it comes: there, variables need not have a value.
        """
        self.block = block
        if block not in self.entered:
            self.end(ir.Done())

    def check(self, condition: ir.Operand, error: ExtensionError, line: int) -> None:
        """End the task with an error unless the condition holds."""
        if condition != ir.TRUE:
            self.append(Op.CHECK, None, condition, error=error, line=line)

    def load(self, address: ir.Operand, size: int, is_signed: bool = False) -> ir.Register:
        return self.emit(Op.LOAD_SIGNED if is_signed else Op.LOAD, address, size=size)

    def store(self, address: ir.Operand, value: ir.Operand, size: int) -> None:
        self.append(Op.STORE, None, address, value, size=size)

    def check_not_zero(self, value: ir.Operand, error: ExtensionError, line: int) -> None:
        """The same of a word that is not to be 0."""
        known = self._nonzero.get(self.block, frozenset())
        if value not in known:
            self.check(self.emit(Op.NE, value, ir.ZERO), error, line)
            self._nonzero[self.block] = known | {value}

    def frame(self, offset: int) -> ir.Register:
        """The address of a byte of the frame."""
        if self._frame_of is not self.block:
            self._frame_of, self._frame = self.block, {}
        address = self._frame.get(offset)
        if address is None:
            address = self._frame[offset] = self.emit(Op.FRAME, size=offset)
            self.keep(address)
        return address

    def spend(self, cost: int) -> None:
        self.append(Op.SPEND, None, size=cost)

    def copy(self, target: ir.Operand, source: View) -> None:
        self.append(Op.COPY, None, target, source.address, source.length)
        self._frame.clear()

    def clear(self, address: ir.Operand, nbytes: int) -> None:
        self.append(Op.CLEAR, None, address, size=nbytes)

    def move(self, target: Value, value: Value) -> None:
        """Assign to the registers of a variable."""
        if isinstance(target, tuple):
            assert isinstance(value, tuple)
            for one_target, one_value in zip(target, value, strict=True):
                self.move(one_target, one_value)
            return
        if target is NO_VIEW:
            assert value is NO_VIEW
            return
        if isinstance(target, View):
            assert isinstance(value, View)
            self.move(target.address, value.address)
            self.move(target.length, value.length)
            return
        assert isinstance(target, ir.Register) and isinstance(value, ir.Operand)
        known = self._nonzero.get(self.block, frozenset())
        if value in known or target in known:
            self._nonzero[self.block] = known | {target} if value in known else known - {target}
        if value not in self._temporary or not self._is_retargeted(value, target):
            self.append(Op.MOVE, target, value)

    def keep(self, value: Value) -> None:
        """From now on a value is somebody's, and stays where it is."""
        if isinstance(value, tuple):
            for part in value:
                self.keep(part)
        elif isinstance(value, View):
            self._temporary -= {value.address, value.length}
        elif not isinstance(value, Memory):
            self._temporary.discard(value)

    def _is_retargeted(self, value: ir.Operand, target: ir.Register) -> bool:
        """Have the instruction that made a value assign it to a variable at once, if it is one of the last."""
        for instruction in self.block.instructions[: -_LOOK_BACK - 1 : -1]:
            if instruction.target is value:
                instruction.target = target
                return True
            if instruction.target is target or value in instruction.operands or target in instruction.operands:
                return False
        return False

    def negate(self, bit: ir.Operand) -> ir.Operand:
        if isinstance(bit, ir.Constant):
            return ir.FALSE if bit.value else ir.TRUE
        return self.emit(Op.XOR, bit, ir.TRUE)

    def take_negation(self, bit: ir.Operand) -> ir.Operand | None:
        """What a bit is the negation of, when it was made just now and for nobody else; then it is made no more."""
        if bit not in self._temporary or not self.block.instructions:
            return None
        last = self.block.instructions[-1]
        if last.target is not bit or last.op is not Op.XOR or last.operands[1] != ir.TRUE:
            return None
        self.block.instructions.pop()
        return last.operands[0]

    def widen(self, value: ir.Operand) -> ir.Operand:
        """A bit as the word 0 or 1; a word as it is."""
        if value.kind is Kind.WORD:
            return value
        return ir.word(value.value) if isinstance(value, ir.Constant) else self.emit(Op.WIDEN, value)

    def select(self, condition: ir.Operand, yes: ir.Operand, no: ir.Operand) -> ir.Register:
        """One of two words or floats."""
        return self.emit(Op.SELECT, condition, yes, no)
