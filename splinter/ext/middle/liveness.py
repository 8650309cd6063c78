"""Which registers must survive where: the data-flow analysis between intermediate code and a back end.

Sets of registers are integers with the bit of each register's number set: Python computes with those many times faster than
with sets.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from splinter.ext.middle import ir
from splinter.ext.middle.builder import TooLargeError
from splinter.ext.middle.ir import Block, Placement, Register
from splinter.ext.types import WORD_BYTES
from splinter.limits import FRAME_BYTES, INSTRUCTIONS_MAX


@dataclass(frozen=True)
class Liveness:
    """Of a function's blocks, in their order."""

    live_out: list[int]  # registers whose value is read after the end of the block, before anything assigns them
    touched: list[int]  # those that the block reads or assigns
    cells: int  # those that cannot be a single value in a single block: assigned several times, or read in another block


def place(function: ir.Function, preempt: bool, in_frame: bool) -> Placement:
    """Where the registers of a function are to be. Raises :class:`TooLargeError` when frame or code exceed their limits."""
    blocks, registers = function.blocks, function.registers
    found = analyse(blocks)
    live = found.live_out
    yielding = [number for number, block in enumerate(blocks) if block.is_yield_point(preempt)]
    saved = {blocks[number]: [registers[register] for register in members(live[number])] for number in yielding}
    if in_frame:
        wanted = functools.reduce(operator.or_, (live[number] for number in yielding), 0)
        slots = share_slots([(one | touched) & wanted for one, touched in zip(live, found.touched, strict=True)])
    else:
        slots = share_slots([live[number] for number in yielding])
    first = function.memory_end
    frame_bytes = first + WORD_BYTES * (max(slots.values(), default=-1) + 1)
    if frame_bytes > FRAME_BYTES:
        raise TooLargeError(f"arrays, buffers and the variables that live across yields need {frame_bytes} bytes; "
                            f"a frame has {FRAME_BYTES}")  # fmt: skip
    count = function.size + 2 * sum(map(len, saved.values()))
    if count > INSTRUCTIONS_MAX:
        raise TooLargeError(f"the function has {count} instructions; at most {INSTRUCTIONS_MAX} are possible")
    return Placement(
        preempt,
        in_frame,
        found.cells,
        {register: first + WORD_BYTES * slot for register, slot in slots.items()},
        {blocks[number]: state for state, number in enumerate(yielding, 1)},
        saved,
        frame_bytes,
    )


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
