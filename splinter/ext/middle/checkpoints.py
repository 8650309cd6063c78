"""Where code looks at its budget beside the back-edges of loops, and what it spends there.

A turn of a loop costs what its body has instructions. Straight-line code spends for calls of the store and for bytes that it
compares, copies and digests; so that many of those in a row do not make one long slice, a block is cut before more is spent
where ``CHECKPOINT_COST`` or more may have been since the last look, and the task yields there if the budget is gone. Cuts are
few: every variable that is in use at one has to survive it.
"""

from __future__ import annotations

from splinter.ext.middle import ir
from splinter.ext.middle.builder import CUT_BEHIND
from splinter.ext.middle.graph import in_order, loops
from splinter.ext.middle.ir import Block
from splinter.ext.middle.prices import PRICED, price
from splinter.limits import CHECKPOINT_COST, INSTRUCTIONS_PER_COST


def insert_checkpoints(function: ir.Function) -> None:
    """Price the back-edges and cut the blocks of a simplified function."""
    blocks = function.blocks
    for latch, body in loops(blocks):
        assert isinstance(latch.terminator, ir.Jump)
        latch.terminator.cost = 1 + sum(len(block.instructions) for block in body) // INSTRUCTIONS_PER_COST
    arriving: dict[Block, float] = dict.fromkeys(blocks, 0.0)  # the most that was spent since the last look
    # Each block behind all from which control comes without a look at the budget: that is a graph without circles.
    ahead = {block: () if block.is_yield_point(preempt=True) else block.successors() for block in blocks}
    for block in in_order(ahead):
        last, spent = _cut(function, block, arriving[block])
        if last.is_yield_point(preempt=True):
            continue
        for successor in last.successors():
            arriving[successor] = max(arriving[successor], spent)


def _cut(function: ir.Function, block: Block, spent: float) -> tuple[Block, float]:
    """Cut a block wherever it is due; its last piece, and what is spent at its end."""
    instructions, terminator = block.instructions, block.terminator
    begin = place = line = 0  # of the piece; where it may be cut
    since_place = 0.0  # spent
    for index, instruction in enumerate(instructions):
        cost = price(instruction) if instruction.op in PRICED else 0
        if cost and spent >= CHECKPOINT_COST:
            rest = function.new_block()
            block.instructions, block.terminator = instructions[begin:place], ir.Jump(rest, may_yield=True, cost=0, line=line)
            block, begin, spent = rest, place, since_place
        line = instruction.line or line
        spent += cost + 1 / INSTRUCTIONS_PER_COST
        since_place += cost + 1 / INSTRUCTIONS_PER_COST
        if instruction.op in CUT_BEHIND:
            place, since_place = index + 1, 0.0
    block.instructions, block.terminator = instructions[begin:], terminator
    return block, spent
