"""Proofs about the ways through a function: what is read was assigned before, and every circle costs something.

Sets of registers are integers with the bit of each register's number set; behind those of the registers come bits for the areas
of the frame, which are assigned by being cleared.
"""

from __future__ import annotations

from typing import Any

from splinter.ext import abi
from splinter.ext.middle import ir
from splinter.ext.middle.ir import RESULT_KINDS, WORD_MASK, Block, Instruction, Op, Placement, Register
from splinter.ext.middle.verifier.blocks import RESOLVED, Scanned, Term, resolved
from splinter.ext.middle.verifier.layout import Layout
from splinter.ext.middle.verifier.report import refuse
from splinter.ext.middle.verifier.shapes import COSTLY, HELPERS, NOTED_OPS, PROVEN_OPS, cost
from splinter.ext.types import WORD_BYTES
from splinter.limits import CHECKPOINT_COST, FRAME_BYTES, INSTRUCTIONS_PER_COST

_COST_MAX = (1 << 31) - 1  # of one place: the budget is a word, and less than nothing would fill it


class Flow:
    """A function's blocks, gone over once, and the ways between them."""

    def __init__(self, function: ir.Function, placement: Placement, layout: Layout) -> None:
        self.function, self.placement, self.layout = function, placement, layout
        self.numbers = {block: number for number, block in enumerate(function.blocks)}
        self.successors: list[list[int]] = []
        self.predecessors: list[list[int]] = [[] for _ in function.blocks]
        self.blocks = [self._scan(number, block) for number, block in enumerate(function.blocks)]
        for number, block in enumerate(function.blocks):
            self.successors.append(self._successors(block))
            for successor in self.successors[number]:
                self.predecessors[successor].append(number)

    def _successors(self, block: Block) -> list[int]:
        try:
            return [self.numbers[successor] for successor in dict.fromkeys(block.successors())]
        except KeyError:
            refuse("control goes to a place that is not in the function", block.instructions)

    # --- one block ----------------------------------------------------------------------------------------------------

    def _scan(self, number: int, block: Block) -> Scanned:
        """Check the form of each instruction, and note what it reads and assigns."""
        code = block.instructions
        found = Scanned(number, block, code)
        held, reads, all_terms = found.held, found.reads, found.terms
        for place, instruction in enumerate(code):
            op, target = instruction.op, instruction.target
            shape: list[Any] = [op]
            terms: list[Term] = []
            for operand in instruction.operands:
                shape.append(operand.kind)
                if isinstance(operand, Register):
                    term = held.get(operand)
                    if term is None:
                        reads.add(operand)
                        term = operand
                    terms.append(term)
                elif 0 <= operand.value <= WORD_MASK:
                    terms.append(operand)
                else:
                    refuse("a constant is no word", code, place)
            if instruction.error == abi.ExtensionError.RAISED:
                self._prove_code(found, place)
            if RESULT_KINDS.get(tuple(shape), op) is not (None if target is None else target.kind):  # op: there is none such
                refuse("an instruction's operands are of the wrong kinds", code, place)
            all_terms.append(terms)
            if target is not None:
                held[target] = place if op not in RESOLVED else resolved(op, place, terms)
            if op in NOTED_OPS:
                self._note(found, place, instruction)
        terminator = block.terminator
        if not isinstance(terminator, ir.Terminator):
            refuse("a block has no end", code, len(code))
        if isinstance(terminator, ir.Jump) and terminator.may_yield and not 0 <= terminator.cost <= _COST_MAX:
            refuse("a look at the budget has no price", code, len(code))
        if isinstance(terminator, ir.Branch):
            if terminator.condition.kind is not ir.Kind.BIT:
                refuse("a branch depends on what is no bit", code, len(code))
            if isinstance(terminator.condition, Register) and terminator.condition not in held:
                reads.add(terminator.condition)
        return found

    @staticmethod
    def _prove_code(found: Scanned, place: int) -> None:
        """Who ends a task with a code has stored one: the worker replies it, and the frame may have another task's."""
        if not any(found.frame_offset(found.operand(store, 0)) == abi.F_RESULT for store in found.stores):
            refuse("the task may end with a code that it does not have", found.code, place)

    def _note(self, found: Scanned, place: int, instruction: Instruction) -> None:
        op = instruction.op
        if op is Op.CHECK:
            found.checks.append(place)
            return
        if op in PROVEN_OPS:
            found.points.append(place)
        if op in COSTLY:
            found.costly.append(place)
        if op is Op.STORE:
            found.stores.append(place)
        elif op is Op.CLEAR:
            offset = found.frame_offset(found.operand(place, 0))
            found.cleared.setdefault(-1 if offset is None else offset, place)
        elif op is Op.HELPER:
            found.helpers.append(place)
        elif op is Op.SPEND and not 0 <= instruction.size <= _COST_MAX:
            refuse("what is taken from the budget is no price", found.code, place)

    # --- registers ----------------------------------------------------------------------------------------------------

    def prove_assigned(self) -> None:
        """Whatever is read was assigned on every way, and is where it is looked for after a yield."""
        registers = self.function.registers
        crossing = set().union(*(found.reads for found in self.blocks))  # all others are read where they are assigned
        for register in crossing:
            if register.number >= len(registers) or registers[register.number] is not register:
                refuse("a register is read that is not the function's")
            if not self.placement.cells >> register.number & 1:
                refuse("a register is read in a block that does not know it")
        if self.placement.in_frame:
            crossing |= {registers[number] for number in self.placement.slots}
        bits: dict[Register | int, int] = {register: 1 << number for number, register in enumerate(crossing)}
        bits.update({area.offset: 1 << len(crossing) + number for number, area in enumerate(self.layout.areas)})
        destroyed = self._destroyed(crossing, bits)
        areas = sum(bits[area.offset] for area in self.layout.areas)
        made, lost, reads, kept = [], [], [], []
        for found in self.blocks:
            assigned, gone = self._assigned(found, crossing, bits, destroyed)
            made.append(assigned)
            lost.append(gone)
            reads.append(sum(bits[register] for register in found.reads))
            kept.append(self._kept(found.block, bits, areas))
        held = [-1] * len(self.blocks)
        held[0] = 0
        waiting = dict.fromkeys(range(len(self.blocks)))
        while waiting:
            number = next(iter(waiting))
            del waiting[number]
            out = (held[number] & ~lost[number] | made[number]) & kept[number]
            for successor in self.successors[number]:
                if held[successor] & ~out:
                    held[successor] &= out
                    waiting[successor] = None
        for found, known, read in zip(self.blocks, held, reads, strict=True):
            if read & ~known:
                refuse("a register is read that was not assigned on every way there", found.code)
            found.filled = known >> len(crossing)

    def _assigned(
        self, found: Scanned, crossing: set[Register], bits: dict[Register | int, int], destroyed: dict[Register, int]
    ) -> tuple[int, int]:
        """What is assigned at the end of a block, and what is lost as its place in the frame was given to another register."""
        assigned = sum(bits[register] for register in crossing & found.held.keys())
        for offset in found.cleared:
            assigned |= bits.get(offset, 0)
        if destroyed.keys().isdisjoint(found.held):
            return assigned, 0
        gone = 0
        for place, instruction in enumerate(found.code):
            for operand in instruction.operands:
                if isinstance(operand, Register) and gone & bits.get(operand, 0):
                    refuse("a register is read whose place was given to another", found.code, place)
            if instruction.target in destroyed:
                gone = (gone | destroyed[instruction.target]) & ~bits[instruction.target]
        terminator = found.block.terminator
        if (
            isinstance(terminator, ir.Branch)
            and isinstance(terminator.condition, Register)
            and gone & bits.get(terminator.condition, 0)
        ):
            refuse("a register is read whose place was given to another", found.code, len(found.code))
        return assigned & ~gone, gone

    def _destroyed(self, crossing: set[Register], bits: dict[Register | int, int]) -> dict[Register, int]:
        """Of registers that live in the frame all the time: what else is lost when one is assigned."""
        slots = self.placement.slots
        if not self.placement.in_frame:
            return {}
        by_place: dict[int, int] = {}
        members = [register for register in crossing if register.number in slots]
        for register in members:
            place = slots[register.number]
            by_place[place] = by_place.get(place, 0) | bits[register]
        sharing = {register: by_place[slots[register.number]] & ~bits[register] for register in members}
        return {register: others for register, others in sharing.items() if others}

    def _kept(self, block: Block, bits: dict[Register | int, int], areas: int) -> int:
        """What is still there at the start of what follows a block."""
        placement = self.placement
        if not block.is_yield_point(placement.preempt):
            return -1
        if block not in placement.states:
            refuse("a yield has no place to come back to", block.instructions, len(block.instructions))
        registers = self.function.registers
        saved = [registers[number] for number in placement.slots] if placement.in_frame else placement.saved[block]
        return sum({bits.get(register, 0) for register in saved}) | areas

    def prove_places(self) -> None:
        """Places in the frame lie behind all areas, and no two registers that are saved at one yield share one."""
        placement = self.placement
        if len(set(placement.states.values()) | {0}) != len(placement.states) + 1:
            refuse("two yields come back to the same place")
        for offset in placement.slots.values():
            if not self.layout.end <= offset <= FRAME_BYTES - WORD_BYTES or offset % WORD_BYTES:
                refuse("a register's place lies outside of the frame or on another thing")
        if not placement.in_frame:
            for saved in placement.saved.values():
                places = {placement.slots.get(register.number) for register in saved}
                if len(places) != len(saved) or None in places:
                    refuse("two registers are saved in one place")

    # --- work ---------------------------------------------------------------------------------------------------------

    def prove_work(self) -> None:
        """Every circle has a back-edge that spends, for all of its instructions; and straight code looks at the budget."""
        latches = [number for number, found in enumerate(self.blocks) if self._spends(found.block)]
        is_latch = set(latches)
        ahead = [[] if number in is_latch else successors for number, successors in enumerate(self.successors)]
        order = _in_order(ahead)
        if len(order) < len(ahead):
            refuse("a loop does not look at the budget")
        if self.placement.preempt:
            for latch in latches:
                self._prove_price(latch)
        self._prove_straight(order)

    def _spends(self, block: Block) -> bool:
        terminator = block.terminator
        return isinstance(terminator, ir.Yield) or (
            isinstance(terminator, ir.Jump) and terminator.may_yield and terminator.cost > 0
        )

    def _prove_price(self, latch: int) -> None:
        """A turn of a loop costs what the blocks have from which its back-edge is reached without passing its head."""
        terminator = self.blocks[latch].block.terminator
        if not isinstance(terminator, ir.Jump):
            return
        loop, waiting = {self.numbers[terminator.target]}, [latch]
        while waiting:
            member = waiting.pop()
            if member not in loop:
                loop.add(member)
                waiting += self.predecessors[member]
        if terminator.cost * INSTRUCTIONS_PER_COST < sum(len(self.blocks[number].code) for number in loop):
            refuse("a turn of a loop costs less than its instructions", self.blocks[latch].code)

    def _prove_straight(self, order: list[int]) -> None:
        """Calls are paid for, and no work begins when too much may have been done since the last look. In instructions."""
        limit = CHECKPOINT_COST * INSTRUCTIONS_PER_COST if self.placement.preempt else 1 << 62
        done = [0] * len(order)
        for number in order:
            found = self.blocks[number]
            spent, begin, paid = done[number], 0, 0
            for place in found.costly:
                instruction = found.code[place]
                price = cost(instruction)
                if instruction.op is Op.SPEND:
                    paid += price
                elif instruction.op is Op.HELPER:
                    paid -= HELPERS[instruction.size].price
                    if paid < 0:
                        refuse("a call is not paid for", found.code, place)
                spent += place - begin
                if price and spent >= limit:
                    refuse("too much work without a look at the budget", found.code, place)
                spent, begin = spent + price * INSTRUCTIONS_PER_COST, place
            spent += len(found.code) - begin
            if not found.block.is_yield_point(preempt=True):
                for successor in self.successors[number]:
                    done[successor] = max(done[successor], spent)


def _in_order(successors: list[list[int]]) -> list[int]:
    """Each node behind all that lead to it; those on circles, and what comes behind these, are missing."""
    missing = [0] * len(successors)
    for ahead in successors:
        for successor in ahead:
            missing[successor] += 1
    order = [number for number, count in enumerate(missing) if not count]
    for number in order:  # grows while it is gone over
        for successor in successors[number]:
            missing[successor] -= 1
            if not missing[successor]:
                order.append(successor)
    return order
