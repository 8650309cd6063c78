"""Between lowering and back end: fewer, larger blocks.

Every block costs a back end time, and every register that is read in another block than its own costs a cell; lowering makes
blocks freely. Back-edges are left alone, since they spend from the budget.
"""

from __future__ import annotations

from splinter.ext.middle import ir
from splinter.ext.middle.ir import Block


def simplify(function: ir.Function) -> None:
    """Skip blocks that only jump on, join blocks that follow each other anyway, and keep the reachable ones, entry first."""
    blocks = function.reachable()
    for block in blocks:
        _skip_empty(block)
    blocks = function.reachable()
    predecessors: dict[Block, int] = {blocks[0]: 1}
    for block in blocks:
        for successor in block.successors():
            predecessors[successor] = predecessors.get(successor, 0) + 1
    joined: set[Block] = set()
    for block in blocks:
        if block not in joined:
            _join_followers(block, predecessors, joined)
    function.blocks = [block for block in blocks if block not in joined]


def _end_of_jumps(block: Block) -> Block:
    """Where control comes to from the start of a block without any instruction. Every circle has a back-edge, so this ends."""
    passed = []
    while not block.instructions and isinstance(block.terminator, ir.Jump) and not block.terminator.may_yield:
        passed.append(block.terminator)
        block = block.terminator.target
    for jump in passed:  # so that nobody goes the whole way again
        jump.target = block
    return block


def _skip_empty(block: Block) -> None:
    match block.terminator:
        case ir.Jump() | ir.Yield() as onward:
            onward.target = _end_of_jumps(onward.target)
        case ir.Branch() as branch:
            branch.yes, branch.no = _end_of_jumps(branch.yes), _end_of_jumps(branch.no)
            if branch.yes is branch.no:
                block.terminator = ir.Jump(branch.yes)


def _join_followers(block: Block, predecessors: dict[Block, int], joined: set[Block]) -> None:
    while isinstance(block.terminator, ir.Jump) and not block.terminator.may_yield:
        follower = block.terminator.target
        if predecessors[follower] != 1 or follower is block:
            return
        block.instructions += follower.instructions
        block.terminator = follower.terminator
        joined.add(follower)
