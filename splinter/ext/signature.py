"""Signatures: how arguments and results travel. Clients use this module, so it imports nothing heavy.

Arguments are one 8-byte little-endian word per parameter; the word of a ``bytes`` parameter is its offset from the start of
the arguments (lower 32 bits) and its length (upper 32 bits), and its content lies behind the words. A scalar result is one
word; a ``bytes`` result is its bytes.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from splinter.errors import BadArgumentsError, ProtocolError
from splinter.limits import EXTENSION_PARAMETERS_MAX, PACKET_BODY_BYTES_MAX

_WORD = struct.Struct("<Q")
_LENGTH_SHIFT = 32
_DOUBLE = struct.Struct("<d")
_RANGES = {"u64": (0, (1 << 64) - 1), "i64": (-(1 << 63), (1 << 63) - 1), "bool": (0, 1)}
_SCALARS = (*_RANGES, "f64")
PARAMETER_TYPE_NAMES = (*_SCALARS, "bytes")
RESULT_TYPE_NAMES = (*PARAMETER_TYPE_NAMES, "None")


@dataclass(frozen=True)
class Signature:
    """Name, parameters as ``(name, type)`` and result type of an extension; the store parameter is not among them."""

    name: str
    parameters: tuple[tuple[str, str], ...]
    result: str

    def __post_init__(self) -> None:
        if len(self.parameters) > EXTENSION_PARAMETERS_MAX:
            raise ValueError(f"{len(self.parameters)} parameters; at most {EXTENSION_PARAMETERS_MAX}")
        for name, kind in self.parameters:
            if kind not in PARAMETER_TYPE_NAMES:
                raise ValueError(f"parameter {name} has unknown type {kind}")
        if self.result not in RESULT_TYPE_NAMES and not _tuple_elements(self.result):
            raise ValueError(f"unknown result type {self.result}")

    def __str__(self) -> str:
        return f"{self.name}({', '.join(f'{name}: {kind}' for name, kind in self.parameters)}) -> {self.result}"

    @cached_property
    def hash(self) -> int:
        """64 bits, never 0, the same for the same signature everywhere and always."""
        digest = hashlib.sha256(str(self).encode()).digest()
        return int.from_bytes(digest[:8], "little") or 1

    @property
    def arguments_bytes_min(self) -> int:
        """Bytes of the words alone."""
        return _WORD.size * len(self.parameters)

    @property
    def is_tuple(self) -> bool:
        """Whether there are several results."""
        return bool(_tuple_elements(self.result))

    @property
    def results(self) -> tuple[str, ...]:
        """The types of all results."""
        return _tuple_elements(self.result) or (self.result,)

    def pack(self, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> bytes:
        """The arguments' bytes; raises :class:`BadArgumentsError` when they do not fit the parameters."""
        values = self._bind(args, dict(kwargs or {}))
        words: list[bytes] = []
        tail = bytearray()
        for (name, kind), value in zip(self.parameters, values, strict=True):
            if kind == "bytes":
                content = self._content(name, value)
                words.append(_WORD.pack(self.arguments_bytes_min + len(tail) | len(content) << _LENGTH_SHIFT))
                tail += content
            else:
                words.append(self._word(name, kind, value))
        packed = b"".join(words) + bytes(tail)
        if len(packed) > PACKET_BODY_BYTES_MAX:
            raise self._bad(f"arguments have {len(packed)} bytes; one packet carries {PACKET_BODY_BYTES_MAX}")
        return packed

    def unpack(self, value: bytes | memoryview) -> Any:
        """The result as a Python value; raises :class:`ProtocolError` when the bytes are not a result of this type."""
        if self.result == "None":
            return None
        if self.result == "bytes":
            return bytes(value)
        kinds = _tuple_elements(self.result) or (self.result,)
        if len(value) != _WORD.size * len(kinds):
            raise ProtocolError(f"the result of {self} has {len(value)} bytes in place of {_WORD.size * len(kinds)}")
        scalars = tuple(_scalar(kind, value[i * 8 : i * 8 + 8]) for i, kind in enumerate(kinds))
        return scalars if _tuple_elements(self.result) else scalars[0]

    def to_wire(self) -> dict[str, Any]:
        """As plain lists and strings, for msgpack."""
        return {"name": self.name, "parameters": [list(p) for p in self.parameters], "result": self.result}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Signature:
        """The inverse of :meth:`to_wire`; raises :class:`ProtocolError` for anything else."""
        try:
            parameters = tuple((str(name), str(kind)) for name, kind in wire["parameters"])
            return cls(str(wire["name"]), parameters, str(wire["result"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"not a signature: {error}") from None

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        names = [name for name, _ in self.parameters]
        if len(args) > len(names):
            raise self._bad(f"{len(args)} positional arguments for {len(names)} parameters")
        for name in names[: len(args)]:
            if name in kwargs:
                raise self._bad(f"argument {name} is given twice")
        unknown = [name for name in kwargs if name not in names]
        if unknown:
            raise self._bad(f"there is no parameter {unknown[0]}")
        missing = [name for name in names[len(args) :] if name not in kwargs]
        if missing:
            raise self._bad(f"argument {missing[0]} is missing")
        return [*args, *(kwargs[name] for name in names[len(args) :])]

    def _content(self, name: str, value: Any) -> bytes:
        if isinstance(value, str) or not isinstance(value, bytes | bytearray | memoryview):
            raise self._bad(f"argument {name} is {type(value).__name__}, not bytes")
        return bytes(value)

    def _word(self, name: str, kind: str, value: Any) -> bytes:
        if kind == "f64":
            if isinstance(value, bool) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
                raise self._bad(f"argument {name} is {type(value).__name__}, not f64")
            try:
                number = float(value)
                return _DOUBLE.pack(number if number == number else math.nan)
            except OverflowError:
                raise self._bad(f"argument {name} = {value} does not fit f64") from None
        is_bool = isinstance(value, bool)
        if is_bool != (kind == "bool") or not hasattr(value, "__index__"):
            raise self._bad(f"argument {name} is {type(value).__name__}, not {kind}")
        number = int(value.__index__())
        low, high = _RANGES[kind]
        if not low <= number <= high:
            raise self._bad(f"argument {name} = {number} does not fit {kind}")
        return _WORD.pack(number & 0xFFFFFFFFFFFFFFFF)

    def _bad(self, what: str) -> BadArgumentsError:
        return BadArgumentsError(f"{what}; the signature is {self}")


def _tuple_elements(result: str) -> tuple[str, ...]:
    """Types of several results, written ``tuple[u64, f64]``; empty for any other type."""
    if not (result.startswith("tuple[") and result.endswith("]")):
        return ()
    kinds = tuple(result[len("tuple[") : -1].split(", "))
    return kinds if all(kind in _SCALARS for kind in kinds) else ()


def _scalar(kind: str, word: bytes | memoryview) -> Any:
    if kind == "f64":
        return _DOUBLE.unpack(word)[0]
    number = int.from_bytes(word, "little", signed=kind == "i64")
    return number != 0 if kind == "bool" else number
