"""What an extension asks the store for first, where its arguments tell: the worker has it fetched meanwhile.

The intermediate code is followed from its entry, each block once, with what is known of the registers: which hold a parameter's
word, the address and length of a bytes parameter, a cell of the stack with a parameter in it. The first call with a table and
a key ends the search. It is a hint: where paths differ, or a parameter changes on one of them, it may be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from splinter.ext import abi
from splinter.ext.abi import FirstKey
from splinter.ext.helpers import HELPERS
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Op, Register
from splinter.ext.types import WORD_BYTES

_BLOCKS_MAX = 64  # that are looked at: what comes later is no longer the first thing that a task does


@dataclass(frozen=True)
class FirstLookup:
    """Table and key of an extension's first look-up; parameters are counted without the store, from 0."""

    key: FirstKey = FirstKey.UNKNOWN
    key_parameter: int = 0
    table: int = 0
    table_parameter: int = abi.NO_PARAMETER  # this: the table is ``table``


class _Is(Enum):
    """What a register holds; the number beside it is a parameter's, or a cell's."""

    FRAME = auto()  # the address of a field of the frame (its offset)
    ARGUMENTS = auto()  # the address of the arguments
    PLACE = auto()  # the address of a parameter's word
    WORD = auto()  # a parameter's word
    START = auto()  # of a bytes parameter: where its bytes begin, from the start of the arguments
    ADDRESS = auto()  # of its bytes
    LENGTH = auto()  # of its bytes
    CELL = auto()  # the address of a cell of the stack


_Known = tuple[_Is, int]


def first_lookup(function: ir.Function) -> FirstLookup:
    """The hint for the worker."""
    seen = {function.blocks[0]}
    waiting: list[tuple[ir.Block, dict[Register, _Known], dict[int, _Known]]] = [(function.blocks[0], {}, {})]
    for block, known, cells in waiting:  # grows while it is gone over
        path = _Path(dict(known), dict(cells))
        for instruction in block.instructions:
            if instruction.op is Op.HELPER and HELPERS[instruction.size].is_keyed:
                return path.lookup(*instruction.operands[:3])
            path.step(instruction)
        for successor in block.successors():
            if successor not in seen and len(seen) < _BLOCKS_MAX:
                seen.add(successor)
                waiting.append((successor, path.known, path.cells))
    return FirstLookup()


class _Path:
    def __init__(self, known: dict[Register, _Known], cells: dict[int, _Known]) -> None:
        self.known, self.cells = known, cells

    def _of(self, operand: ir.Operand) -> _Known | None:
        return self.known.get(operand) if isinstance(operand, Register) else None

    def step(self, instruction: ir.Instruction) -> None:
        """Take an instruction into account."""
        if instruction.op is Op.STORE:
            address, value = instruction.operands
            to, content = self._of(address), self._of(value)
            if to is not None and to[0] is _Is.CELL:
                self.cells.pop(to[1], None)
                if content is not None:
                    self.cells[to[1]] = content
        if instruction.target is not None:
            result = self._result(instruction)
            self.known.pop(instruction.target, None)
            if result is not None:
                self.known[instruction.target] = result

    def _result(self, instruction: ir.Instruction) -> _Known | None:
        op, operands = instruction.op, instruction.operands
        if op is Op.FRAME:
            return _Is.FRAME, instruction.size
        if op is Op.SCRATCH:
            return _Is.CELL, instruction.size
        known = [self._of(operand) for operand in operands]
        if not known or known[0] is None:
            return None
        (what, number), other = known[0], operands[-1]
        match op:
            case Op.MOVE:
                return what, number
            case Op.LOAD if what is _Is.FRAME and number == abi.F_ARGUMENTS:
                return _Is.ARGUMENTS, 0
            case Op.LOAD if what in (_Is.ARGUMENTS, _Is.PLACE) and instruction.size == WORD_BYTES:
                return _Is.WORD, number
            case Op.ADD if what is _Is.ARGUMENTS and isinstance(other, ir.Constant):
                return _Is.PLACE, other.value // WORD_BYTES
            case Op.ADD if what is _Is.ARGUMENTS and known[1] is not None and known[1][0] is _Is.START:
                return _Is.ADDRESS, known[1][1]
            case Op.AND if what is _Is.WORD:
                return _Is.START, number
            case Op.LSHR if what is _Is.WORD:
                return _Is.LENGTH, number
        return None

    def lookup(self, table: ir.Operand, key: ir.Operand, length: ir.Operand) -> FirstLookup:
        """What the first call of the store asks for, by its operands."""
        if isinstance(table, ir.Constant):
            table_number, table_parameter = table.value, abi.NO_PARAMETER
        else:
            known_table = self._of(table)
            if known_table is None or known_table[0] is not _Is.WORD:
                return FirstLookup()
            table_number, table_parameter = 0, known_table[1]
        known_key, known_length = self._of(key), self._of(length)
        if known_key is not None and known_key[0] is _Is.CELL:
            word = self.cells.get(known_key[1])
            if word is not None and word[0] is _Is.WORD:
                return FirstLookup(FirstKey.INTEGER, word[1], table_number, table_parameter)
        elif known_key is not None and known_key[0] is _Is.ADDRESS and known_length == (_Is.LENGTH, known_key[1]):
            return FirstLookup(FirstKey.BYTES, known_key[1], table_number, table_parameter)
        return FirstLookup()
