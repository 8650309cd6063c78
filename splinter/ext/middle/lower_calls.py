"""Third stage: calls of a checked function to intermediate code. Helper functions are put in place of their calls."""

from __future__ import annotations

import ast
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable

from splinter.ext import abi
from splinter.ext.abi import ExtensionError
from splinter.ext.author import FNV_OFFSET
from splinter.ext.front.calls import APPENDS, READS, SETS
from splinter.ext.front.checked import Checked
from splinter.ext.helpers import METHODS, MULTIGET, Helper, Method
from splinter.ext.middle import ir
from splinter.ext.middle.builder import NO_VIEW, Memory, Value, View, Work
from splinter.ext.middle.ir import Op
from splinter.ext.middle.lower_expressions import ExpressionLowering
from splinter.ext.middle.lower_values import Typed, float_constant
from splinter.ext.types import (
    BOOL,
    BYTES,
    ELEMENTS,
    F64,
    I64,
    NONE,
    OPTIONAL_BYTES,
    U64,
    WORD_BITS,
    WORD_BYTES,
    ArrayType,
    Element,
    Type,
)
from splinter.limits import DIGEST_PIECE_BYTES, TABLES_MAX

_CRC32_INVERSION = 0xFFFFFFFF
_NUMBERS = {"version": U64, "n": I64}  # parameters of the store's methods that are no table, key or value
_BIT_OPS = {"popcount": Op.POPCOUNT, "clz": Op.LEADING_ZEROS, "ctz": Op.TRAILING_ZEROS}


def call_line(node: ast.Call) -> int:
    """The line that Python names for a call: of a method, the one with the method's name."""
    return node.func.end_lineno or node.lineno if isinstance(node.func, ast.Attribute) else node.lineno


