"""Of which instructions there is more to prove than kinds of operands; their sizes, and what they access of the frame."""

from __future__ import annotations

from splinter.ext import abi
from splinter.ext.middle.ir import Op

# Of these there is more to prove than the shape.
PROVEN_OPS = frozenset({
    Op.LOAD, Op.LOAD_SIGNED, Op.STORE, Op.CLEAR, Op.COPY, Op.BYTES_EQUAL, Op.CRC32, Op.HASH64, Op.HELPER, Op.MATH, Op.SWAP,
    Op.DATA, Op.SCRATCH, Op.SDIV, Op.SREM, Op.UDIV, Op.UREM, Op.SHL, Op.LSHR, Op.ASHR, Op.TO_SIGNED, Op.TO_UNSIGNED,
})  # fmt: skip
NOTED_OPS = PROVEN_OPS | frozenset((Op.CHECK, Op.SPEND))
MEMORY_SIZES = frozenset((1, 2, 4, 8))
SWAP_SIZES = frozenset((2, 4, 8))


# Fields of the frame's header: how many bytes of them an extension may read, and write.
READABLE = {
    abi.F_ARGUMENTS: 8, abi.F_ARGUMENTS_LENGTH: 4, abi.F_TENANT: 4,
    abi.F_OUT_ADDRESS: 8, abi.F_OUT_LENGTH: 8, abi.F_OUT_VERSION: 8,
}  # fmt: skip
FOUND = frozenset({abi.F_OUT_ADDRESS, abi.F_OUT_LENGTH, abi.F_OUT_VERSION})  # what a get leaves there, until the next helper
WRITABLE = {abi.F_RESULT: 8, abi.F_RESULT_LENGTH: 4}
