"""Whether an extension can run in the kernel, told from its intermediate code; if not, why, in its author's terms."""

from __future__ import annotations

from splinter.errors import SplinterError
from splinter.ext import abi
from splinter.ext.abi import Isolation
from splinter.ext.helpers import HELPERS
from splinter.ext.kernel import layout
from splinter.ext.kernel.emit import data_places
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Kind, Op

_OTHER_HELPERS = {abi.C_NOW_NS: "db.now_ns", abi.C_LOG: "db.log", abi.C_TTL: "db.ttl"}
INSTRUCTIONS_MAX = 4000  # of the intermediate code: a tenth of a second of LLVM


class UnfitError(SplinterError):
    """The extension belongs to the worker. ``line`` of the source, 0 when none is to blame."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def require_fit(function: ir.Function, placement: ir.Placement, isolation: Isolation, float_line: int) -> None:
    """Raise :class:`UnfitError` for what the kernel's back end cannot do; LLVM must not see it. ``float_line`` is where the
    source has its first float, if it has any."""
    for block in function.blocks:
        for place, instruction in enumerate(block.instructions):
            reason = _unfit(instruction)
            if reason:
                raise UnfitError(reason, _line(block, place))
    if any(_has_float(instruction) for block in function.blocks for instruction in block.instructions):
        raise UnfitError("the kernel has no floats", float_line)
    if isolation & abi.MAY_WRITE:  # in code that is never reached
        raise UnfitError("it may write")
    if function.size > INSTRUCTIONS_MAX:
        raise UnfitError(f"it has {function.size} instructions; in the kernel {INSTRUCTIONS_MAX} are possible")
    cells = placement.cells.bit_count() - len(placement.slots)
    if cells > layout.CELLS_MAX:
        raise UnfitError(f"it has {cells} variables; in the kernel {layout.CELLS_MAX} are possible")
    if function.scratch_cells > layout.STACK_CELLS_MAX:
        raise UnfitError(
            f"it needs {function.scratch_cells} intermediate words; in the kernel {layout.STACK_CELLS_MAX} are possible"
        )
    nbytes = data_places(function)[1]
    if nbytes > layout.DATA_BYTES_MAX:
        raise UnfitError(f"its constants have {nbytes} bytes; in the kernel {layout.DATA_BYTES_MAX} are possible")


def _unfit(instruction: ir.Instruction) -> str:
    if instruction.op is Op.HELPER and instruction.size != abi.C_GET:
        if HELPERS[instruction.size].writes:
            return "it writes, and in the kernel extensions only read"
        return f"{_OTHER_HELPERS.get(instruction.size, 'what it calls')} is not offered in the kernel"
    return ""


def _has_float(instruction: ir.Instruction) -> bool:
    target = instruction.target
    return any(one.kind is Kind.FLOAT for one in (*instruction.operands, *((target,) if target is not None else ())))


def _line(block: ir.Block, place: int) -> int:
    """The line of an instruction: its own, or that of the nearest one that has one."""
    ordered = [*reversed(block.instructions[: place + 1]), *block.instructions[place + 1 :]]
    return next((one.line for one in ordered if one.line), 0)