class CallLowering(ExpressionLowering, ABC):
    """Lowers calls; each function of the language has a method ``_call_<name>``."""

    def __init__(self, checked: Checked, name: str, work: Work) -> None:
        super().__init__(checked, name, work)
        self._cells: dict[str, int] = {}

    @abstractmethod
    def put_in_place(self, helper: Checked, arguments: dict[str, Value]) -> Value:
        """Lower the body of a helper function here; its result."""

    def _lower_Call(self, node: ast.Call) -> Value:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id in self.checked.helpers:
                return self._call_helper(self.checked.helpers[function.id], node)
            value: Value = getattr(self, f"_call_{function.id}")(node)
            return value
        assert isinstance(function, ast.Attribute)
        if isinstance(function.value, ast.Name) and function.value.id == self.checked.store_name:
            return self._call_store(function.attr, node)
        if function.attr in READS:
            line = call_line(node)
            receiver = self._receiver(function.value, line)
            offset = self.integer(node.args[0])
            return self.read(self.as_view(receiver, BYTES, line), offset, READS[function.attr], line)
        buffer = self.expression(function.value)
        assert isinstance(buffer, Memory)
        self._call_buffer(function.attr, buffer, node)
        return NO_VIEW

    def _receiver(self, node: ast.expr, line: int) -> Value:
        """What a method is called of. Python finds the method before it evaluates the arguments: not of None.

        The arguments may change what is in a buffer, so that is looked at behind them.
        """
        value = self.expression(node)
        return value if isinstance(value, Memory) else self.as_view(value, self.checked.types[node], line)

    def _call_helper(self, helper: Checked, node: ast.Call) -> Value:
        names = ((helper.store_name,) if helper.store_name else ()) + tuple(helper.parameters)
        written = list(zip(names, node.args, strict=False)) + [(str(k.arg), k.value) for k in node.keywords]
        values = {name: (self.expression(a), self.checked.types[a]) for name, a in written if name != helper.store_name}
        arguments = {name: self.convert(*values[name], kind, node.lineno) for name, kind in helper.parameters.items()}
        return self.put_in_place(helper, arguments)

    # --- functions ----------------------------------------------------------------------------------------------------

    def _call_len(self, node: ast.Call) -> ir.Operand:
        if isinstance(self.checked.types[node.args[0]], ArrayType):
            array = self.expression(node.args[0])
            assert isinstance(array, Memory)
            return ir.word(array.length)
        return self.view(node.args[0], node.lineno).length

    def _call_abs(self, node: ast.Call) -> ir.Operand:
        if self.checked.types[node] == F64:
            bits = self.emit(Op.AND, self.emit(Op.RAW_BITS, self.floating(node.args[0])), ir.word((1 << 63) - 1))
            return self.emit(Op.FROM_BITS, bits)
        value, kind = self.integer(node.args[0])
        if kind != I64:
            return value
        negative = self.emit(Op.SLT, value, ir.ZERO)
        result = self.select(negative, self.emit(Op.SUB, ir.ZERO, value), value)
        self.check(self.emit(Op.SLE, ir.ZERO, result), ExtensionError.OVERFLOW, node.lineno)
        return result

    def _call_min(self, node: ast.Call) -> ir.Operand:
        return self._extreme(node, want_less=True)

    def _call_max(self, node: ast.Call) -> ir.Operand:
        return self._extreme(node, want_less=False)

    def _extreme(self, node: ast.Call, want_less: bool) -> ir.Operand:
        kind = self.checked.types[node]
        values = [self.floating(a) if kind == F64 else self.integer(a)[0] for a in node.args]
        best = values[0]
        for value in values[1:]:
            pair = (value, best) if want_less else (best, value)
            is_better = self.emit(Op.FLT, *pair) if kind == F64 else self.less((pair[0], kind), (pair[1], kind))
            best = self.select(is_better, value, best)
        return best

    def _call_u64(self, node: ast.Call) -> Value:
        assert isinstance(node.func, ast.Name)
        argument, line = node.args[0], node.lineno
        element = ELEMENTS.get(node.func.id)
        if self.checked.types[argument] == F64:
            number = self._to_integer(self.operand(argument), element == ELEMENTS["u64"], line)
        else:
            number = self.integer(argument)
        return self.fit(number, element, line) if element is not None else number[0]

    _call_int = _call_i64 = _call_u8 = _call_i8 = _call_u16 = _call_i16 = _call_u32 = _call_i32 = _call_u64

    def _to_integer(self, value: ir.Operand, is_unsigned: bool, line: int) -> Typed:
        """A float with its fraction cut off; the bounds are those between which that fits."""
        kind, high = (U64, 2.0**64) if is_unsigned else (I64, 2.0**63)
        above = self.emit(Op.FLT, float_constant(-1.0), value) if is_unsigned else self.emit(
            Op.FLE, float_constant(-(2.0**63)), value
        )  # fmt: skip
        fits = self.emit(Op.AND, above, self.emit(Op.FLT, value, float_constant(high)))
        self.check(fits, ExtensionError.OVERFLOW, line)
        return self.emit(Op.TO_UNSIGNED if is_unsigned else Op.TO_SIGNED, value), kind

    def _call_f64(self, node: ast.Call) -> ir.Operand:
        if self.checked.types[node.args[0]] == F64:
            return self.operand(node.args[0])
        value, kind = self.integer(node.args[0])
        return self.emit(Op.FROM_UNSIGNED if kind == U64 else Op.FROM_SIGNED, value)

    def _call_bool(self, node: ast.Call) -> ir.Operand:
        return self.truth(node.args[0])

    def _call_sqrt(self, node: ast.Call) -> ir.Operand:
        value = self.floating(node.args[0])
        is_negative = self.emit(Op.FLT, value, float_constant(0.0))
        self.check(self.negate(is_negative), ExtensionError.DOMAIN, node.lineno)
        return self.emit(Op.SQRT, value)

    def _call_floor(self, node: ast.Call) -> ir.Operand:
        return self.emit(Op.FLOOR, self.floating(node.args[0]))

    def _call_popcount(self, node: ast.Call) -> ir.Operand:
        assert isinstance(node.func, ast.Name)
        return self.emit(_BIT_OPS[node.func.id], self.integer(node.args[0])[0])

    _call_clz = _call_ctz = _call_popcount

    def _call_rotl64(self, node: ast.Call) -> ir.Operand:
        value, count = (self.integer(argument)[0] for argument in node.args)
        self.check(self.emit(Op.ULT, count, ir.word(WORD_BITS)), ExtensionError.SHIFT, node.lineno)
        back = self.emit(Op.AND, self.emit(Op.SUB, ir.ZERO, count), ir.word(WORD_BITS - 1))
        return self.emit(Op.OR, self.emit(Op.SHL, value, count), self.emit(Op.LSHR, value, back))

    def _call_rotl32(self, node: ast.Call) -> ir.Operand:
        number, (count, _) = (self.integer(argument) for argument in node.args)
        value = self.fit(number, ELEMENTS["u32"], node.lineno)
        self.check(self.emit(Op.ULT, count, ir.word(32)), ExtensionError.SHIFT, node.lineno)
        left = self.emit(Op.AND, self.emit(Op.SHL, value, count), ir.word(0xFFFFFFFF))
        return self.emit(Op.OR, left, self.emit(Op.LSHR, value, self.emit(Op.SUB, ir.word(32), count)))

    def _call_crc32(self, node: ast.Call) -> ir.Operand:
        """Piece by piece, so that a long one yields between."""
        assert isinstance(node.func, ast.Name)
        is_crc = node.func.id == "crc32"
        view = self.view(node.args[0], node.lineno)
        address, left, state = (self.function.new_register(ir.Kind.WORD) for _ in range(3))
        self.move(address, view.address)
        self.move(left, view.length)
        self.move(state, ir.word(_CRC32_INVERSION if is_crc else FNV_OFFSET))
        head, latch, after = self.loop_head(), self.new_block(), self.new_block()
        self.end(ir.Jump(head))
        self.block = head
        most = ir.word(DIGEST_PIECE_BYTES)
        piece = self.select(self.emit(Op.ULT, left, most), left, most)
        self.move(state, self.emit(Op.CRC32 if is_crc else Op.HASH64, address, piece, state, line=node.lineno))
        self.move(address, self.emit(Op.ADD, address, piece))
        self.move(left, self.emit(Op.SUB, left, piece))
        self.end(ir.Branch(self.emit(Op.NE, left, ir.ZERO), latch, after))
        self.block = latch
        self.end(ir.Jump(head, may_yield=True, line=node.lineno))
        self.block = after
        return self.emit(Op.XOR, state, ir.word(_CRC32_INVERSION)) if is_crc else state

    _call_hash64 = _call_crc32

    def _call_exp(self, node: ast.Call) -> ir.Operand:
        value, infinity = self.floating(node.args[0]), float_constant(math.inf)
        result = self.emit(Op.MATH, value, size=abi.C_EXP, line=node.lineno, error=ExtensionError.UNAVAILABLE)
        overflows = self.emit(Op.AND, self.emit(Op.FEQ, result, infinity), self.emit(Op.FLT, value, infinity))
        self.check(self.negate(overflows), ExtensionError.OVERFLOW, node.lineno)
        return result

    def _call_log(self, node: ast.Call) -> ir.Operand:
        value = self.floating(node.args[0])
        self.check(self.negate(self.emit(Op.FLE, value, float_constant(0.0))), ExtensionError.DOMAIN, node.lineno)
        return self.emit(Op.MATH, value, size=abi.C_LOG_E, line=node.lineno, error=ExtensionError.UNAVAILABLE)

    # --- the store ----------------------------------------------------------------------------------------------------

    def _call_store(self, method: str, node: ast.Call) -> Value:
        """Arguments are evaluated in the order they are written, then checked in the order of the parameters."""
        called = METHODS[method]
        helper = called.helper
        if helper is None:
            return self.load(self.frame(abi.F_TENANT), 4)
        values, line = self._arguments(called.parameters + called.optional, node), call_line(node)
        if called.longer is not None and len(values) == len(called.longer.parameters):
            helper = called.longer
        operands: list[ir.Operand] = []
        for name in helper.parameters:
            value, kind = values[name]
            if name == "table":
                operands.append(self._table_number(value, line))
            elif name in _NUMBERS:
                number = self.convert(value, kind, _NUMBERS[name], line)
                assert isinstance(number, ir.Operand)
                operands.append(number)
            elif name == "ttl":
                operands.append(self._seconds(value, kind))
            elif isinstance(value, ir.Operand):
                view = self._in_cell(name, value)
                operands += (view.address, view.length)
            else:
                view = self.as_view(value, kind, line)
                operands += (view.address, view.length)
        return self._call_helper_of(helper, called, operands, line)

    def call_method(self, name: str, operands: Iterable[ir.Operand], line: int) -> Value:
        """What a method of the store gives; the operands of its helper are ready."""
        method = METHODS[name]
        assert method.helper is not None
        return self._call_helper_of(method.helper, method, operands, line)

    def _seconds(self, value: Value, kind: Type) -> ir.Operand:
        """A ttl as the bits of a float. The helper looks whether it is one, as it does not trust the code."""
        assert isinstance(value, ir.Operand)
        if kind != F64:
            value = self.emit(Op.FROM_UNSIGNED if kind == U64 else Op.FROM_SIGNED, value)
        return self.emit(Op.RAW_BITS, value)

    def _call_helper_of(self, helper: Helper, method: Method, operands: Iterable[ir.Operand], line: int) -> Value:
        self.spend(helper.cost)
        error = ExtensionError.UNAVAILABLE if helper.is_optional else 0
        answer = self.emit(Op.HELPER, *operands, size=helper.pointer, line=line, error=error)
        words = [self.load(self.frame(field), WORD_BYTES) for field in method.fields]
        if method.result == OPTIONAL_BYTES:
            return View(*words)
        if words:
            return self.emit(Op.FROM_BITS, words[0]) if method.result == F64 else words[0]
        if method.result == BOOL:
            return self.emit(Op.NE, answer, ir.ZERO)
        return NO_VIEW if method.result == NONE else answer

    def records(self, call: ast.Call, function: ast.Attribute) -> tuple[ir.Operand | None, View, ir.Operand]:
        """Table (of ``multiget``), bytes and size of a record; the bytes are a whole number of records."""
        line = call_line(call)
        table: ir.Operand | None = None
        if function.attr == "multiget":
            values = self._arguments(MULTIGET, call)
            table = self._table_number(values["table"][0], line)
            view = self.as_view(*values["keys"], line)
            size, kind = values["size"]
        else:
            receiver = self._receiver(function.value, line)
            size, kind = self.expression(call.args[0]), self.checked.types[call.args[0]]
            view = self.as_view(receiver, BYTES, line)
        assert isinstance(size, ir.Operand)
        size = self.widen(size)
        is_positive = self.emit(Op.SLT, ir.ZERO, size) if kind != U64 else self.emit(Op.NE, size, ir.ZERO)
        self.check(is_positive, ExtensionError.INDEX, line)
        rest = self.emit(Op.UREM, view.length, size)
        self.check(self.emit(Op.EQ, rest, ir.ZERO), ExtensionError.INDEX, line)
        return table, view, size

    def _arguments(self, names: tuple[str, ...], node: ast.Call) -> dict[str, tuple[Value, Type]]:
        written = list(zip(names, node.args, strict=False)) + [(str(k.arg), k.value) for k in node.keywords]
        return {name: (self.expression(argument), self.checked.types[argument]) for name, argument in written}

    def _table_number(self, value: Value, line: int) -> ir.Operand:
        assert isinstance(value, ir.Operand)
        table = self.widen(value)
        if not isinstance(table, ir.Constant):
            self.check(self.emit(Op.ULT, table, ir.word(TABLES_MAX)), ExtensionError.TABLE, line)
        return table

    def _in_cell(self, name: str, value: ir.Operand) -> View:
        """An integer key or value as its 8 bytes, in a cell of the native stack."""
        cell = self._cells.setdefault(name, len(self._cells))
        self.function.scratch_cells = len(self._cells)
        address = self.emit(Op.SCRATCH, size=cell)
        self.store(address, self.widen(value), WORD_BYTES)
        return View(address, ir.word(WORD_BYTES))

    # --- buffers ------------------------------------------------------------------------------------------------------

    def _call_buffer(self, method: str, buffer: Memory, node: ast.Call) -> None:
        line = call_line(node)
        if method == "clear":
            self.store(self.frame(buffer.offset), ir.ZERO, WORD_BYTES)
        elif method == "append":
            view = self.view(node.args[0], line)
            target = self._grow(buffer, view.length, line)
            self.copy(target, view)
        elif method in APPENDS:
            element = APPENDS[method]
            value = self.fit_element(node.args[0], element, line)
            self.store_element(self._grow(buffer, ir.word(element.size), line), value, element)
        else:
            element = SETS[method]
            offset = self.integer(node.args[0])
            value = self.fit_element(node.args[1], element, line)
            content = self.content(buffer)
            self.check_range(content.length, offset, element.size, line)
            self.store_element(self.emit(Op.ADD, content.address, offset[0]), value, element)

    def _grow(self, buffer: Memory, count: ir.Operand, line: int) -> ir.Operand:
        """Make a buffer longer; the address of its new part."""
        content = self.content(buffer)
        room = self.emit(Op.SUB, ir.word(buffer.length), content.length)
        self.check(self.emit(Op.ULE, count, room), ExtensionError.CAPACITY, line)
        self.store(self.frame(buffer.offset), self.emit(Op.ADD, content.length, count), WORD_BYTES)
        return self.emit(Op.ADD, content.address, content.length)

    def new_array(self, element: Element, length: int) -> Memory:
        """A local array; it is cleared where it is made."""
        size = -(-element.size * length // WORD_BYTES) * WORD_BYTES
        memory = Memory(self.function.new_memory(size), length, element)
        self.clear(self.frame(memory.offset), size)
        return memory

    def new_buffer(self, capacity: int) -> Memory:
        """A buffer with nothing in it. Its bytes are cleared too: a frame may hold what another tenant left there."""
        size = WORD_BYTES - (-capacity // WORD_BYTES) * WORD_BYTES
        memory = Memory(self.function.new_memory(size, capacity), capacity, ELEMENTS["u8"])
        self.clear(self.frame(memory.offset), size)
        return memory
