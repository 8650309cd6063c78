"""Third stage: statements of a checked function to intermediate code."""

from __future__ import annotations

import ast

from splinter.ext import abi
from splinter.ext.abi import ExtensionError, ResultKind
from splinter.ext.front.checked import Checked, Program
from splinter.ext.middle import ir
from splinter.ext.middle.builder import NO_VIEW, Memory, TooLargeError, UntranslatedError, Value, View, Work
from splinter.ext.middle.ir import Kind, Op
from splinter.ext.middle.lower_calls import CallLowering
from splinter.ext.types import (
    BOOL,
    BYTES,
    F64,
    NAT,
    NONE,
    WORD_BYTES,
    ArrayType,
    TupleType,
    Type,
    is_integer,
    is_memory,
    is_view,
)

_LENGTH_SHIFT = 32
_OFFSET_MASK = 0xFFFFFFFF


def lower(program: Program, work: Work | None = None) -> ir.Function:
    """Intermediate code of an accepted extension, its helper functions put in place of their calls.

    ``work`` is what was done for others that are compiled together with it. Raises :class:`TooLargeError`, and
    :class:`UntranslatedError` where the checker has accepted what nobody knows how to lower.
    """
    lowering = _Lowering(program.extension, program.signature.name, work or Work())
    try:
        return lowering.run()
    except TooLargeError as error:
        error.line = lowering.line
        raise
    except (RecursionError, MemoryError):
        raise
    except Exception as error:
        raise UntranslatedError(lowering.line, f"{type(error).__name__}: {error}") from error


def result_kind(result: Type) -> ResultKind:
    """How the worker makes the reply from the frame."""
    if result == NONE:
        return ResultKind.NONE
    return ResultKind.BYTES if is_view(result) or isinstance(result, TupleType) else ResultKind.SCALAR


