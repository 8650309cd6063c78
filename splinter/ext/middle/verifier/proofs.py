"""What can be shown about terms at a place of a block, and what of it depends on how control came there.

A proof is a tuple of needs, None when there is no proof. What a proof cannot decide within the block is a :class:`Need`: the
same must hold wherever the block is entered from. The rules are those below and no others; what none covers is not proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from splinter.ext.middle.ir import WORD_MASK, ZERO, Constant, Op, Register
from splinter.ext.middle.verifier.blocks import SIGNED_MAX, Facts, Relation, Scanned, Term
from splinter.ext.middle.verifier.layout import Layout
from splinter.ext.middle.verifier.shapes import SWAP_SIZES

_SIGNED_MAX = Constant(SIGNED_MAX)
_BIT_COUNTS = frozenset({Op.POPCOUNT, Op.LEADING_ZEROS, Op.TRAILING_ZEROS})
_STRICT = {"lt", "slt"}


class What(Enum):
    """What is needed."""

    __hash__ = object.__hash__

    READABLE = auto()  # from the address ``left`` on, ``right`` bytes may be read
    WRITABLE = auto()  # or written
    LE = auto()  # left <= right, as unsigned words
    VIEW_TOLD = auto()  # the last helper that was called tells of a view
    WORD_TOLD = auto()  # or at least a word


class Need(NamedTuple):
    """What must hold of registers at a block's start."""

    what: What
    left: Any  # a register, or a constant
    right: Any


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several proofs is enough."""

    proofs: tuple[Proof, ...]


Proof = tuple[Need | Choice, ...]
PROVEN: Proof = ()


class OrderProver:
    """Proofs at one place of a block. ``is_behind``: of what comes after the block, when its cells of the stack are gone."""

    def __init__(
        self, layout: Layout, block: Scanned, place: int, edge: Sequence[Relation] = (), is_behind: bool = False
    ) -> None:
        self.layout, self.block, self.place, self.is_behind = layout, block, place, is_behind
        self.facts = block.facts
        self.edge = Facts() if edge else None
        if self.edge is not None:
            self.edge.add(block, -1, edge)
        self.extra: list[Relation] = []  # what holds in the arm of a SELECT that is being looked at
        self.seen: dict[tuple[Term, Term], Proof | None] = {}

    def _known(self, key: Any) -> list[tuple[str, Any]]:
        """What was found out about a term before this place, the newest first."""
        found = self.facts.known.get(key)
        known = [(name, other) for since, name, other in found if since < self.place][::-1] if found else []
        if self.edge is not None:
            known += [(name, other) for _, name, other in self.edge.known.get(key, ())]
        return known

    # --- proofs of several parts --------------------------------------------------------------------------------------

    def both(self, first: Proof | None, second: Callable[[], Proof | None]) -> Proof | None:
        if first is None:
            return None
        other = second()
        return None if other is None else first + other

    def either(self, proofs: Iterator[Proof | None]) -> Proof | None:
        found = []
        for proof in proofs:
            if proof == PROVEN:
                return proof
            if proof is not None and proof not in found:
                found.append(proof)
        if len(found) > 1:
            return (Choice(tuple(found)),)
        return found[0] if found else None

    # --- comparisons --------------------------------------------------------------------------------------------------

    def le(self, left: Term, right: Term) -> Proof | None:
        """left <= right, as unsigned words."""
        if left in (right, ZERO):
            return PROVEN
        if isinstance(right, Constant):
            if self.most(left) <= right.value:
                return PROVEN
            if isinstance(left, Constant):
                return None
        if self.extra:
            return self._le(left, right)
        key = left, right
        if key not in self.seen:
            self.seen[key] = self._le(left, right)
        return self.seen[key]

    def _le(self, left: Term, right: Term) -> Proof | None:
        if not self.layout.takes_step():
            return None
        if isinstance(left, Constant):
            if any(left.value <= least for least in self._at_least(right)):
                return PROVEN
        elif self._is_told(left, right):
            return PROVEN
        if isinstance(left, int):
            return self._made_le(left, right)
        return None if isinstance(right, int) else (Need(What.LE, left, right),)

    def _at_least(self, term: Term) -> Iterator[int]:
        for name, least in self._known(("above", term)):
            if name in ("le", "lt"):
                yield least + (name == "lt")

    def _is_told(self, left: Term, right: Term) -> bool:
        """A condition that was looked at says so."""
        bound = right.value if isinstance(right, Constant) else -1
        told = [(name, other) for name, one, other in self.extra if one == left]
        for name, other in (*told, *self._known(left)):
            if name in ("le", "lt") and (other == right or self.most(other) - (name == "lt") <= bound):
                return True
        return bound >= SIGNED_MAX and self._is_not_negative(left)

    def _is_not_negative(self, term: Term) -> bool:
        return any(name in ("sle", "slt") and least <= SIGNED_MAX for name, least in self._known(("above", term)))

    def _made_le(self, left: int, right: Term) -> Proof | None:
        """By the instruction that made ``left``."""
        block = self.block
        op = block.code[left].op
        if op is Op.SELECT:
            return self._select_le(left, right)
        if op in (Op.USUB, Op.UDIV, Op.LSHR):  # at most the first operand
            return self.le(block.operand(left, 0), right)
        if op is Op.SUB:
            whole, part = block.operand(left, 0), block.operand(left, 1)
            return self.both(self.le(part, whole), lambda: self.le(whole, right))
        if op in (Op.UREM, Op.AND):  # at most either operand
            return self.either(self.le(block.operand(left, index), right) for index in (1, 0))
        if op is Op.CRC32 and right == _SIGNED_MAX:  # of a state that is not negative: it is shifted down, and 32 bits change
            return self.le(block.operand(left, 2), right)
        if op in (Op.SADD, Op.SMUL, Op.OR, Op.XOR) and right == _SIGNED_MAX:  # of what is not negative
            return self.both(self.le(block.operand(left, 0), right), lambda: self.le(block.operand(left, 1), right))
        return None

    def _le_to(self, left: Term, right: Term, first: Proof | None) -> Proof | None:
        return None if first is None else self.both(first, lambda: self.le(left, right))

    def _select_le(self, left: int, right: Term) -> Proof | None:
        condition, yes, no = (self.block.operand(left, index) for index in range(3))
        if self._is_minimum(left):
            return self.either(self.le(term, right) for term in (yes, no))
        return self.both(self._under(condition, True, yes, right), lambda: self._under(condition, False, no, right))

    def _under(self, condition: Term, holds: bool, left: Term, right: Term) -> Proof | None:
        relations = self.block.relations(condition, holds)
        if relations is None:
            return PROVEN
        count = len(self.extra)
        self.extra += relations
        proof = self.le(left, right)
        del self.extra[count:]
        return proof

    def _is_minimum(self, term: Any) -> bool:
        """Whether a SELECT takes the smaller of two."""
        block = self.block
        condition, yes, no = (block.operand(term, index) for index in range(3))
        if block.op(condition) not in (Op.ULT, Op.ULE):
            return False
        return block.operand(condition, 0) == yes and block.operand(condition, 1) == no

    def most(self, term: Term) -> int:
        """The largest value that a term can have, as far as its making tells."""
        if isinstance(term, Constant):
            return term.value
        if isinstance(term, Register):
            return WORD_MASK
        known = self.block.most.get(term)
        if known is None:
            self.block.most[term] = WORD_MASK  # not to be asked for while it is found: it never depends on itself
            known = self.block.most[term] = min(self._most(term), WORD_MASK)
        return known

    def _most(self, term: int) -> int:
        block, instruction = self.block, self.block.code[term]
        op, size = instruction.op, instruction.size
        if op is Op.LOAD:
            if size in (1, 2, 4):
                return (1 << 8 * size) - 1
            offset = block.frame_offset(block.operand(term, 0))
            return WORD_MASK if offset is None else self.layout.most(offset)
        if op is Op.SWAP and size in SWAP_SIZES:
            return (1 << 8 * size) - 1
        if op is Op.WIDEN:
            return 1
        if op is Op.HELPER:
            return SIGNED_MAX  # what is negative has ended the task
        if op in _BIT_COUNTS:
            return 64
        if op is Op.AND:
            return min(self.most(block.operand(term, 0)), self.most(block.operand(term, 1)))
        if op is Op.UREM:
            return min(self.most(block.operand(term, 0)), max(self.most(block.operand(term, 1)) - 1, 0))
        if op is Op.UDIV:
            return self.most(block.operand(term, 0))
        if op is Op.LSHR:
            count = block.operand(term, 1)
            return self.most(block.operand(term, 0)) >> (count.value & 63 if isinstance(count, Constant) else 0)
        if op is Op.SELECT:
            return max(self.most(block.operand(term, 1)), self.most(block.operand(term, 2)))
        if op in (Op.ADD, Op.MUL):
            first, second = self.most(block.operand(term, 0)), self.most(block.operand(term, 1))
            return first + second if op is Op.ADD else first * second  # too much for a word: it wraps, and can be anything
        return WORD_MASK

    # --- other properties of numbers ----------------------------------------------------------------------------------

    def differs(self, term: Term, value: int) -> bool:
        """Whether a term is certainly not a constant."""
        if isinstance(term, Constant):
            return term.value != value
        constant = Constant(value)
        told = [(name, other) for name, one, other in self.extra if one == term]
        if any(name == "ne" and other == constant for name, other in (*told, *self._known(term))):
            return True
        if value == 0 and any(least + (name in _STRICT) > 0 and (name in ("le", "lt") or least <= SIGNED_MAX)
                              for name, least in self._known(("above", term))):  # fmt: skip
            return True
        if self.block.op(term) is not Op.SELECT:
            return False
        condition, yes, no = (self.block.operand(term, index) for index in range(3))
        return self._differs_under(condition, True, yes, value) and self._differs_under(condition, False, no, value)

    def _differs_under(self, condition: Term, holds: bool, term: Term, value: int) -> bool:
        relations = self.block.relations(condition, holds)
        if relations is None:
            return True
        count = len(self.extra)
        self.extra += relations
        differs = self.differs(term, value)
        del self.extra[count:]
        return differs

    def is_not_both(self, left: tuple[Term, int], right: tuple[Term, int]) -> bool:
        """Whether it was looked that the one term is not the one constant while the other is the other."""
        for _, pair in self._known("nand"):
            parts = {self._equation(bit) for bit in pair}
            if parts == {left, right}:
                return True
        return False

    def _equation(self, bit: Term) -> tuple[Term, int] | None:
        if self.block.op(bit) is not Op.EQ:
            return None
        value = self.block.operand(bit, 1)
        return (self.block.operand(bit, 0), value.value) if isinstance(value, Constant) else None

    def is_between(self, term: Term, low: tuple[str, float], high: tuple[str, float]) -> bool:
        """Whether a float was compared with two bounds: each is a name of a relation and a number."""
        below = any(name == low[0] and number >= low[1] for name, number in self._known(("float above", term)))
        return below and any(name == high[0] and number <= high[1] for name, number in self._known(("float below", term)))
