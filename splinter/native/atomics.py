"""Memory access for compiled code: plain, ordered and atomic, by address.

Numba has no CPU atomics, and LLVM may hoist a plain array load out of a loop. These intrinsics are the only place where
addresses are followed. Three rules keep their users simple:

* An address is an ``int64``. So is every value: loads of 8, 16 and 32 bits are zero-extended, stores truncate. Numba turns
  ``int64 + uint64`` into ``float64``; with one integer type this cannot happen. A 64-bit word is loaded as its
  two's-complement pattern; use :func:`shift_right` and :func:`less_unsigned` where the sign matters.
* Plain accesses may be unaligned. Atomic ones must be aligned.
* Names end in the order they give: ``_acquire`` loads, ``_release`` stores; compare-and-swap, exchange and fetch-add are
  sequentially consistent.

:func:`call_resume` calls through a pointer; :func:`cycles` reads the time-stamp counter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _numba_intrinsic

_get_or_insert_function: Any = cgutils.get_or_insert_function
intrinsic: Any = _numba_intrinsic  # Numba's annotations describe the code generators, not what compiled code calls
_I64 = ir.IntType(64)


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def emit_load(builder: Any, address: Any, bits: int, is_signed: bool = False) -> Any:
    """Emit a plain load of 8, 16, 32 or 64 bits, at an address that may be unaligned, and extend it to an i64."""
    loaded = builder.load(_pointer(builder, address, bits), align=1)
    if bits == 64:
        return loaded
    return builder.sext(loaded, _I64) if is_signed else builder.zext(loaded, _I64)


def emit_store(builder: Any, address: Any, value: Any, bits: int) -> None:
    """Emit a plain store of the lower bits of an i64, likewise."""
    narrow = value if bits == 64 else builder.trunc(value, ir.IntType(bits))
    builder.store(narrow, _pointer(builder, address, bits), align=1)


def is_int(*args: Any) -> bool:
    return all(isinstance(a, types.Integer | types.IntegerLiteral | types.Boolean | types.IntEnumMember) for a in args)


def _widen(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Every argument as an i64 (sources are all integers, which Numba may have typed narrower, or members of an IntEnum)."""
    return [context.cast(builder, value, from_type, types.int64) for value, from_type in zip(args, signature.args, strict=True)]


