"""Basic blocks as the verifier sees them: what a register's value is at a place, and what is known there.

A *term* names a value within one run through a block: the place of the instruction that made it (an ``int``), a
:class:`Constant`, or a :class:`Register`, which stands for what that register held at the block's start. A *relation* is a
name and two terms: ``le``, ``lt``, ``ne`` of unsigned words, ``sle``, ``slt`` of signed ones, ``fle``, ``flt`` of floats.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from splinter.ext.middle import ir
from splinter.ext.middle.ir import Constant, Instruction, Op, Operand, Register

Term = int | Constant | Register
Relation = tuple[str, Any, Any]
HELPER = "helper"  # stands for what the last helper left in the frame
NEVER = 1 << 62  # a place behind all instructions
SIGNED_MAX = (1 << 63) - 1

_ONE_SIDED = {  # a comparison that holds, and what it says when it does not, with the terms exchanged
    Op.ULE: ("le", "lt"), Op.ULT: ("lt", "le"), Op.SLE: ("sle", "slt"), Op.SLT: ("slt", "sle"),
    Op.FLE: ("fle", ""), Op.FLT: ("flt", ""),
}  # fmt: skip
_EVALUATED: dict[Op, Callable[[int, int], bool]] = {
    Op.ULE: lambda a, b: a <= b,
    Op.ULT: lambda a, b: a < b,
    Op.SLE: lambda a, b: signed(a) <= signed(b),
    Op.SLT: lambda a, b: signed(a) < signed(b),
    Op.EQ: lambda a, b: a == b,
    Op.NE: lambda a, b: a != b,
}
_FOLDED = {Op.ADD: lambda a, b: a + b, Op.SUB: lambda a, b: a - b, Op.MUL: lambda a, b: a * b}


RESOLVED = frozenset({Op.MOVE, *_FOLDED})


def resolved(op: Op, place: int, terms: list[Term]) -> Term:
    """The term of what one of :data:`RESOLVED` makes: a copy's is that of what is copied, a sum of constants is one."""
    if op is Op.MOVE:
        return terms[0]
    left, right = terms
    if isinstance(left, Constant) and isinstance(right, Constant):
        return ir.word(_FOLDED[op](left.value, right.value))
    return place


def signed(word: int) -> int:
    """A word as a signed integer."""
    return word - (1 << 64) if word > SIGNED_MAX else word


def _number(constant: Constant) -> float:
    number: float = struct.unpack("<d", constant.value.to_bytes(8, "little"))[0]
    return number


class Facts:
    """Relations that hold from some place on, by their left terms; the newest last."""

    def __init__(self) -> None:
        self.known: dict[Any, list[tuple[int, str, Any]]] = {}
        self.about: set[Any] = set()  # terms

    def add(self, block: Scanned, place: int, relations: Sequence[Relation]) -> None:
        """What was found out at a place of a block."""
        for name, left, right in relations:
            self.about.add(left)
            self.about.add(right)
            if name == "nand":
                self._note(name, place, name, (left, right))
                continue
            self._note(left, place, name, right)
            if name == "ne":
                self._note(right, place, name, left)
            elif name in ("fle", "flt"):
                if isinstance(left, Constant):
                    self._note(("float above", right), place, name, _number(left))
                if isinstance(right, Constant):
                    self._note(("float below", left), place, name, _number(right))
            elif isinstance(left, Constant):
                if name in ("le", "lt"):
                    self._note("constant", place, name, (left.value + (name == "lt"), right))
                self._note(("above", right), place, name, left.value)
            elif isinstance(left, int) and block.code[left].op is Op.ADD:
                one, other = block.operand(left, 0), block.operand(left, 1)
                self._note(("sum", one), place, name, (other, right))

    def _note(self, key: Any, place: int, name: str, other: Any) -> None:
        self.known.setdefault(key, []).append((place, name, other))


