"""Third stage: statements of a checked function to intermediate code."""

from __future__ import annotations

import ast

from splinter.ext import abi, ir
from splinter.ext.abi import ExtensionError, ResultKind
from splinter.ext.checked import Checked
from splinter.ext.ir import Kind, Op
from splinter.ext.lower_expressions import ExpressionLowering, View
from splinter.ext.types import BOOL, BYTES, NONE, WORD_BYTES, Type, is_integer, is_view

_LENGTH_SHIFT = 32
_OFFSET_MASK = 0xFFFFFFFF


def lower(checked: Checked) -> ir.Function:
    """Intermediate code of an accepted function."""
    return _Lowering(checked).run()


def result_kind(result: Type) -> ResultKind:
    """How the worker makes the reply from the frame."""
    if result == NONE:
        return ResultKind.NONE
    return ResultKind.BYTES if is_view(result) else ResultKind.SCALAR


class _Lowering(ExpressionLowering):
    """Each statement appends to the current block; ``self.block`` moves on."""

    def __init__(self, checked: Checked) -> None:
        super().__init__(checked)
        self.loops: list[tuple[ir.Block, ir.Block]] = []  # where continue and break go

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
        if node.value is not None:
            value = self.expression_as(node.value, result, node.lineno)
            if isinstance(value, View):
                if result == BYTES:
                    self.store(self.frame(abi.F_RESULT), value.address, 8)
                    self.store(self.frame(abi.F_RESULT_LENGTH), value.length, 4)
            elif result != NONE:
                self.store(self.frame(abi.F_RESULT), self.widen(value), 8)
        self.end(ir.Done())

    # --- simple statements --------------------------------------------------------------------------------------------

    def _block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if self.block.terminator is not None:
                return  # never reached
            getattr(self, f"_visit_{type(statement).__name__}")(statement)

    def _visit_Pass(self, node: ast.Pass) -> None:
        pass

    def _visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Yield):
            resume = self.function.new_block()
            self.end(ir.Yield(resume))
            self.block = resume
        elif not isinstance(node.value, ast.Constant):
            self.expression(node.value)

    def _visit_Assign(self, node: ast.Assign) -> None:
        value = self.expression(node.value)
        kind = self.checked.types[node.value]
        for target in node.targets:
            assert isinstance(target, ast.Name)
            self._assign(target.id, value, kind, node.lineno)

    def _visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            assert isinstance(node.target, ast.Name)
            self._assign(node.target.id, self.expression(node.value), self.checked.types[node.value], node.lineno)

    def _assign(self, name: str, value: ir.Operand | View, kind: Type, line: int) -> None:
        self.move(self.variable(name), self.convert(value, kind, self.checked.variables[name], line))

    def _visit_Assert(self, node: ast.Assert) -> None:
        holds, fails = self.function.new_block(), self.function.new_block()
        self.condition(node.test, holds, fails)
        self.block = fails
        self.check(ir.FALSE, ExtensionError.ASSERTION, node.lineno)
        self.end(ir.Done())
        self.block = holds

    # --- control flow -------------------------------------------------------------------------------------------------

    def _visit_If(self, node: ast.If) -> None:
        yes, no, after = (self.function.new_block() for _ in range(3))
        self.condition(node.test, yes, no)
        for block, statements in ((yes, node.body), (no, node.orelse)):
            self.block = block
            self._block(statements)
            self.end(ir.Jump(after))
        self.block = after

    def _visit_While(self, node: ast.While) -> None:
        head, body, latch, after = (self.function.new_block() for _ in range(4))
        self.end(ir.Jump(head))
        self.block = head
        self.condition(node.test, body, after)
        self._body(node, body, latch, after)
        self.end(ir.Jump(latch))
        self.block = latch
        self.end(ir.Jump(head, is_loop=True))
        self.block = after

    def _visit_For(self, node: ast.For) -> None:
        """Count in a hidden register, so that the body may assign the loop's variable."""
        assert isinstance(node.iter, ast.Call) and isinstance(node.target, ast.Name)
        start, stop, step = self._range(node.iter)
        kind = self.checked.types[node.iter]
        head, body, latch, again, after = (self.function.new_block() for _ in range(5))
        counter = self.function.new_register(Kind.WORD)
        end = self.function.new_register(Kind.WORD)
        self.move(counter, start[0])
        self.move(end, stop[0])
        is_more = self.less(start, stop) if step > 0 else self.less(stop, start)
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
        self.move(counter, self.emit(Op.ADD, counter, ir.word(step)))
        self.end(ir.Jump(head, is_loop=True))
        self.block = after

    def _range(self, call: ast.Call) -> tuple[tuple[ir.Operand, Type], tuple[ir.Operand, Type], int]:
        values = [self.integer(argument) for argument in call.args[:2]]
        start, stop = values if len(values) == 2 else (self.integer_constant(0), values[0])
        step = int(self.checked.constants[call.args[2]] or 1) if len(call.args) > 2 else 1
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