def _make_load(bits: int, ordering: str | None) -> Any:
    def load(typingctx: Any, address: Any) -> Any:
        if not is_int(address):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            (value,) = _widen(context, builder, signature, args)
            if ordering is None:
                return emit_load(builder, value, bits)
            loaded = builder.load_atomic(_pointer(builder, value, bits), ordering, bits // 8)
            return loaded if bits == 64 else builder.zext(loaded, _I64)

        return types.int64(address), codegen

    return intrinsic(load)


def _make_store(bits: int, ordering: str | None) -> Any:
    def store(typingctx: Any, address: Any, value: Any) -> Any:
        if not is_int(address, value):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            where, what = _widen(context, builder, signature, args)
            if ordering is None:
                emit_store(builder, where, what, bits)
            else:
                narrow = what if bits == 64 else builder.trunc(what, ir.IntType(bits))
                builder.store_atomic(narrow, _pointer(builder, where, bits), ordering, bits // 8)
            return context.get_dummy_value()

        return types.void(address, value), codegen

    return intrinsic(store)


load8: Callable[[int], int] = _make_load(8, None)
load16: Callable[[int], int] = _make_load(16, None)
load32: Callable[[int], int] = _make_load(32, None)
load64: Callable[[int], int] = _make_load(64, None)
load32_acquire: Callable[[int], int] = _make_load(32, "acquire")
load64_acquire: Callable[[int], int] = _make_load(64, "acquire")

store8: Callable[[int, int], None] = _make_store(8, None)
store16: Callable[[int, int], None] = _make_store(16, None)
store32: Callable[[int, int], None] = _make_store(32, None)
store64: Callable[[int, int], None] = _make_store(64, None)
store32_release: Callable[[int, int], None] = _make_store(32, "release")
store64_release: Callable[[int, int], None] = _make_store(64, "release")


def _make_cas(bits: int) -> Any:
    def cas(typingctx: Any, address: Any, expected: Any, new: Any) -> Any:
        if not is_int(address, expected, new):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            where, old, value = _widen(context, builder, signature, args)
            kind = ir.IntType(bits)
            if bits != 64:
                old, value = builder.trunc(old, kind), builder.trunc(value, kind)
            pair = builder.cmpxchg(_pointer(builder, where, bits), old, value, "seq_cst", "seq_cst")
            return builder.extract_value(pair, 1)

        return types.boolean(address, expected, new), codegen

    return intrinsic(cas)


def _make_rmw(operation: str, bits: int) -> Any:
    def rmw(typingctx: Any, address: Any, value: Any) -> Any:
        if not is_int(address, value):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            where, what = _widen(context, builder, signature, args)
            kind = ir.IntType(bits)
            narrow = what if bits == 64 else builder.trunc(what, kind)
            old = builder.atomic_rmw(operation, _pointer(builder, where, bits), narrow, "seq_cst")
            return old if bits == 64 else builder.zext(old, _I64)

        return types.int64(address, value), codegen

    return intrinsic(rmw)


cas32: Callable[[int, int, int], bool] = _make_cas(32)
cas64: Callable[[int, int, int], bool] = _make_cas(64)
fetch_add32: Callable[[int, int], int] = _make_rmw("add", 32)
fetch_add64: Callable[[int, int], int] = _make_rmw("add", 64)
exchange32: Callable[[int, int], int] = _make_rmw("xchg", 32)
exchange64: Callable[[int, int], int] = _make_rmw("xchg", 64)


def _fence(typingctx: Any) -> Any:
    """Sequentially consistent fence: no access moves across it, in the compiler or in the CPU."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


fence: Callable[[], None] = intrinsic(_fence)


def _pause(typingctx: Any) -> Any:
    """Tell the CPU that this is a spin loop (x86 ``pause``, elsewhere nothing)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if "x86" in builder.module.triple:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(_get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


pause: Callable[[], None] = intrinsic(_pause)


def _cycles(typingctx: Any) -> Any:
    """The CPU's time-stamp counter."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I64, [])
        return builder.call(_get_or_insert_function(builder.module, kind, "llvm.readcyclecounter"), [])

    return types.int64(), codegen


cycles: Callable[[], int] = intrinsic(_cycles)


def _shift_right(typingctx: Any, value: Any, count: Any) -> Any:
    """Logical (zero-filling) right shift of a 64-bit word, by 0 … 63."""
    if not is_int(value, count):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, by = _widen(context, builder, signature, args)
        return builder.lshr(word, by)

    return types.int64(value, count), codegen


shift_right: Callable[[int, int], int] = intrinsic(_shift_right)


def _less_unsigned(typingctx: Any, left: Any, right: Any) -> Any:
    """``left < right`` as unsigned 64-bit words."""
    if not is_int(left, right):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = _widen(context, builder, signature, args)
        return builder.icmp_unsigned("<", a, b)

    return types.boolean(left, right), codegen


less_unsigned: Callable[[int, int], bool] = intrinsic(_less_unsigned)


def _bit_length(typingctx: Any, value: Any) -> Any:
    """How many bits a 64-bit word has without its leading zeros."""
    if not is_int(value):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (word,) = _widen(context, builder, signature, args)
        return builder.sub(ir.Constant(_I64, 64), builder.ctlz(word, ir.Constant(ir.IntType(1), 0)))

    return types.int64(value), codegen


bit_length: Callable[[int], int] = intrinsic(_bit_length)


def _multiply_fold(typingctx: Any, left: Any, right: Any) -> Any:
    """The two halves of the unsigned 128-bit product ``left × right``, xored: one multiplication that mixes every bit."""
    if not is_int(left, right):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        a, b = _widen(context, builder, signature, args)
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(a, wide), builder.zext(b, wide))
        high = builder.lshr(product, ir.Constant(wide, 64))
        return builder.trunc(builder.xor(product, high), _I64)

    return types.int64(left, right), codegen


multiply_fold: Callable[[int, int], int] = intrinsic(_multiply_fold)


def _copy_bytes(typingctx: Any, target: Any, source: Any, count: Any) -> Any:
    """``memcpy``: copy ``count`` bytes between areas that do not overlap."""
    return _copy(target, source, count, "llvm.memcpy")


copy_bytes: Callable[[int, int, int], None] = intrinsic(_copy_bytes)


def _move_bytes(typingctx: Any, target: Any, source: Any, count: Any) -> Any:
    """``memmove``: copy ``count`` bytes between areas that may overlap."""
    return _copy(target, source, count, "llvm.memmove")


move_bytes: Callable[[int, int, int], None] = intrinsic(_move_bytes)


def _copy(target: Any, source: Any, count: Any, name: str) -> Any:
    if not is_int(target, source, count):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, start, size = _widen(context, builder, signature, args)
        byte_pointer = ir.IntType(8).as_pointer()
        function = builder.module.declare_intrinsic(name, [byte_pointer, byte_pointer, _I64])
        to, start = builder.inttoptr(to, byte_pointer), builder.inttoptr(start, byte_pointer)
        builder.call(function, [to, start, size, ir.Constant(ir.IntType(1), 0)])
        return context.get_dummy_value()

    return types.void(target, source, count), codegen


def _prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address; any address is harmless."""
    if not is_int(address):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        (where,) = _widen(context, builder, signature, args)
        byte_pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, i32, i32, i32])
        function = _get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        pointer = builder.inttoptr(where, byte_pointer)
        builder.call(function, [pointer, ir.Constant(i32, 0), ir.Constant(i32, 3), ir.Constant(i32, 1)])
        return context.get_dummy_value()

    return types.void(address), codegen


prefetch: Callable[[int], None] = intrinsic(_prefetch)


def _call_resume(typingctx: Any, function: Any, frame: Any, context_address: Any) -> Any:
    """Call ``int64_t function(int64_t frame, int64_t context)`` through its address."""
    if not is_int(function, frame, context_address):
        return None

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where, first, second = _widen(context, builder, signature, args)
        kind = ir.FunctionType(_I64, [_I64, _I64])
        return builder.call(builder.inttoptr(where, kind.as_pointer()), [first, second])

    return types.int64(function, frame, context_address), codegen


call_resume: Callable[[int, int, int], int] = intrinsic(_call_resume)
