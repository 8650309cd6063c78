"""The most that each instruction takes from the budget: the work that it may be."""

from __future__ import annotations

from splinter.ext.helpers import HELPERS
from splinter.ext.middle.ir import Constant, Instruction, Op, Operand
from splinter.limits import BYTES_PER_COST, DIGEST_PIECE_BYTES, DIGESTED_BYTES_PER_COST, FRAME_BYTES, VALUE_BYTES_MAX

PRICED = frozenset({Op.SPEND, Op.BYTES_EQUAL, Op.COPY, Op.CLEAR, Op.CRC32, Op.HASH64, Op.HELPER})


def price(instruction: Instruction) -> int:
    """Of one of :data:`PRICED`. What the call of a helper takes itself is spent in front of it."""
    operands = instruction.operands
    match instruction.op:
        case Op.SPEND:
            return instruction.size
        case Op.BYTES_EQUAL:  # different lengths are different at once
            return min(_bytes(operands[1]), _bytes(operands[3])) // BYTES_PER_COST
        case Op.COPY:
            return FRAME_BYTES // BYTES_PER_COST  # into a buffer
        case Op.CLEAR:
            return instruction.size // BYTES_PER_COST
        case Op.HELPER:
            paid = HELPERS[instruction.size].paid_length
            return 0 if paid is None else _bytes(operands[paid]) // BYTES_PER_COST
    return DIGEST_PIECE_BYTES // DIGESTED_BYTES_PER_COST


def _bytes(length: Operand) -> int:
    """The most that a length can be: views of more than a value are of the argument block, which is smaller."""
    return length.value if isinstance(length, Constant) else VALUE_BYTES_MAX
