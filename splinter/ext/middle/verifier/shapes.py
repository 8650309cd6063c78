"""What an instruction may look like beyond the kinds of its operands (``ir.RESULT_KINDS``): sizes, a helper's operands, prices.

Helpers and prices stand here once more: a mistake in the tables of the stages before is found by these, and the other way
round.
"""

from __future__ import annotations

from dataclasses import dataclass

from splinter.ext import abi
from splinter.ext.middle.ir import Constant, Instruction, Op, Operand
from splinter.limits import (
    BYTES_PER_COST,
    DIGEST_PIECE_BYTES,
    DIGESTED_BYTES_PER_COST,
    FRAME_BYTES,
    HELPER_COST,
    VALUE_BYTES_MAX,
)

# Of these there is more to prove than the shape.
PROVEN_OPS = frozenset({
    Op.LOAD, Op.LOAD_SIGNED, Op.STORE, Op.CLEAR, Op.COPY, Op.BYTES_EQUAL, Op.CRC32, Op.HASH64, Op.HELPER, Op.MATH, Op.SWAP,
    Op.DATA, Op.SCRATCH, Op.SDIV, Op.SREM, Op.UDIV, Op.UREM, Op.SHL, Op.LSHR, Op.ASHR, Op.TO_SIGNED, Op.TO_UNSIGNED,
})  # fmt: skip
NOTED_OPS = PROVEN_OPS | frozenset((Op.CHECK, Op.SPEND))
MEMORY_SIZES = frozenset((1, 2, 4, 8))
SWAP_SIZES = frozenset((2, 4, 8))


@dataclass(frozen=True)
class Helper:
    """A function of the context. ``views``: which operands are an address, the next one being its length."""

    operands: int
    views: tuple[int, ...]
    is_optional: bool = False  # its pointer may be 0: the call has to look
    price: int = HELPER_COST  # that was to be spent in front of it


_COPYING_COST = HELPER_COST + VALUE_BYTES_MAX // BYTES_PER_COST  # of a value that may be the longest
HELPERS = {
    abi.C_GET: Helper(3, (1,)),
    abi.C_PUT: Helper(5, (1, 3)),
    abi.C_DELETE: Helper(3, (1,)),
    abi.C_PUT_IF: Helper(6, (1, 3), is_optional=True),
    abi.C_NOW_NS: Helper(0, (), is_optional=True),
    abi.C_LOG: Helper(2, (0,), is_optional=True),
    abi.C_ADD: Helper(4, (1,)),
    abi.C_DELETE_IF: Helper(4, (1,)),
    abi.C_PUT_TTL: Helper(6, (1, 3)),
    abi.C_PUT_IF_TTL: Helper(7, (1, 3)),
    abi.C_EXPIRE: Helper(4, (1,), price=_COPYING_COST),
    abi.C_PERSIST: Helper(3, (1,), price=_COPYING_COST),
    abi.C_TTL: Helper(3, (1,)),
}
MATH = frozenset({abi.C_EXP, abi.C_LOG_E})

# Fields of the frame's header: how many bytes of them an extension may read, and write.
READABLE = {
    abi.F_ARGUMENTS: 8, abi.F_ARGUMENTS_LENGTH: 4, abi.F_TENANT: 4,
    abi.F_OUT_ADDRESS: 8, abi.F_OUT_LENGTH: 8, abi.F_OUT_VERSION: 8,
}  # fmt: skip
# Which helpers leave something in these fields, until the next one is called.
TELL_VIEW = frozenset({abi.C_GET})
TELL_WORD = frozenset({abi.C_GET, abi.C_ADD, abi.C_TTL})
VIEW_FIELDS = frozenset({abi.F_OUT_ADDRESS, abi.F_OUT_LENGTH})
WORD_FIELDS = frozenset({abi.F_OUT_VERSION})
WRITABLE = {abi.F_RESULT: 8, abi.F_RESULT_LENGTH: 4}

_PUTS = frozenset({abi.C_PUT, abi.C_PUT_IF, abi.C_PUT_TTL, abi.C_PUT_IF_TTL})
_DIGEST_COST = DIGEST_PIECE_BYTES // DIGESTED_BYTES_PER_COST
COSTLY = frozenset({Op.SPEND, Op.BYTES_EQUAL, Op.COPY, Op.CLEAR, Op.CRC32, Op.HASH64, Op.HELPER})


def cost(instruction: Instruction) -> int:
    """The most that an instruction takes from the budget: the work that it may be."""
    op, operands = instruction.op, instruction.operands
    if op is Op.SPEND:
        return instruction.size
    if op is Op.HELPER:
        return _bytes(operands[4]) // BYTES_PER_COST if instruction.size in _PUTS else 0
    if op is Op.BYTES_EQUAL:
        return min(_bytes(operands[1]), _bytes(operands[3])) // BYTES_PER_COST
    if op is Op.COPY:
        return FRAME_BYTES // BYTES_PER_COST
    if op is Op.CLEAR:
        return instruction.size // BYTES_PER_COST
    return _DIGEST_COST if op in COSTLY else 0


def _bytes(length: Operand) -> int:
    """The most that a length can be: views of more than a value are of the argument block, which is smaller."""
    return length.value if isinstance(length, Constant) else VALUE_BYTES_MAX
