"""Which registers must survive where: the data-flow analysis between intermediate code and a back end."""

from __future__ import annotations

from splinter.ext import ir
from splinter.ext.ir import Block, Register


def _terminator_uses(block: Block) -> set[Register]:
    terminator = block.terminator
    if isinstance(terminator, ir.Branch) and isinstance(terminator.condition, Register):
        return {terminator.condition}
    return set()


def live_out(blocks: list[Block]) -> dict[Block, set[Register]]:
    """Registers whose value is read after the end of each block, before anything assigns them."""
    uses: dict[Block, set[Register]] = {}
    defines: dict[Block, set[Register]] = {}
    for block in blocks:
        used: set[Register] = set()
        defined: set[Register] = set()
        for instruction in block.instructions:
            used.update(o for o in instruction.operands if isinstance(o, Register) and o not in defined)
            if instruction.target is not None:
                defined.add(instruction.target)
        used |= _terminator_uses(block) - defined
        uses[block], defines[block] = used, defined
    predecessors: dict[Block, list[Block]] = {block: [] for block in blocks}
    for block in blocks:
        for successor in block.successors():
            predecessors[successor].append(block)
    live_in = {block: set(uses[block]) for block in blocks}
    result: dict[Block, set[Register]] = {block: set() for block in blocks}
    waiting = dict.fromkeys(reversed(blocks))
    while waiting:
        block = next(iter(waiting))
        del waiting[block]
        for predecessor in predecessors[block]:
            arriving = live_in[block] - result[predecessor]
            if arriving:
                result[predecessor] |= arriving
                further = arriving - defines[predecessor] - live_in[predecessor]
                if further:
                    live_in[predecessor] |= further
                    waiting[predecessor] = None
    return result


def across_blocks(blocks: list[Block]) -> set[Register]:
    """Registers that cannot be a single value inside a single block: assigned several times, or read in another block."""
    defined_in: dict[Register, Block] = {}
    result: set[Register] = set()
    for block in blocks:
        for instruction in block.instructions:
            if instruction.target is not None:
                if instruction.target in defined_in:
                    result.add(instruction.target)
                defined_in[instruction.target] = block
    for block in blocks:
        for instruction in block.instructions:
            result.update(o for o in instruction.operands if isinstance(o, Register) and defined_in.get(o) is not block)
        result.update(o for o in _terminator_uses(block) if defined_in.get(o) is not block)
    return result