class _Lowering(CallLowering):
    """Each statement appends to the current block; ``self.block`` moves on."""

    def __init__(self, checked: Checked, name: str, work: Work) -> None:
        super().__init__(checked, name, work)
        self.loops: list[tuple[ir.Block, ir.Block]] = []  # where continue and break go
        self.helper_exit: tuple[ir.Block, Value] | None = None  # where a helper's return goes, and its result's registers
        self.line = checked.function.lineno  # of the statement that is being lowered
        self.tuple_offset: int | None = None  # where several results lie in the frame

    def run(self) -> ir.Function:
        self._prologue()
        self._block(self.checked.function.body)
        if self.block.terminator is None:
            self.end(ir.Done())
        return self.function

    # --- arguments and result -----------------------------------------------------------------------------------------

    def _prologue(self) -> None:
        """Load the arguments; a client may have sent anything, so every word is checked against its type."""
        line = self.checked.function.lineno
        count = len(self.checked.parameters)
        if not count:
            return
        arguments = self.load(self.frame(abi.F_ARGUMENTS), 8)
        total = self.load(self.frame(abi.F_ARGUMENTS_LENGTH), 4)
        words_bytes = ir.word(count * WORD_BYTES)
        self.check(self.emit(Op.ULE, words_bytes, total), ExtensionError.ARGUMENTS, line)
        for index, (name, kind) in enumerate(self.checked.parameters.items()):
            value = self.load(self.emit(Op.ADD, arguments, ir.word(index * WORD_BYTES)), 8)
            if is_integer(kind):
                self.move(self.variable(name), value)
            elif kind == F64:
                self.move(self.variable(name), self.emit(Op.FROM_BITS, value))
            elif kind == BOOL:
                self.check(self.emit(Op.ULE, value, ir.word(1)), ExtensionError.ARGUMENTS, line)
                self.move(self.variable(name), self.emit(Op.NE, value, ir.ZERO))
            else:
                start = self.emit(Op.AND, value, ir.word(_OFFSET_MASK))
                length = self.emit(Op.LSHR, value, ir.word(_LENGTH_SHIFT))
                # Both are below 2**32, so the sum cannot overflow.
                self.check(self.emit(Op.ULE, words_bytes, start), ExtensionError.ARGUMENTS, line)
                end = self.emit(Op.ADD, start, length)
                self.check(self.emit(Op.ULE, end, total), ExtensionError.ARGUMENTS, line)
                self.move(self.variable(name), View(self.emit(Op.ADD, arguments, start), length))

    def _visit_Return(self, node: ast.Return) -> None:
        result = self.checked.result
        value = self.expression_as(node.value, result, node.lineno) if node.value is not None else NO_VIEW
        if self.helper_exit is not None:
            exit_block, registers = self.helper_exit
            self.move(registers, value)
            self.end(ir.Jump(exit_block))
            return
        if node.value is not None:
            if isinstance(value, tuple):
                self._return_tuple(value)
            elif isinstance(value, View):
                if result == BYTES:
                    self.store(self.frame(abi.F_RESULT), value.address, 8)
                    self.store(self.frame(abi.F_RESULT_LENGTH), value.length, 4)
            else:
                self.store(self.frame(abi.F_RESULT), self._as_word(value), 8)
        self.end(ir.Done())

    def _return_tuple(self, values: tuple[Value, ...]) -> None:
        """Several results are bytes: a word for each."""
        if self.tuple_offset is None:
            self.tuple_offset = self.function.new_memory(len(values) * WORD_BYTES)
        for index, value in enumerate(values):
            self.store(self.frame(self.tuple_offset + index * WORD_BYTES), self._as_word(value), 8)
        self.store(self.frame(abi.F_RESULT), self.frame(self.tuple_offset), 8)
        self.store(self.frame(abi.F_RESULT_LENGTH), ir.word(len(values) * WORD_BYTES), 4)

    def _as_word(self, value: Value) -> ir.Operand:
        assert isinstance(value, ir.Operand)
        return self.emit(Op.TO_BITS, value) if value.kind is Kind.FLOAT else self.widen(value)

    # --- helper functions ---------------------------------------------------------------------------------------------

    def put_in_place(self, helper: Checked, arguments: dict[str, Value]) -> Value:
        """Lower the body of a helper function here, with variables of its own; its result."""
        kept = self.checked, self.variables, self.loops, self.helper_exit
        after, result = self.new_block(), self.new_value(helper.result)
        self.checked, self.variables, self.loops, self.helper_exit = helper, {}, [], (after, result)
        for name, value in arguments.items():
            if name not in helper.assigned:
                self.variables[name] = value  # no copy: nothing in the helper function assigns what the value is made of
                self.keep(value)
            else:
                self.move(self.variable(name), value)
        self._block(helper.function.body)
        self.end(ir.Jump(after))
        self.checked, self.variables, self.loops, self.helper_exit = kept
        self.go_on(after)
        return result

    # --- simple statements --------------------------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.block.terminator is not None:
                return  # never reached
            self.line = statement.lineno
            self.step()
            getattr(self, f"_visit_{type(statement).__name__}")(statement)

    def _visit_Pass(self, node: ast.Pass) -> None:
        pass

    def _visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Yield):
            resume = self.new_block()
            self.end(ir.Yield(resume, node.lineno))
            self.block = resume
        elif not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def _visit_Assign(self, node: ast.Assign) -> None:
        kind = self.checked.types[node.value]
        if is_memory(kind):
            assert isinstance(node.value, ast.Call) and isinstance(node.targets[0], ast.Name)
            self.variables[node.targets[0].id] = self._make(node.value, kind)
            return
        value = self.expression(node.value)
        if len(node.targets) > 1:  # what the first target gets may be what the value is made of
            registers = self.new_value(kind)
            self.move(registers, value)
            value = registers
        for target in node.targets:
            if isinstance(target, ast.Tuple):
                self._take_apart(target, value, kind, node.lineno)
            elif isinstance(target, ast.Subscript):
                self._assign_element(target, node.value, value)
            else:
                assert isinstance(target, ast.Name)
                self._assign(target.id, value, kind, node.lineno)

    def _make(self, call: ast.Call, kind: Type) -> Memory:
        length = self.checked.constants[call.args[-1]]
        assert isinstance(length, int)
        return self.new_array(kind.element, length) if isinstance(kind, ArrayType) else self.new_buffer(length)

    def _take_apart(self, target: ast.Tuple, value: Value, kind: Type, line: int) -> None:
        """Assign several variables at once: all values are taken before the first variable changes."""
        assert isinstance(value, tuple) and isinstance(kind, TupleType)
        names = [element.id for element in target.elts if isinstance(element, ast.Name)]
        taken = []
        for name, part, part_kind in zip(names, value, kind.elements, strict=True):
            registers = self.new_value(self.checked.variables[name])
            self.move(registers, self.convert(part, part_kind, self.checked.variables[name], line))
            taken.append(registers)
        for name, registers in zip(names, taken, strict=True):
            self.move(self.variable(name), registers)

    def _assign_element(self, target: ast.Subscript, node: ast.expr, value: Value) -> None:
        """Python evaluates the value, then the array and the index; then it looks whether they fit."""
        array = self.expression(target.value)
        assert isinstance(array, Memory)
        index = self.integer(target.slice)
        number = self.fit_value(node, value, array.element, target.lineno)
        self.store_element(self.element_address(array, index, target.lineno), number, array.element, is_array=True)

    def _visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Array and index are evaluated once, and the element is read before the other side is evaluated."""
        target, operation = node.target, node.value
        assert isinstance(target, ast.Subscript) and isinstance(operation, ast.BinOp)
        array = self.expression(target.value)
        assert isinstance(array, Memory)
        index = self.integer(target.slice)
        element = self.load_element(self.element_address(array, index, target.lineno), array.element)
        value = self.operate(operation, element, self.expression(operation.right))
        number = self.fit_value(operation, value, array.element, target.lineno)
        # The address is computed anew: nothing but views is kept as an address while others run.
        self.store_element(self.element_address(array, index, target.lineno), number, array.element, is_array=True)

    def _visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            assert isinstance(node.target, ast.Name)
            self._assign(node.target.id, self.expression(node.value), self.checked.types[node.value], node.lineno)

    def _assign(self, name: str, value: Value, kind: Type, line: int) -> None:
        self.move(self.variable(name), self.convert(value, kind, self.checked.variables[name], line))

    def _visit_Assert(self, node: ast.Assert) -> None:
        holds, fails = self.new_block(), self.new_block()
        self.condition(node.test, holds, fails)
        self.block = fails
        self.check(ir.FALSE, ExtensionError.ASSERTION, node.lineno)
        self.end(ir.Done())
        self.block = holds

    def _visit_Raise(self, node: ast.Raise) -> None:
        assert isinstance(node.exc, ast.Call)
        code, _ = self.integer(node.exc.args[0])
        self.store(self.frame(abi.F_RESULT), code, 8)
        self.check(ir.FALSE, ExtensionError.RAISED, node.lineno)
        self.end(ir.Done())

    # --- control flow -------------------------------------------------------------------------------------------------

    def _visit_If(self, node: ast.If) -> None:
        yes, no, after = (self.new_block() for _ in range(3))
        self.condition(node.test, yes, no)
        for block, statements in ((yes, node.body), (no, node.orelse)):
            self.block = block
            self._block(statements)
            self.end(ir.Jump(after))
        self.go_on(after)

    def _visit_While(self, node: ast.While) -> None:
        head = self.loop_head()
        body, latch, after = (self.new_block() for _ in range(3))
        self.end(ir.Jump(head))
        self.block = head
        self.condition(node.test, body, after)
        self._body(node, body, latch, after)
        self.end(ir.Jump(latch))
        self.block = latch
        self.end(ir.Jump(head, may_yield=True, line=node.lineno))
        self.go_on(after)

    def _visit_For(self, node: ast.For) -> None:
        assert isinstance(node.iter, ast.Call)
        if isinstance(node.iter.func, ast.Attribute):
            self._for_records(node, node.iter, node.iter.func)
        else:
            self._for_range(node, node.iter)

    def _for_records(self, node: ast.For, call: ast.Call, function: ast.Attribute) -> None:
        """Go over records of the same size in bytes, or over the objects whose keys they are."""
        assert isinstance(node.target, ast.Name)
        line = node.lineno
        table, rest, size = self._kept(*self.records(call, function))
        head = self.loop_head()
        body, latch, after = (self.new_block() for _ in range(3))
        start = self.function.new_register(Kind.WORD)
        self.end(ir.Jump(head))
        self.block = head
        self.end(ir.Branch(self.emit(Op.ULE, size, rest.length), body, after))
        self.block = body
        self.move(start, rest.address)
        self.move(rest, View(self.emit(Op.ADD, rest.address, size), self.emit(Op.SUB, rest.length, size)))
        record = View(start, size)
        value = record if table is None else self.call_method("get", (table, record.address, record.length), line)
        self._assign(node.target.id, value, self.checked.types[node.iter], line)
        self._body(node, self.block, latch, after)
        self.end(ir.Jump(latch))
        self.block = latch
        self.end(ir.Jump(head, may_yield=True, line=line))
        self.go_on(after)

    def _kept(self, table: ir.Operand | None, view: View, size: ir.Operand) -> tuple[ir.Operand | None, View, ir.Operand]:
        """The same in registers of their own: what was checked before the loop must not change when its body assigns."""
        registers = [self.function.new_register(Kind.WORD) for _ in range(4)]
        for register, value in zip(registers, (view.address, view.length, size, table or ir.ZERO), strict=True):
            self.move(register, value)
        return table and registers[3], View(registers[0], registers[1]), registers[2]

    def _for_range(self, node: ast.For, call: ast.Call) -> None:
        """Count in a hidden register, so that the body may assign the loop's variable."""
        assert isinstance(node.target, ast.Name)
        start, stop, step = self._range(call)
        kind = self.checked.types[node.iter]
        head = self.loop_head()
        body, latch, again, after = (self.new_block() for _ in range(4))
        counter = self.function.new_register(Kind.WORD)
        end = self.function.new_register(Kind.WORD)
        is_more = self.less(start, stop) if step > 0 else self.less(stop, start)
        self.move(counter, start[0])
        self.move(end, stop[0])
        self.end(ir.Branch(is_more, head, after))
        self.block = head
        self._assign(node.target.id, counter, kind, node.lineno)
        self.end(ir.Jump(body))
        self._body(node, body, latch, after)
        self.end(ir.Jump(latch))
        # The distance to the end is compared with the step, since counter + step might not fit.
        self.block = latch
        distance = self.emit(Op.SUB, *((end, counter) if step > 0 else (counter, end)))
        self.end(ir.Branch(self.emit(Op.ULT, ir.word(abs(step)), distance), again, after))
        self.block = again
        self.move(counter, self._next(counter, kind, step))
        self.end(ir.Jump(head, may_yield=True, line=node.lineno))
        self.go_on(after)

    def _next(self, counter: ir.Operand, kind: Type, step: int) -> ir.Operand:
        """The counter's next value, which is known to fit. That of a ``nat`` is seen to be one."""
        if kind != NAT:
            return self.emit(Op.ADD, counter, ir.word(step))
        return self.emit(Op.SADD, counter, ir.word(step)) if step > 0 else self.emit(Op.USUB, counter, ir.word(-step))

    def _range(self, call: ast.Call) -> tuple[tuple[ir.Operand, Type], tuple[ir.Operand, Type], int]:
        values = [self.integer(argument) for argument in call.args[:2]]
        start, stop = values if len(values) == 2 else (self.integer_constant(0), values[0])
        step = self.checked.constants[call.args[2]] if len(call.args) > 2 else 1
        assert isinstance(step, int)
        return start, stop, step

    def _body(self, node: ast.While | ast.For, body: ir.Block, onward: ir.Block, after: ir.Block) -> None:
        self.loops.append((onward, after))
        self.block = body
        self._block(node.body)
        self.loops.pop()

    def _visit_Break(self, node: ast.Break) -> None:
        self.end(ir.Jump(self.loops[-1][1]))

    def _visit_Continue(self, node: ast.Continue) -> None:
        self.end(ir.Jump(self.loops[-1][0]))
