"""The intermediate code between checker and back ends: a graph of basic blocks over registers.

There are two kinds of registers: 64-bit words and bits. A view is two words (address, length), and None is address 0.
Registers may be assigned several times; a back end finds out which live across blocks and which across yields. All checks
that the language promises are explicit instructions here (``CHECK`` and the checked arithmetic), so a back end that
translates each instruction faithfully is safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from splinter.ext.abi import FRAME_HEADER_BYTES
from splinter.ext.helpers import HELPERS

_COUNT_BYTES = 8


class Kind(Enum):
    """What a register holds."""

    __hash__ = object.__hash__  # Enum's own is written in Python and many times slower

    WORD = auto()  # 64 bits
    BIT = auto()
    FLOAT = auto()  # IEEE 754 binary64


@dataclass(eq=False, slots=True)
class Register:
    """Made by :meth:`Function.new_register` only, and therefore equal to nothing but itself. Never changed.

    Nor is a constant; neither is frozen, since that takes three times as long to make.
    """

    number: int
    kind: Kind


@dataclass(eq=False, slots=True)
class Constant:
    """A word is given as its unsigned pattern, and so is a float."""

    value: int
    kind: Kind = Kind.WORD

    def __eq__(self, other: object) -> bool:  # in a fraction of the time of a dataclass's own
        return other.__class__ is Constant and self.value == other.value and self.kind is other.kind

    def __hash__(self) -> int:
        return self.value


Operand = Register | Constant
WORD_MASK = (1 << 64) - 1
NAN_BITS, NAN_BITS32 = 0x7FF8 << 48, 0x7FC0 << 16  # of whatever is not a number, when it becomes bits
TRUE, FALSE = Constant(1, Kind.BIT), Constant(0, Kind.BIT)
ZERO = Constant(0)


def word(value: int) -> Constant:
    """An integer from -2**63 to 2**64 - 1 as a constant."""
    return Constant(value & WORD_MASK)


class Op(Enum):
    """Instructions. Words are two's complement; S and U mean signed and unsigned."""

    __hash__ = object.__hash__

    MOVE = auto()
    ADD = auto()  # ADD, SUB, MUL wrap
    SUB = auto()
    MUL = auto()
    AND = auto()  # AND, OR, XOR: of words or of bits
    OR = auto()
    XOR = auto()
    SHL = auto()  # shift counts are 0 … 63: check before
    LSHR = auto()
    ASHR = auto()
    SDIV = auto()  # divisors are not 0, nor is it MIN / -1: check before
    SREM = auto()
    UDIV = auto()
    UREM = auto()
    SADD = auto()  # these end the task with OVERFLOW when the exact result does not fit
    SSUB = auto()
    SMUL = auto()
    UADD = auto()
    USUB = auto()
    UMUL = auto()
    EQ = auto()
    NE = auto()
    SLT = auto()
    SLE = auto()
    ULT = auto()
    ULE = auto()
    SELECT = auto()  # bit, and two words or two floats
    WIDEN = auto()  # bit to word
    FADD = auto()
    FSUB = auto()
    FMUL = auto()
    FDIV = auto()
    FEQ = auto()  # comparisons of floats are false when one side is not a number
    FLT = auto()
    FLE = auto()
    SQRT = auto()
    FLOOR = auto()
    FROM_SIGNED = auto()  # word to the nearest float
    FROM_UNSIGNED = auto()
    TO_SIGNED = auto()  # float to word, towards 0; check the range before
    TO_UNSIGNED = auto()
    TO_BITS = auto()  # float to its pattern; what is not a number to NAN_BITS
    RAW_BITS = auto()  # float to its pattern whatever it is: for what stays inside
    FROM_BITS = auto()
    TO_BITS32 = auto()  # float to the nearest binary32's pattern; what is not a number to NAN_BITS32
    FROM_BITS32 = auto()
    SWAP = auto()  # reverse the order of the lower ``size`` bytes; the others become 0
    POPCOUNT = auto()
    LEADING_ZEROS = auto()  # 64 for 0
    TRAILING_ZEROS = auto()
    MATH = auto()  # call the C library's function of one float at byte ``size`` of the context
    CRC32 = auto()  # address, length, state: as zlib computes it, without the inversions before and behind
    HASH64 = auto()  # address, length, state: FNV-1a
    CHECK = auto()  # bit: ends the task with ``error`` when it is 0
    LOAD = auto()  # ``size`` bytes at an address, zero-extended
    LOAD_SIGNED = auto()  # sign-extended
    STORE = auto()  # address, word: the lower ``size`` bytes
    FRAME = auto()  # address of the byte ``size`` of the frame
    SCRATCH = auto()  # address of the 8-byte stack cell number ``size``; does not survive a yield
    DATA = auto()  # address of the constant bytes number ``size``
    HELPER = auto()  # call the helper at byte ``size`` of the context; a negative result ends the task
    BYTES_EQUAL = auto()  # address, length, address, length
    COPY = auto()  # target address, source address, length; they may overlap
    CLEAR = auto()  # address: ``size`` bytes, a multiple of 8, become 0
    SPEND = auto()  # take ``size`` from the budget


