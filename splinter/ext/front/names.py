"""The names that have a meaning in every extension: functions, types, methods."""

from __future__ import annotations

import unicodedata

from splinter.ext.types import ELEMENTS

CONVERSIONS = frozenset(name for name in ELEMENTS if name != "f32") | {"int"}
BIT_FUNCTIONS = frozenset({"popcount", "clz", "ctz", "rotl32", "rotl64"})
FLOAT_FUNCTIONS = frozenset({"sqrt", "floor", "exp", "log"})
DIGESTS = frozenset({"crc32", "hash64"})
FUNCTION_NAMES = CONVERSIONS | BIT_FUNCTIONS | FLOAT_FUNCTIONS | DIGESTS | {"abs", "bool", "len", "max", "min", "range"}
MEMORY_FUNCTIONS = frozenset({"array", "buffer"})
# Names that CPython lets nobody assign though they are no keywords, and the global from which it takes a function's builtins.
PYTHON_NAMES = frozenset({"__debug__", "__builtins__"})
AUTHOR_NAMES = FUNCTION_NAMES | MEMORY_FUNCTIONS | {"extension", "Store", "View", "Buffer", "Error", "bytes", "f32", "tuple"}
RESERVED_NAMES = AUTHOR_NAMES | PYTHON_NAMES


def is_name(name: str) -> bool:
    """Whether an extension may be known by this: an identifier, in the form that Python itself would read it."""
    return name.isidentifier() and name.isprintable() and unicodedata.normalize("NFKC", name) == name
