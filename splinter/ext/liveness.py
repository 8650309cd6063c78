"""Which registers must survive where: the data-flow analysis between intermediate code and a back end.

Sets of registers are integers with the bit of each register's number set: Python computes with those many times faster than
with sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from splinter.ext import ir
from splinter.ext.ir import Block, Register


@dataclass(frozen=True)
class Liveness:
    """Of a function's blocks, in their order."""

    live_out: list[int]  # registers whose value is read after the end of the block, before anything assigns them
    touched: list[int]  # those that the block reads or assigns
    cells: int  # those that cannot be a single value in a single block: assigned several times, or read in another block


def analyse(blocks: list[Block]) -> Liveness:
    """Solve the data-flow equations."""
    reads, assigns, touched = [], [], []
    assigned_before = assigned_twice = 0
    for block in blocks:
        read = assigned = 0
        for instruction in block.instructions:
            for operand in instruction.operands:
                if operand.__class__ is Register:
                    bit = 1 << operand.number
                    if not assigned & bit:
                        read |= bit
            if instruction.target is not None:
                bit = 1 << instruction.target.number
                assigned_twice |= assigned & bit
                assigned |= bit
        terminator = block.terminator
        if isinstance(terminator, ir.Branch) and isinstance(terminator.condition, Register):
            read |= 1 << terminator.condition.number & ~assigned
        assigned_twice |= assigned_before & assigned
        assigned_before |= assigned
        reads.append(read)
        assigns.append(assigned)
        touched.append(read | assigned)
    cells = assigned_twice
    for read in reads:
        cells |= read
    return Liveness(_live_out(blocks, reads, assigns), touched, cells)


def _live_out(blocks: list[Block], reads: list[int], assigns: list[int]) -> list[int]:
    numbers = {block: number for number, block in enumerate(blocks)}
    predecessors: list[list[int]] = [[] for _ in blocks]
    for number, block in enumerate(blocks):
        for successor in block.successors():
            predecessors[numbers[successor]].append(number)
    live_in, result = list(reads), [0] * len(blocks)
    waiting = dict.fromkeys(reversed(range(len(blocks))))
    while waiting:
        number = next(iter(waiting))
        del waiting[number]
        for predecessor in predecessors[number]:
            result[predecessor] |= live_in[number]
            further = live_in[number] & ~assigns[predecessor] & ~live_in[predecessor]
            if further:
                live_in[predecessor] |= further
                waiting[predecessor] = None
    return result


def members(registers: int) -> Iterator[int]:
    """Numbers of the registers of a set, in ascending order."""
    while registers:
        lowest = registers & -registers
        yield lowest.bit_length() - 1
        registers ^= lowest


def share_slots(groups: Sequence[int]) -> dict[int, int]:
    """A slot for each register, by its number; two share one unless some group has both."""
    places: dict[int, int] = {}  # by register: the groups that have it, as a set
    since: dict[int, int] = {}
    before = 0
    for index, group in enumerate((*groups, 0)):
        # Only what changes from one group to the next is looked at: that is little.
        for register in members(group ^ before):
            if group >> register & 1:
                since[register] = index
            else:
                places[register] = places.get(register, 0) | (1 << index) - (1 << since[register])
        before = group
    slots: dict[int, int] = {}
    taken: list[int] = []  # by slot: the groups in which it is in use
    for register in sorted(places):
        where = places[register]
        slot = next((number for number, in_use in enumerate(taken) if not in_use & where), len(taken))
        if slot == len(taken):
            taken.append(0)
        taken[slot] |= where
        slots[register] = slot
    return slots