_W, _B, _F = Kind.WORD, Kind.BIT, Kind.FLOAT
_SHAPES: dict[tuple[Kind | None, ...], tuple[Op, ...]] = {  # result, operands: the operations that may have them
    (_W, _W): (
        Op.MOVE, Op.SWAP, Op.POPCOUNT, Op.LEADING_ZEROS, Op.TRAILING_ZEROS, Op.LOAD, Op.LOAD_SIGNED,
    ),
    (_B, _B): (Op.MOVE,),
    (_F, _F): (Op.MOVE, Op.SQRT, Op.FLOOR, Op.MATH),
    (_W, _W, _W): (
        Op.ADD, Op.SUB, Op.MUL, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.LSHR, Op.ASHR, Op.SDIV, Op.SREM, Op.UDIV, Op.UREM,
        Op.SADD, Op.SSUB, Op.SMUL, Op.UADD, Op.USUB, Op.UMUL,
    ),
    (_B, _B, _B): (Op.AND, Op.OR, Op.XOR),
    (_B, _W, _W): (Op.EQ, Op.NE, Op.SLT, Op.SLE, Op.ULT, Op.ULE),
    (_W, _B, _W, _W): (Op.SELECT,),
    (_F, _B, _F, _F): (Op.SELECT,),
    (_W, _B): (Op.WIDEN,),
    (_F, _F, _F): (Op.FADD, Op.FSUB, Op.FMUL, Op.FDIV),
    (_B, _F, _F): (Op.FEQ, Op.FLT, Op.FLE),
    (_F, _W): (Op.FROM_SIGNED, Op.FROM_UNSIGNED, Op.FROM_BITS, Op.FROM_BITS32),
    (_W, _F): (Op.TO_SIGNED, Op.TO_UNSIGNED, Op.TO_BITS, Op.RAW_BITS, Op.TO_BITS32),
    (_W, _W, _W, _W): (Op.CRC32, Op.HASH64),
    (None, _B): (Op.CHECK,),
    (None, _W, _W): (Op.STORE,),
    (_W,): (Op.FRAME, Op.SCRATCH, Op.DATA),
    (_B, _W, _W, _W, _W): (Op.BYTES_EQUAL,),
    (None, _W, _W, _W): (Op.COPY,),
    (None, _W): (Op.CLEAR,),
    (None,): (Op.SPEND,),
}  # fmt: skip
# By operation and kinds of its operands: the kind of its result. There are no other instructions.
RESULT_KINDS: dict[tuple[Op | Kind | None, ...], Kind | None] = {
    **{(op, *operands): result for (result, *operands), ops in _SHAPES.items() for op in ops},
    **{(Op.HELPER, *[_W] * helper.operands): _W for helper in HELPERS.values()},
}
CHECKED_ARITHMETIC = {Op.SADD, Op.SSUB, Op.SMUL, Op.UADD, Op.USUB, Op.UMUL}


@dataclass(slots=True)
class Instruction:
    """``size`` is the number that some operations take beside their operands; ``line`` is for errors."""

    op: Op
    target: Register | None
    operands: tuple[Operand, ...]
    size: int = 0
    error: int = 0
    line: int = 0


@dataclass(slots=True)
class Jump:
    """Go on elsewhere. ``may_yield``: a back-edge or a checkpoint, which spends ``cost`` and yields when the budget is gone."""

    target: Block
    may_yield: bool = False
    line: int = 0  # of the loop, for the message of a task that takes too long
    cost: int = 1


