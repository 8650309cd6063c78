"""Single changes to intermediate code, each made in place and taken back: what a slip anywhere before it could do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from splinter.ext import abi
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Block, Constant, Function, Instruction, Kind, Op, Placement, Register

_SWAPPED = {
    Op.ULT: Op.ULE, Op.ULE: Op.ULT, Op.SLT: Op.ULT, Op.SLE: Op.SLT, Op.EQ: Op.NE, Op.NE: Op.EQ, Op.ADD: Op.SUB, Op.SUB: Op.ADD,
    Op.AND: Op.OR, Op.OR: Op.AND, Op.LSHR: Op.SHL, Op.SHL: Op.LSHR, Op.ASHR: Op.SHL, Op.SADD: Op.ADD, Op.SMUL: Op.MUL,
    Op.USUB: Op.SUB, Op.UDIV: Op.SDIV, Op.UREM: Op.SREM, Op.SREM: Op.UREM, Op.SDIV: Op.UDIV, Op.MUL: Op.ADD, Op.FLT: Op.FLE,
    Op.FLE: Op.FLT, Op.LOAD: Op.LOAD_SIGNED, Op.XOR: Op.AND, Op.TO_SIGNED: Op.TO_UNSIGNED, Op.TO_UNSIGNED: Op.TO_SIGNED,
}  # fmt: skip
_SIZED = {
    Op.LOAD, Op.LOAD_SIGNED, Op.STORE, Op.FRAME, Op.SCRATCH, Op.DATA, Op.HELPER, Op.CLEAR, Op.SPEND, Op.SWAP, Op.MATH,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A change: which operator made it, and of what."""

    operator: str
    block: Block
    place: int
    instruction: Instruction | None
    change: tuple[Any, ...]  # attributes and their new values, for :func:`applied`

    def __str__(self) -> str:
        op = "" if self.instruction is None else f" of {self.instruction.op.name}"
        return f"{self.operator}{op} in block {self.block.number} at {self.place}"


