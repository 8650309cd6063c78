"""What each instruction may look like: kinds of its operands and result, its sizes, what a helper is given, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from splinter.ext import abi
from splinter.ext.middle.ir import Constant, Instruction, Kind, Op, Operand
from splinter.limits import BYTES_PER_COST, DIGEST_PIECE_BYTES, DIGESTED_BYTES_PER_COST, FRAME_BYTES, VALUE_BYTES_MAX

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
_HELPER_OPERANDS_MAX = 6  # how many a helper has stands in HELPERS
SHAPES = frozenset(
    [(op, *kinds) for kinds, ops in _SHAPES.items() for op in ops]
    + [(Op.HELPER, _W, *[_W] * count) for count in range(_HELPER_OPERANDS_MAX + 1)]
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


HELPERS = {
    abi.C_GET: Helper(3, (1,)),
    abi.C_PUT: Helper(5, (1, 3)),
    abi.C_DELETE: Helper(3, (1,)),
    abi.C_PUT_IF: Helper(6, (1, 3), is_optional=True),
    abi.C_NOW_NS: Helper(0, (), is_optional=True),
    abi.C_LOG: Helper(2, (0,), is_optional=True),
}
MATH = frozenset({abi.C_EXP, abi.C_LOG_E})

# Fields of the frame's header: how many bytes of them an extension may read, and write.
READABLE = {
    abi.F_ARGUMENTS: 8, abi.F_ARGUMENTS_LENGTH: 4, abi.F_TENANT: 4,
    abi.F_OUT_ADDRESS: 8, abi.F_OUT_LENGTH: 8, abi.F_OUT_VERSION: 8,
}  # fmt: skip
FOUND = frozenset({abi.F_OUT_ADDRESS, abi.F_OUT_LENGTH, abi.F_OUT_VERSION})  # what a get leaves there, until the next helper
WRITABLE = {abi.F_RESULT: 8, abi.F_RESULT_LENGTH: 4}

_PUTS = frozenset({abi.C_PUT, abi.C_PUT_IF})
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
