"""The ways between blocks: loops, and an order in which control goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from splinter.ext.middle import ir
from splinter.ext.middle.ir import Block

_Node = TypeVar("_Node")


def loops(blocks: list[Block]) -> list[tuple[Block, set[Block]]]:
    """Each back-edge's block, and the blocks of its loop: those from which it is reached without passing the loop's head."""
    predecessors: dict[Block, list[Block]] = {block: [] for block in blocks}
    for block in blocks:
        for successor in block.successors():
            predecessors[successor].append(block)
    found = []
    for block in blocks:
        if isinstance(block.terminator, ir.Jump) and block.terminator.may_yield:
            loop, waiting = {block.terminator.target}, [block]
            while waiting:
                member = waiting.pop()
                if member not in loop:
                    loop.add(member)
                    waiting += predecessors[member]
            found.append((block, loop))
    return found


def in_order(successors: Mapping[_Node, Sequence[_Node]]) -> list[_Node]:
    """Each node behind all that lead to it; those on circles, and what comes behind these, are missing."""
    missing = dict.fromkeys(successors, 0)
    for ahead in successors.values():
        for successor in ahead:
            missing[successor] += 1
    order = [node for node, count in missing.items() if not count]
    for node in order:  # grows while it is gone over
        for successor in successors[node]:
            missing[successor] -= 1
            if not missing[successor]:
                order.append(successor)
    return order
