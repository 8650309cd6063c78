"""The worker's helpers, and the store's methods that call them: every stage but the verifier takes what it knows of them here.

The verifier has its own table (:mod:`splinter.ext.middle.verifier.shapes`): a mistake in one of the two is found by the other.

To add a helper: a pointer in ``abi.CONTEXT``, a row here and there, its code in :mod:`splinter.worker.helpers`, and its method
in ``author.Store`` and ``python.LocalStore``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from splinter.ext import abi
from splinter.ext.types import BOOL, F64, NAT, NONE, OPTIONAL_BYTES, U64, Type
from splinter.limits import BYTES_PER_COST, HELPER_COST, VALUE_BYTES_MAX

_VIEWS = frozenset({"key", "value", "text"})  # parameters that are two operands: an address, and behind it a length in bytes


@dataclass(frozen=True)
class Helper:
    """A function of the context, at the byte ``pointer`` of it. It takes the context, the frame, then its operands."""

    pointer: int
    parameters: tuple[str, ...]
    is_optional: bool = False  # its pointer may be 0: the call has to look
    writes: bool = False  # it changes objects
    copies: bool = False  # a value, whose length the code does not know: it pays for the longest

    @cached_property
    def operands(self) -> int:
        """How many words it takes."""
        return self._operand(len(self.parameters))

    @cached_property
    def views(self) -> tuple[int, ...]:
        """Which operands are an address, the next one being its length."""
        return tuple(self._operand(index) for index, name in enumerate(self.parameters) if name in _VIEWS)

    @cached_property
    def paid_length(self) -> int | None:
        """The operand that says how many bytes are copied, which the task pays for."""
        return self._operand(self.parameters.index("value")) + 1 if "value" in self.parameters else None

    @property
    def cost(self) -> int:
        """What a call takes from the budget, beside the bytes of :attr:`paid_length`."""
        return HELPER_COST + (VALUE_BYTES_MAX // BYTES_PER_COST if self.copies else 0)

    @property
    def is_keyed(self) -> bool:
        """Whether its operands begin with table, key and the key's length."""
        return self.parameters[:2] == ("table", "key")

    def _operand(self, parameter: int) -> int:
        return sum(2 if name in _VIEWS else 1 for name in self.parameters[:parameter])


_GET = Helper(abi.C_GET, ("table", "key"))
_PUT = Helper(abi.C_PUT, ("table", "key", "value"), writes=True)
_PUT_IF = Helper(abi.C_PUT_IF, ("table", "key", "value", "version"), is_optional=True, writes=True)
_ADD = Helper(abi.C_ADD, ("table", "key", "n"), writes=True)
_DELETE = Helper(abi.C_DELETE, ("table", "key"), writes=True)
_DELETE_IF = Helper(abi.C_DELETE_IF, ("table", "key", "version"), writes=True)
_PUT_TTL = Helper(abi.C_PUT_TTL, (*_PUT.parameters, "ttl"), writes=True)
_PUT_IF_TTL = Helper(abi.C_PUT_IF_TTL, (*_PUT_IF.parameters, "ttl"), writes=True)
_EXPIRE = Helper(abi.C_EXPIRE, ("table", "key", "ttl"), writes=True, copies=True)
_PERSIST = Helper(abi.C_PERSIST, ("table", "key"), writes=True, copies=True)
_TTL = Helper(abi.C_TTL, ("table", "key"))
_NOW_NS = Helper(abi.C_NOW_NS, (), is_optional=True)
_LOG = Helper(abi.C_LOG, ("text",), is_optional=True)
_ALL = (
    _GET, _PUT, _PUT_IF, _PUT_TTL, _PUT_IF_TTL, _ADD, _DELETE, _DELETE_IF, _EXPIRE, _PERSIST, _TTL, _NOW_NS, _LOG,
)  # fmt: skip
HELPERS = {one.pointer: one for one in _ALL}
MATH = frozenset({abi.C_EXP, abi.C_LOG_E})  # functions of the C library, of one float; their pointers may be 0


@dataclass(frozen=True)
class Method:
    """A method of the store. Its result is what the helper answers, or the words that it leaves in ``fields`` of the frame."""

    result: Type
    helper: Helper | None = None  # None: nothing is called
    fields: tuple[int, ...] = ()
    longer: Helper | None = None  # called in its place when all of its parameters are given, which are more

    @property
    def parameters(self) -> tuple[str, ...]:
        """Those that must be given, in their order."""
        return self.helper.parameters if self.helper else ()

    @property
    def optional(self) -> tuple[str, ...]:
        """Those behind them that may be given."""
        return self.longer.parameters[len(self.parameters) :] if self.longer else ()


METHODS: dict[str, Method] = {
    "get": Method(OPTIONAL_BYTES, _GET, (abi.F_OUT_ADDRESS, abi.F_OUT_LENGTH)),
    "exists": Method(BOOL, _GET),
    "version": Method(U64, _GET, (abi.F_OUT_VERSION,)),
    "put": Method(NONE, _PUT, longer=_PUT_TTL),
    "put_if": Method(BOOL, _PUT_IF, longer=_PUT_IF_TTL),
    "add": Method(U64, _ADD, (abi.F_OUT_VERSION,)),
    "delete": Method(BOOL, _DELETE, longer=_DELETE_IF),
    "expire": Method(BOOL, _EXPIRE),
    "persist": Method(BOOL, _PERSIST),
    "ttl": Method(F64, _TTL, (abi.F_OUT_VERSION,)),
    "tenant": Method(NAT),
    "now_ns": Method(U64, _NOW_NS),
    "log": Method(NONE, _LOG),
}
WRITING = frozenset(name for name, method in METHODS.items() if method.helper and method.helper.writes)
MULTIGET = ("table", "keys", "size")  # parameters of the store's method that a `for` goes over
