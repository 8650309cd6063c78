"""What can be shown about stretches of memory: that what is accessed lies inside of what may be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from splinter.ext import abi
from splinter.ext.middle import ir
from splinter.ext.middle.ir import WORD_MASK, ZERO, Area, Constant, Op, Register
from splinter.ext.middle.verifier.blocks import NEVER, SIGNED_MAX, Term
from splinter.ext.middle.verifier.proofs import PROVEN, Need, OrderProver, Proof, What
from splinter.ext.types import WORD_BYTES

_SIGNED_MAX = Constant(SIGNED_MAX)


class Prover(OrderProver):
    """Proofs about memory, on those about order."""

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

    def sum_le(self, first: Term, second: Term, right: Term) -> Proof | None:
        """first + second <= right, without wrapping."""
        return self.either(self._le_to(end, right, proof) for end, proof in self._ends(first, second))
