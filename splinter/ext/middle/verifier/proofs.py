"""What can be shown about terms at a place of a block, and what of it depends on how control came there.

A proof is a tuple of needs, None when there is no proof. What a proof cannot decide within the block is a :class:`Need`: the
same must hold wherever the block is entered from. The rules are those below and no others; what none covers is not proven.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NamedTuple

from splinter.ext import abi
from splinter.ext.middle import ir
from splinter.ext.middle.ir import WORD_MASK, ZERO, Area, Constant, Op, Register
from splinter.ext.middle.verifier.blocks import NEVER, SIGNED_MAX, Facts, Relation, Scanned, Term
from splinter.ext.middle.verifier.layout import Layout
from splinter.ext.middle.verifier.shapes import SWAP_SIZES
from splinter.ext.types import WORD_BYTES

_SIGNED_MAX = Constant(SIGNED_MAX)
_BIT_COUNTS = frozenset({Op.POPCOUNT, Op.LEADING_ZEROS, Op.TRAILING_ZEROS})
_STRICT = {"lt", "slt"}


class What(Enum):
    """What is needed."""

    __hash__ = object.__hash__

    READABLE = auto()  # from the address ``left`` on, ``right`` bytes may be read
    WRITABLE = auto()  # or written
    LE = auto()  # left <= right, as unsigned words
    FOUND = auto()  # the last helper that was called was the store's get


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


class Prover:
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

    # --- memory -------------------------------------------------------------------------------------------------------

    def span(self, what: What, address: Term, length: Term) -> Proof | None:
        """From an address on so many bytes may be read, or written."""
        if not self.layout.takes_step():
            return None
        if length == ZERO:
            return PROVEN
        if isinstance(address, Constant):
            return self.le(length, ZERO)  # of None there is nothing to read
        if isinstance(address, Register):
            bounds = (
                [*self._at_least_as_long(length), length]
                if isinstance(length, Constant)
                else [length, *self._at_least_as_long(length)]
            )
            return self.either((Need(what, address, bound),) for bound in bounds if not isinstance(bound, int))
        instruction = self.block.code[address]
        op = instruction.op
        if op is Op.ADD:
            start, offset = self.block.operand(address, 0), self.block.operand(address, 1)
            lengths = itertools.chain((length,), self._at_least_as_long(length))
            return self.either(self._span_to(what, start, end, proof)
                               for one in lengths for end, proof in self._ends(offset, one))  # fmt: skip
        if op is Op.FRAME:
            return self._frame_span(what, instruction.size, length)
        if op is Op.SCRATCH:
            if self.is_behind or (what is What.READABLE and not self._is_stored(address)):
                return None
            return self.le(length, Constant(WORD_BYTES))
        if what is not What.READABLE:
            return None
        if op is Op.DATA:
            return self._is_within(length, self.layout.data.get(instruction.size, 0))
        if op is Op.LOAD:
            return self._loaded_span(address, length)
        return None

    def _span_to(self, what: What, start: Term, end: Term, first: Proof | None) -> Proof | None:
        return None if first is None else self.both(first, lambda: self.span(what, start, end))

    def _at_least_as_long(self, length: Term, seen: set[Term] | None = None) -> Iterator[Term]:
        """Terms that are certainly not less than a length, the likeliest first. ``seen``: SELECTs that were gone through."""
        seen = set() if seen is None else seen
        if self.block.op(length) is Op.SELECT:
            if length in seen:
                return
            seen.add(length)
            if self._is_minimum(length):
                least = self.block.operand(length, 1)
                yield least
                yield from self._at_least_as_long(least, seen)
        for other in self._told_as_long(length):
            yield other
            if self.block.op(other) is Op.SELECT:  # the length of a slice: the whole is no shorter
                yield from self._at_least_as_long(other, seen)

    def _told_as_long(self, length: Term) -> Iterator[Term]:
        """Those of them that conditions tell, which were looked at."""
        if not isinstance(length, Constant):
            for name, other in self._known(length):
                if name in ("le", "lt"):
                    yield other
            return
        for _, (least, other) in self._known("constant"):
            if length.value <= least:
                yield other
            elif self.block.op(other) is Op.SUB:  # least <= whole - part, and part <= whole
                whole, part = self.block.operand(other, 0), self.block.operand(other, 1)
                gap = part.value if isinstance(part, Constant) else 0
                if length.value <= least + gap and any(gap <= known for known in self._at_least(whole)):
                    yield whole

    def _ends(self, offset: Term, length: Term) -> Iterator[tuple[Term, Proof | None]]:
        """Terms that offset + length does not exceed, with the proof of that."""
        block = self.block
        if isinstance(length, Constant):
            if isinstance(offset, Constant):
                yield ir.word(offset.value + length.value), PROVEN if offset.value + length.value <= WORD_MASK else None
                return
            yield from self._element_ends(offset, length.value)
        if block.op(length) is Op.SELECT:  # end - start if start < end else 0
            condition, difference, nothing = (block.operand(length, index) for index in range(3))
            if nothing == ZERO and block.op(difference) is Op.SUB and block.operand(difference, 1) == offset:
                end = block.operand(difference, 0)
                if ("lt", offset, end) in (block.relations(condition, True) or ()):
                    for bound in (end, *self._at_least_as_long(end)):
                        yield bound, self._le_to(offset, bound, self.le(end, bound))
        if block.op(length) is Op.SUB and block.operand(length, 1) == offset:  # all that is left
            whole = block.operand(length, 0)
            yield whole, self.le(offset, whole)
        for name, other in self._known(offset):
            if name == "lt" and length == Constant(1):
                yield other, PROVEN
            elif name in ("le", "lt") and block.op(other) is Op.SUB and block.operand(other, 1) == length:
                whole = block.operand(other, 0)
                yield whole, self.le(length, whole)
        for name, (other, end) in self._known(("sum", offset)):
            if other == length and name in ("le", "lt"):
                yield end, self._fits_word(offset, length)
        for name, other in self._known(length):
            if name in ("le", "lt") and block.op(other) is Op.SUB and block.operand(other, 1) == offset:
                whole = block.operand(other, 0)
                yield whole, self.le(offset, whole)
        if isinstance(length, Constant):
            for _, (least, other) in self._known("constant"):
                if least >= length.value and block.op(other) is Op.SUB and block.operand(other, 1) == offset:
                    whole = block.operand(other, 0)
                    yield whole, self.le(offset, whole)

    def sum_le(self, first: Term, second: Term, right: Term) -> Proof | None:
        """first + second <= right, without wrapping."""
        return self.either(self._le_to(end, right, proof) for end, proof in self._ends(first, second))

    def _element_ends(self, offset: Term, size: int) -> Iterator[tuple[Term, Proof | None]]:
        """The end of an array's element, when its index was compared with a constant."""
        block = self.block
        step = 1
        if block.op(offset) is Op.MUL:
            factor = block.operand(offset, 1)
            if factor.__class__ is not Constant:
                return
            offset, step = block.operand(offset, 0), factor.value
        for name, other in self._known(offset):
            if name in ("le", "lt") and isinstance(other, Constant):
                last = other.value - (name == "lt")
                if last >= 0 and last * step + size <= WORD_MASK:
                    yield Constant(last * step + size), PROVEN

    def _fits_word(self, first: Term, second: Term) -> Proof | None:
        """The sum of two words does not wrap."""
        if self.most(first) + self.most(second) <= WORD_MASK:
            return PROVEN
        return self.le(first, _SIGNED_MAX) if self.most(second) <= SIGNED_MAX else None

    def _frame_span(self, what: What, offset: int, length: Term) -> Proof | None:
        area = self.layout.area(offset)
        if area is None or offset < area.content:
            return None
        if what is What.READABLE and not self.is_filled(area, offset, length):
            return None
        return self._is_within(length, area.end - offset)

    def _is_within(self, length: Term, room: int) -> Proof | None:
        lengths = itertools.chain((length,), self._at_least_as_long(length))
        return self.either(self.le(one, Constant(room)) for one in lengths)

    def is_filled(self, area: Area, offset: int, length: Term) -> bool:
        """Whether an area was cleared on every way here; or all of the words in question were stored in this block."""
        block = self.block
        if block.cleared.get(area.offset, NEVER) < self.place or block.filled >> self.layout.numbers[area.offset] & 1:
            return True
        if length.__class__ is not Constant:
            return False
        stored = {block.frame_offset(block.operand(place, 0)) for place in block.stores
                  if place < self.place and block.code[place].size == WORD_BYTES}  # fmt: skip
        return stored.issuperset(range(offset, offset + length.value, WORD_BYTES))

    def _is_stored(self, cell: int) -> bool:
        """Whether a cell of the stack was written in this block."""
        block, number = self.block, self.block.code[cell].size
        for place in block.stores:
            address = block.operand(place, 0)
            is_cell = isinstance(address, int) and (block.code[address].op, block.code[address].size) == (Op.SCRATCH, number)
            if is_cell and place < self.place and block.code[place].size == WORD_BYTES:
                return True
        return False

    def _loaded_span(self, address: int, length: Term) -> Proof | None:
        """Of the argument block, or of the object that a get found."""
        block = self.block
        ends = [length, *self._at_least_as_long(length)]
        if block.loads(address, abi.F_ARGUMENTS):
            return PROVEN if any(block.loads(end, abi.F_ARGUMENTS_LENGTH) for end in ends) else None
        if block.loads(address, abi.F_OUT_ADDRESS):
            helper = block.helper_before(address)
            for end in ends:
                if block.loads(end, abi.F_OUT_LENGTH) and block.helper_before(end) == helper:
                    return PROVEN
        return None