class Scanned:
    """A block after its instructions were gone over once."""

    def __init__(self, number: int, block: ir.Block, code: list[Instruction]) -> None:
        self.number = number  # its place in the function
        self.block, self.code = block, code
        self.terms: list[list[Term]] = []  # by place: what the instruction's operands are
        self.held: dict[Any, Term] = {}  # by register that it assigns: what that is at its end
        self.reads: set[Register] = set()  # registers that it reads before it assigns them
        # Places of CHECKs, calls of helpers, what there is something to prove of, STOREs, what takes from the budget.
        self.checks: list[int] = []
        self.helpers: list[int] = []
        self.points: list[int] = []
        self.stores: list[int] = []
        self.costly: list[int] = []
        self.cleared: dict[int, int] = {}  # by the offset of an area of the frame: where it is cleared first
        self.filled = 0  # areas of the frame that were cleared on every way to its start, by their numbers
        self.most: dict[int, int] = {}  # by place: the largest value possible, as far as it was asked for
        self.dead = NEVER  # the place of a CHECK that always fails: nothing behind it ever runs
        self.facts = Facts()  # what its CHECKs say
        self.edges: dict[bool, list[Relation] | None] = {}  # what its branch says on each way; None: it never goes there
        self.stops: set[Any] = set()  # operands of which it may say or change something
        self.is_opaque = False  # control does not come to all of its ends

    def look_at_checks(self) -> None:
        """Find out what its CHECKs say, once all of it was gone over."""
        for place in self.checks:
            relations = self.relations(self.operand(place, 0), True)
            if relations is None:
                self.dead = place
                break
            self.facts.add(self, place, relations)
        terminator = self.block.terminator
        if isinstance(terminator, ir.Branch) and terminator.yes is not terminator.no:
            condition = self.at_end(terminator.condition)
            self.edges = {holds: self.relations(condition, holds) for holds in (True, False)}
        self.stops = {*self.held, *self.facts.about}
        for relations in self.edges.values():
            for _, left, right in relations or ():
                self.stops |= {left, right}
        if self.helpers:
            self.stops.add(HELPER)
        self.is_opaque = self.is_dead or None in self.edges.values()

    @property
    def is_dead(self) -> bool:
        """Whether control never comes to its end."""
        return self.dead != NEVER

    def at_end(self, operand: Operand) -> Term:
        """The term of an operand of the terminator."""
        return self.held.get(operand, operand) if operand.__class__ is Register else operand

    def operand(self, place: Any, index: int) -> Term:
        """The term of an operand of the instruction at a place."""
        term: Term = self.terms[place][index]
        return term

    def op(self, term: Term) -> Op | None:
        """What made a term, in this block."""
        return self.code[term].op if isinstance(term, int) else None

    def frame_offset(self, term: Term) -> int | None:
        """The offset in the frame whose address a term is."""
        return self.code[term].size if isinstance(term, int) and self.code[term].op is Op.FRAME else None

    def loads(self, term: Term, offset: int) -> bool:
        """Whether a term is what was read at an offset of the frame's header."""
        return self.op(term) is Op.LOAD and self.frame_offset(self.operand(term, 0)) == offset

    def helper_before(self, place: Any) -> int:
        """Where the last helper before a place was called; -1: none in this block."""
        return next((one for one in reversed(self.helpers) if one < place), -1)

    def relations(self, condition: Term, holds: bool) -> list[Relation] | None:
        """What a condition says when it holds, or when it does not. None: that cannot be."""
        if isinstance(condition, Constant):
            return [] if bool(condition.value) == holds else None
        if isinstance(condition, Register):
            return []
        op = self.code[condition].op
        if op is Op.XOR:
            is_negation = self.operand(condition, 1) == ir.TRUE
            return self.relations(self.operand(condition, 0), not holds) if is_negation else []
        if op is Op.AND or op is Op.OR:
            if holds is not (op is Op.AND):
                return [] if op is Op.OR else [("nand", self.operand(condition, 0), self.operand(condition, 1))]
            first, second = (self.relations(self.operand(condition, index), holds) for index in (0, 1))
            return None if first is None or second is None else first + second
        return self._compared(op, self.operand(condition, 0), self.operand(condition, 1), holds)

    @staticmethod
    def _compared(op: Op, left: Term, right: Term, holds: bool) -> list[Relation] | None:
        if (
            isinstance(left, Constant) and isinstance(right, Constant) and op in _EVALUATED
            and _EVALUATED[op](left.value, right.value) != holds
        ):  # fmt: skip
            return None
        if op in _ONE_SIDED:
            name, reverse = _ONE_SIDED[op]
            if holds:
                return [(name, left, right)]
            return [(reverse, right, left)] if reverse else []
        if (op is Op.EQ and holds) or (op is Op.NE and not holds):
            return [("le", left, right), ("le", right, left)]
        return [("ne", left, right)] if op in (Op.EQ, Op.NE) else []