@dataclass(slots=True)
class Branch:
    condition: Operand
    yes: Block
    no: Block


@dataclass(slots=True)
class Yield:
    """Return to the scheduler; resume at ``target``."""

    target: Block
    line: int = 0


@dataclass(slots=True)
class Done:
    """The result is in the frame."""


Terminator = Jump | Branch | Yield | Done
_ONWARD = (Jump, Yield)


@dataclass(eq=False, slots=True)
class Block:
    number: int
    instructions: list[Instruction] = field(default_factory=list)
    terminator: Terminator | None = None

    def successors(self) -> tuple[Block, ...]:
        terminator = self.terminator
        if isinstance(terminator, Branch):
            return terminator.yes, terminator.no
        return (terminator.target,) if isinstance(terminator, _ONWARD) else ()

    def is_yield_point(self, preempt: bool) -> bool:
        """Whether the task may return to the scheduler at the end of this block and come back."""
        terminator = self.terminator
        return isinstance(terminator, Yield) or (preempt and isinstance(terminator, Jump) and terminator.may_yield)


@dataclass(frozen=True, slots=True)
class Area:
    """Bytes of the frame: of an array, of several results; with a ``capacity``, of a buffer: their count, and they."""

    offset: int
    nbytes: int
    capacity: int | None = None  # in bytes

    @property
    def content(self) -> int:
        """Where in the frame its bytes begin that may be accessed at any place."""
        return self.offset if self.capacity is None else self.offset + _COUNT_BYTES

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


@dataclass(eq=False)
class Function:
    """A lowered extension. ``blocks[0]`` is the entry."""

    name: str
    blocks: list[Block] = field(default_factory=list)
    data: dict[bytes, int] = field(default_factory=dict)  # constant bytes and their numbers
    scratch_cells: int = 0  # 8-byte cells on the native stack
    areas: list[Area] = field(default_factory=list)  # of the frame, one behind the other behind its header
    blocks_made: int = 0  # each has a number of its own
    registers: list[Register] = field(default_factory=list)  # by number

    def new_register(self, kind: Kind) -> Register:
        register = Register(len(self.registers), kind)
        self.registers.append(register)
        return register

    @property
    def memory_end(self) -> int:
        """Offset in the frame of what is behind all areas."""
        return self.areas[-1].end if self.areas else FRAME_HEADER_BYTES

    def new_memory(self, nbytes: int, capacity: int | None = None) -> int:
        """Offset in the frame of a new area of memory, aligned to 8 bytes."""
        area = Area(self.memory_end, -(-nbytes // 8) * 8, capacity)
        self.areas.append(area)
        return area.offset

    def new_block(self) -> Block:
        block = Block(self.blocks_made)
        self.blocks_made += 1
        self.blocks.append(block)
        return block

    def reachable(self) -> list[Block]:
        """Blocks that control can come to, in the order they were made."""
        seen = {self.blocks[0]}
        waiting = [self.blocks[0]]
        while waiting:
            for successor in waiting.pop().successors():
                if successor not in seen:
                    seen.add(successor)
                    waiting.append(successor)
        return [block for block in self.blocks if block in seen]

    @property
    def size(self) -> int:
        """In instructions, for the time that it takes a back end: a block without any takes some as well."""
        return sum(len(block.instructions) or 1 for block in self.blocks)

    def instructions(self) -> Iterator[Instruction]:
        for block in self.blocks:
            yield from block.instructions


@dataclass(frozen=True)
class Placement:
    """Where a function's registers are, for a back end: made by :mod:`splinter.ext.middle.liveness`, proven by the verifier.

    A register that lives in one block only is a value there; the others have cells. At a yield, ``saved`` registers move to
    their slots in the frame and back; or, with ``in_frame``, the slots are their cells all the time.
    """

    preempt: bool  # back-edges and checkpoints may yield
    in_frame: bool
    cells: int  # registers that have a cell, as a set of bits
    slots: dict[int, int]  # offset in the frame, by the register's number
    states: dict[Block, int]  # by the block that yields at its end: the number from 1 of where it comes back
    saved: dict[Block, list[Register]]  # and what survives
    frame_bytes: int  # header, memory and slots
