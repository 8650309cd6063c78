"""The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words.

It does not depend on the byte order, nor on the size of the words, so words of 64 bits are added up as they stand in memory,
in halves of 32 bits that cannot overflow the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit, types

from splinter.limits import BLOCK_BYTES
from splinter.native.atomics import intrinsic, less_unsigned, shift_right

WHOLE = 0xFFFF  # what a sum folds to that includes its own checksum, if nothing was damaged
_INVERSE = pow(WHOLE, -1, 1 << 64) - (1 << 64)  # as a signed word
_MULTIPLES = (1 << 64) // WHOLE + 1  # how many multiples of WHOLE are 64-bit words

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_BYTES, _WORDS = ir.VectorType(_I8, BLOCK_BYTES), ir.VectorType(_I64, BLOCK_BYTES // 8)


def _ones_sum(typingctx: Any, address: Any, length: Any) -> Any:
    """The sum of ``length`` bytes (at most 2^31) at ``address``, below 2^47; a last odd byte counts as one followed by 0.

    The ``BLOCK_BYTES`` in front of the address must be readable: what is left behind the last whole block is taken as the
    end of the block that ends with it, which needs no branch. (Packets are short. Left to itself LLVM takes four blocks
    a step, and the rest word by word.)
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start, size = (context.cast(builder, a, kind, types.int64) for a, kind in zip(args, signature.args, strict=True))

        def splat(value: Any, kind: Any) -> Any:
            one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, _I32(0))
            return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count))

        def load(at: Any, kind: Any) -> Any:
            return builder.load(builder.inttoptr(at, kind.as_pointer()), align=1)

        def halves(words: Any) -> Any:
            low = builder.and_(words, ir.Constant(_WORDS, [0xFFFFFFFF] * _WORDS.count))
            return builder.add(low, builder.lshr(words, ir.Constant(_WORDS, [32] * _WORDS.count)))

        end = builder.add(start, size)
        rest = builder.and_(size, _I64(BLOCK_BYTES - 1))
        from_end = ir.Constant(_BYTES, list(range(BLOCK_BYTES, 0, -1)))  # how far each byte of a block is from its end
        is_rest = builder.icmp_signed("<=", from_end, splat(builder.trunc(rest, _I8), _BYTES))
        last = load(builder.sub(end, _I64(BLOCK_BYTES)), _BYTES)
        last = builder.select(is_rest, last, ir.Constant(_BYTES, [0] * BLOCK_BYTES))
        # If the rest is odd, its 16-bit words lie across those of that block: a factor of 2^8 turns each of them around.
        turn = builder.shl(builder.and_(size, _I64(1)), _I64(3))
        first_total = builder.shl(halves(builder.bitcast(last, _WORDS)), splat(turn, _WORDS))

        blocks_end = builder.sub(end, rest)
        before = builder.block
        loop, after = builder.append_basic_block("block"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed("<", start, blocks_end), loop, after)
        builder.position_at_end(loop)
        at, total = builder.phi(_I64), builder.phi(_WORDS)
        more = builder.add(total, halves(load(at, _WORDS)))
        following = builder.add(at, _I64(BLOCK_BYTES))
        builder.cbranch(builder.icmp_signed("<", following, blocks_end), loop, after)
        builder.position_at_end(after)
        sums = builder.phi(_WORDS)
        for phi, coming, block in (
            (at, start, before), (at, following, loop), (total, first_total, before), (total, more, loop),
            (sums, first_total, before), (sums, more, loop),
        ):  # fmt: skip
            phi.add_incoming(coming, block)
        for lanes in ([2, 3, 2, 3], [1, 1, 1, 1]):
            others = builder.shuffle_vector(sums, sums, ir.Constant(ir.VectorType(_I32, _WORDS.count), lanes))
            sums = builder.add(sums, others)
        return builder.extract_element(sums, _I32(0))

    return types.int64(types.int64, types.int64), codegen


ones_sum: Callable[[int, int], int] = intrinsic(_ones_sum)


@njit(cache=True)
def word_sum(word: int) -> int:
    """The sum of the eight bytes of a word, not folded."""
    return (word & 0xFFFFFFFF) + shift_right(word, 32)


@njit(cache=True)
def fold(total: int) -> int:
    """A sum below 2^48 in 16 bits: 0 only of 0."""
    total = (total & 0xFFFFFFFF) + (total >> 32)
    total = (total & 0xFFFF) + (total >> 16)
    return (total + (total >> 16)) & 0xFFFF


@njit(cache=True, forceinline=True)
def is_whole(total: int) -> bool:
    """Whether a sum that is not 0 folds to ``WHOLE``: whether 65,535 divides it, told by one multiplication.

    Multiples of an odd number d are those that times its inverse (modulo 2^64) are no greater than (2^64 - 1) / d.
    """
    return less_unsigned(total * _INVERSE, _MULTIPLES)