@contextlib.contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Within, the change is made."""
    holder, name, value = mutant.change
    if isinstance(holder, dict):
        before = dict(holder)
        holder.clear()
        holder.update(value)
        try:
            yield
        finally:
            holder.clear()
            holder.update(before)
        return
    old = getattr(holder, name)
    object.__setattr__(holder, name, value)
    try:
        yield
    finally:
        object.__setattr__(holder, name, old)


def mutants(function: Function, placement: Placement) -> Iterator[Mutant]:
    """All of a function, operator by operator."""
    for block in function.blocks:
        for place, instruction in enumerate(block.instructions):
            yield from _of_instruction(function, block, place, instruction)
        yield from _of_terminator(function, block)
    yield from _of_placement(placement, function)


def _of_instruction(function: Function, block: Block, place: int, one: Instruction) -> Iterator[Mutant]:
    code = block.instructions

    def code_mutant(operator: str, *changed: Instruction, then: int = 1) -> Mutant:
        return Mutant(operator, block, place, one, (block, "instructions", [*code[:place], *changed, *code[place + then :]]))

    yield code_mutant("drop")
    if place + 1 < len(code):
        yield code_mutant("exchange with the next", code[place + 1], one, then=2)
    for back in {2, 4, 8, place} if place > 1 else ():
        if back <= place:
            moved = [*code[: place - back], one, *code[place - back : place], *code[place + 1 :]]
            yield Mutant("move forward", block, place, one, (block, "instructions", moved))
    if one.op is Op.CHECK and place + 2 < len(code):
        yield code_mutant("move to the end", *code[place + 1 :], one, then=len(code))
    if len(one.operands) > 1:
        yield code_mutant("reverse operands", replace(one, operands=one.operands[::-1]))
        if one.op is Op.SELECT:
            yield code_mutant("exchange arms", replace(one, operands=(one.operands[0], one.operands[2], one.operands[1])))
    if one.op in _SWAPPED:
        yield code_mutant("another operation", replace(one, op=_SWAPPED[one.op]))
    if one.op in _SIZED:
        for size in {one.size - 8, one.size + 8, one.size * 2, one.size // 2, 1, 0} - {one.size}:
            yield code_mutant("another size", replace(one, size=size))
    if one.error:
        yield code_mutant("another error", replace(one, error=abi.ExtensionError.RAISED))
    if one.op in (Op.HELPER, Op.MATH) and one.error:
        yield code_mutant("no look whether it is there", replace(one, error=0))
    if one.op is Op.SPEND:
        yield code_mutant("no price", replace(one, size=-1))
        yield code_mutant("no price", replace(one, size=1 << 64))
    for index, operand in enumerate(one.operands):
        for number in (-1, -(1 << 63), 1 << 64):
            strange = Constant(number, operand.kind)
            operands = (*one.operands[:index], strange, *one.operands[index + 1 :])
            yield code_mutant("no word", replace(one, operands=operands))
        for other in _others(function, operand):
            operands = (*one.operands[:index], other, *one.operands[index + 1 :])
            yield code_mutant("another operand", replace(one, operands=operands))
    if one.target is not None:
        for register in _near(function, one.target):
            yield code_mutant("another target", replace(one, target=register))


def _near(function: Function, register: Register) -> list[Register]:
    """Registers of the same kind that were made shortly before and behind, and one of another kind."""
    same = [other for other in function.registers if other.kind is register.kind]
    at = same.index(register)
    different = next((other for other in function.registers if other.kind is not register.kind), None)
    return [*same[max(at - 2, 0) : at], *same[at + 1 : at + 3], *([different] if different else [])]


def _others(function: Function, operand: ir.Operand) -> list[ir.Operand]:
    if isinstance(operand, Register):
        constant = Constant(0, operand.kind)
        return [*_near(function, operand), constant, *([ir.word(-1)] if operand.kind is Kind.WORD else [])]
    if operand.kind is not Kind.WORD:
        return [Constant(operand.value ^ 1, operand.kind)]
    values = {operand.value + 1, operand.value - 1, operand.value + 8, operand.value * 2, 0, -1, 1 << 63}
    return [ir.word(value) for value in sorted(values) if value & ir.WORD_MASK != operand.value]


def _of_terminator(function: Function, block: Block) -> Iterator[Mutant]:
    terminator, place = block.terminator, len(block.instructions)

    def mutant(operator: str, **changed: Any) -> Mutant:
        return Mutant(operator, block, place, None, (block, "terminator", replace(terminator, **changed)))  # type: ignore[type-var]

    yield Mutant("no terminator", block, place, None, (block, "terminator", None))
    after = function.blocks[(function.blocks.index(block) + 1) % len(function.blocks)]
    match terminator:
        case ir.Branch(condition=condition, yes=yes, no=no):
            yield mutant("exchange branches", yes=no, no=yes)
            yield mutant("branch elsewhere", yes=after)
            yield mutant("branch elsewhere", no=after)
            for other in _others(function, condition)[:2]:
                yield mutant("another condition", condition=other)
        case ir.Jump(may_yield=may_yield, cost=cost):
            yield mutant("jump elsewhere", target=after)
            if may_yield:
                yield mutant("no look at the budget", may_yield=False)
                yield mutant("a turn for nothing", cost=0)
                yield mutant("a turn for no price", cost=-1)
                yield mutant("a turn for no price", cost=1 << 64)
                yield mutant("a turn for less", cost=cost - 1)
        case ir.Yield():
            yield mutant("resume elsewhere", target=after)
            yield Mutant("no yield", block, place, None, (block, "terminator", ir.Jump(terminator.target)))
        case ir.Done():
            yield Mutant("no end", block, place, None, (block, "terminator", ir.Jump(after)))


def _of_placement(placement: Placement, function: Function) -> Iterator[Mutant]:
    entry = function.blocks[0]

    def mutant(operator: str, name: str, value: Any) -> Mutant:
        holder = getattr(placement, name)
        is_table = isinstance(holder, dict)
        return Mutant(operator, entry, 0, None, (holder if is_table else placement, name, value))

    for block, saved in () if placement.in_frame else placement.saved.items():
        for index in range(len(saved)):
            yield mutant("drop what a yield saves", "saved", placement.saved | {block: saved[:index] + saved[index + 1 :]})
    for number, offset in placement.slots.items():
        for other in {offset + 8, offset - 8, abi.F_TENANT, abi.F_STATE, 1 << 13, offset + 4} - {offset}:
            yield mutant("another place in the frame", "slots", placement.slots | {number: other})
        without = {one: at for one, at in placement.slots.items() if one != number}
        yield mutant("no place in the frame", "slots", without)
    for number in range(len(function.registers)):
        if placement.cells >> number & 1:
            yield mutant("no cell", "cells", placement.cells & ~(1 << number))
    for block, state in placement.states.items():
        yield mutant("come back elsewhere", "states", placement.states | {block: state + 1})
        yield mutant("come back nowhere", "states", {b: s for b, s in placement.states.items() if b is not block})
