"""Records for compiled code: a NumPy structured dtype at an address, whose fields are attributes.

``Account = record(ACCOUNT)`` gives a function for compiled code: ``account = Account(address)`` reads nothing. Then

* ``account.objects`` is one load, and ``account.objects = 3`` one store, at a constant offset. They are the plain accesses of
  :mod:`splinter.native.atomics`: every value is an ``int64``, narrower fields are extended as their sign says and truncated,
  and the address may be unaligned.
* ``account.reserved``, a field that is an array or a record itself, is its address. Nothing is loaded.
* ``account.at.objects`` is the address of any field. An access that needs an order stays a call that says so:
  ``store64_release(account.at.objects, 3)``.

A record is its address, in one register. Functions take and return addresses, and make records where they read or write: a
function that took records would be compiled once for each kind that it is called with.

Field names are resolved by one generic rule, not by an overload for each field: nothing but the access itself is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core.errors import TypingError
from numba.core.typing.templates import AttributeTemplate

from splinter.native.atomics import emit_load, emit_store, intrinsic, is_int

_extending: Any = extending
_Type: Any = types.Type
_AttributeTemplate: Any = AttributeTemplate
_PrimitiveModel: Any = _extending.models.PrimitiveModel
_register_model: Any = _extending.register_model
_infer_getattr: Any = _extending.infer_getattr
# Offset in bytes, bits of a scalar (0: the field is its address), and whether it has a sign.
_Fields = dict[str, tuple[int, int, bool]]
_I64 = ir.IntType(64)

if TYPE_CHECKING:

    class Record:
        """As a type checker sees a record: every field is an int. The compiler knows which fields there are."""

        at: Record

        def __getattr__(self, field: str) -> int: ...

        def __setattr__(self, field: str, value: int) -> None: ...


def _fields(dtype: np.dtype, behind: int) -> _Fields:
    assert dtype.fields is not None
    found = {}
    for name in dtype.names or ():
        kind, at = dtype.fields[name][:2]
        is_scalar = kind.shape == () and kind.fields is None
        if is_scalar and not (kind.isnative and kind.kind in "ui"):
            raise TypeError(f"field {name!r} is {kind.str}: compiled code reads native integers")
        found[name] = (behind + at, kind.itemsize * 8 if is_scalar else 0, kind.kind == "i")
    return found


class _Fielded(_Type):  # type: ignore[misc]
    """A type that has the fields of a dtype, so many bytes behind an address. Those of equal dtypes there are equal."""

    def __init__(self, what: str, dtype: np.dtype, behind: int) -> None:
        self.fields = _fields(dtype, behind)
        self._layout = f"{what} {behind} {dtype.descr}"
        super().__init__(name=f"{what}({', '.join(self.fields)})")

    @property
    def key(self) -> str:
        """What tells it from other types of its class."""
        return self._layout


class _Record(_Fielded):
    """A record."""

    def __init__(self, dtype: np.dtype, behind: int) -> None:
        super().__init__("Record", dtype, behind)
        self.place = _Place(dtype, behind)


class _Place(_Fielded):
    """What ``record.at`` is."""

    def __init__(self, dtype: np.dtype, behind: int) -> None:
        super().__init__("Place", dtype, behind)


@_register_model(_Record)
@_register_model(_Place)
class _AddressModel(_PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _I64)


@_infer_getattr
class _RecordAttributes(_AttributeTemplate):  # type: ignore[misc]
    key = _Record

    def generic_resolve(self, kind: Any, name: str) -> Any:
        """The type of an attribute that is read or written; None when there is no such field."""
        if name == "at":
            return kind.place
        return types.int64 if name in kind.fields else None


@_infer_getattr
class _PlaceAttributes(_AttributeTemplate):  # type: ignore[misc]
    key = _Place

    def generic_resolve(self, kind: Any, name: str) -> Any:
        """The type of an address; None when there is no such field."""
        return types.int64 if name in kind.fields else None


def _read(context: Any, builder: Any, kind: Any, address: Any, name: str) -> Any:
    if name == "at":
        return address
    at, bits, is_signed = kind.fields[name]
    where = builder.add(address, _I64(at))
    return emit_load(builder, where, bits, is_signed) if bits else where


def _write(context: Any, builder: Any, signature: Any, args: Any, name: str) -> None:
    address, value = args
    at, bits, _ = signature.args[0].fields.get(name, (0, 0, False))
    if not bits:
        raise TypingError(f"{name!r} cannot be written: it is an address")
    emit_store(builder, builder.add(address, _I64(at)), value, bits)


def _address(context: Any, builder: Any, kind: Any, address: Any, name: str) -> Any:
    return builder.add(address, _I64(kind.fields[name][0]))


_extending.lower_getattr_generic(_Record)(_read)
_extending.lower_setattr_generic(_Record)(_write)
_extending.lower_getattr_generic(_Place)(_address)


def record(dtype: np.dtype, behind: int = 0) -> Callable[[int], Record]:
    """A function for compiled code that takes an address to be a record of a structured dtype; see the module.

    ``behind``: the record stands as many bytes behind the address, as one within another does.

    TypeError: a scalar field is no integer in native order; or is called ``at``.
    """
    kind = _Record(dtype, behind)
    if "at" in kind.fields:
        raise TypeError("a field called 'at' cannot be reached: that is where the fields' addresses are")

    def make(typingctx: Any, address: Any) -> Any:
        if not is_int(address):
            return None

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.cast(builder, args[0], signature.args[0], types.int64)

        return kind(address), codegen

    made: Callable[[int], Record] = intrinsic(make)
    return made
