"""Extensions: what authors import. The compiler is :mod:`splinter.ext.compile`."""

from splinter.ext.author import (
    Buffer,
    Error,
    Store,
    View,
    array,
    buffer,
    clz,
    ctz,
    extension,
    f32,
    f64,
    floor,
    i8,
    i16,
    i32,
    i64,
    popcount,
    rotl32,
    rotl64,
    sqrt,
    u8,
    u16,
    u32,
    u64,
)
from splinter.ext.faults import ExtensionFault
from splinter.ext.local import LocalStore

__all__ = [
    "Buffer", "Error", "ExtensionFault", "LocalStore", "Store", "View", "array", "buffer", "clz", "ctz", "extension", "f32",
    "f64", "floor", "i8", "i16", "i32", "i64", "popcount", "rotl32", "rotl64", "sqrt", "u8", "u16", "u32", "u64",
]  # fmt: skip
