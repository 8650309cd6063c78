"""Proofs about single instructions: what they access, what they divide by, what they give to helpers.

Each is proven in its own block as far as that goes; what is left are needs, which are carried back along every way into the
block until they are met. A need that is met again on its way has been assumed for the turn before: it holds by induction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splinter.ext import abi
from splinter.ext.abi import ResultKind
from splinter.ext.middle import ir
from splinter.ext.middle.ir import Constant, Instruction, Op
from splinter.ext.middle.verifier.blocks import HELPER, Relation, Scanned
from splinter.ext.middle.verifier.flow import Flow
from splinter.ext.middle.verifier.layout import Layout
from splinter.ext.middle.verifier.proofs import PROVEN, Choice, Need, Proof, What
from splinter.ext.middle.verifier.report import refuse
from splinter.ext.middle.verifier.shapes import (
    HELPERS,
    MATH,
    MEMORY_SIZES,
    READABLE,
    SWAP_SIZES,
    TELL_VIEW,
    TELL_WORD,
    VIEW_FIELDS,
    WORD_FIELDS,
    WRITABLE,
)
from splinter.ext.middle.verifier.spans import Prover
from splinter.ext.types import WORD_BITS, WORD_BYTES
from splinter.limits import DIGEST_PIECE_BYTES

_WORD = Constant(WORD_BYTES)
_MINUS_ONE, _LEAST = ir.word(-1).value, ir.word(-(1 << 63)).value
_SIGNED_RANGE = ("fle", -(2.0**63)), ("flt", 2.0**63)
_UNSIGNED_RANGE = ("flt", -1.0), ("flt", 2.0**64)
_TELLERS = {What.VIEW_TOLD: TELL_VIEW, What.WORD_TOLD: TELL_WORD}

# By need: blocks at whose start it was shown to hold, or is being shown to, as a bit set. Behind the first, layers of trials.
_Shown = list[dict[Need, int]]


class Memory:
    """Proves the instructions of a function."""

    def __init__(self, flow: Flow, layout: Layout, result: ResultKind) -> None:
        self.flow, self.layout, self.result = flow, layout, result
        self.shown: _Shown = [{}]
        self.stops: list[set[Any] | None] = []  # by block: what no need of may pass through it; None: of nothing

    def prove(self) -> None:
        """All of them, and the results that the worker will read."""
        for block in self.flow.blocks:
            block.look_at_checks()
            self._find_dead_end(block)
        self.stops = [None if block.is_opaque else block.stops for block in self.flow.blocks]
        for block in self.flow.blocks:
            for place in block.points:
                if place > block.dead:
                    break
                proof = _PROOFS[block.code[place].op](self, block, place, block.code[place])
                if proof is None or (proof and not self._holds(block, proof, self.shown)):
                    refuse(_REASONS.get(block.code[place].op, "an access to memory is not certainly inside"), block.code, place)
            if isinstance(block.block.terminator, ir.Done) and not block.is_dead:
                proof = self._result_proof(block)
                if proof is None or not self._holds(block, proof, self.shown):
                    refuse("the result is not certainly one", block.code, len(block.code))

    def _find_dead_end(self, block: Scanned) -> None:
        """Note the first check of a block that cannot pass: it asks for more than a value can be."""
        for since, _, (least, term) in block.facts.known.get("constant", ()):
            prover = Prover(self.layout, block, since + 1)
            most = prover.most(term)
            if block.op(term) is Op.SUB:
                whole, part = block.operand(term, 0), block.operand(term, 1)
                if isinstance(part, Constant) and prover.le(part, whole) == PROVEN:
                    most = prover.most(whole) - part.value
            if least > most and since < block.dead:
                block.dead, block.is_opaque = since, True

    # --- needs --------------------------------------------------------------------------------------------------------

    def _holds(self, block: Scanned, proof: Proof, shown: _Shown) -> bool:
        """Whether all needs of a proof are met wherever the block is entered from."""
        waiting = [(block, part) for part in proof]
        while waiting:
            block, part = waiting.pop()
            if isinstance(part, Choice):
                if not any(self._is_met(block, proof, shown) for proof in part.proofs):
                    return False
                continue
            further = self._spread(block, part, shown)
            if further is None:
                return False
            waiting += further
        return True

    def _is_met(self, block: Scanned, proof: Proof, shown: _Shown) -> bool:
        """The same on trial: what was shown for it counts only when all of it holds."""
        trial: dict[Need, int] = {}
        if not self._holds(block, proof, [*shown, trial]):
            return False
        for need, where in trial.items():
            shown[-1][need] = shown[-1].get(need, 0) | where
        return True

    def _spread(self, block: Scanned, need: Need, shown: _Shown) -> list[tuple[Scanned, Need | Choice]] | None:
        """Carry a need back to where blocks say or change something of it; what it takes there. None: it is not met."""
        where = 0
        for layer in shown:
            where |= layer.get(need, 0)
        _, left, right = need
        blocks, predecessors, stops = self.flow.blocks, self.flow.predecessors, self.stops
        waiting, further = [block.number], []
        while waiting:
            number = waiting.pop()
            if where >> number & 1:
                continue
            if number == 0:
                return None  # the extension begins here, and nothing is known
            where |= 1 << number
            for one in predecessors[number]:
                stop = stops[one]
                if stop is not None and left not in stop and right not in stop:
                    waiting.append(one)
                    continue
                before = blocks[one]
                carried = self._carried(before, blocks[number], need)
                if carried is None:
                    return None
                further += [(before, part) for part in carried]
        shown[-1][need] = where
        return further

    def _carried(self, before: Scanned, block: Scanned, need: Need) -> Proof | None:
        """What a need of a block's start takes at the end of a block before it."""
        what, left, right = need
        edge: list[Relation] | None = []
        if before.edges:
            edge = before.edges[before.block.successors()[0] is block.block]
        if edge is None or before.is_dead:
            return PROVEN  # control never comes this way
        if what in _TELLERS:
            return self._told(before, len(before.code), what)
        end = len(before.code)
        prover = Prover(self.layout, before, end, edge, is_behind=True)
        there = before.at_end(left), before.at_end(right)
        return prover.le(*there) if what is What.LE else prover.span(what, *there)

    def _told(self, block: Scanned, place: int, what: What) -> Proof | None:
        """The last helper before a place has left something in the fields in question."""
        helper = block.helper_before(place)
        if helper < 0:
            return (Need(what, HELPER, HELPER),)
        return PROVEN if block.code[helper].size in _TELLERS[what] else None

    # --- instructions -------------------------------------------------------------------------------------------------

    def _load(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        size, address = instruction.size, block.operand(place, 0)
        if size not in MEMORY_SIZES:
            return None
        offset = block.frame_offset(address)
        if offset is not None:
            if offset in READABLE:
                if READABLE[offset] != size or instruction.op is not Op.LOAD:
                    return None
                if offset in WORD_FIELDS:
                    return self._told(block, place, What.WORD_TOLD)
                return self._told(block, place, What.VIEW_TOLD) if offset in VIEW_FIELDS else PROVEN
            area = self.layout.counted(offset)
            if area is not None:
                is_count = size == WORD_BYTES and instruction.op is Op.LOAD
                return PROVEN if is_count and self._prover(block, place).is_filled(area, offset, _WORD) else None
        return self._prover(block, place).span(What.READABLE, address, Constant(size))

    def _store(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        size, address = instruction.size, block.operand(place, 0)
        if size not in MEMORY_SIZES:
            return None
        offset = block.frame_offset(address)
        if offset is not None:
            if offset in WRITABLE:
                return PROVEN if WRITABLE[offset] == size else None
            area = self.layout.counted(offset)
            if area is not None and area.capacity is not None:
                return self._count(block, place, area.capacity) if size == WORD_BYTES else None
        return self._prover(block, place).span(What.WRITABLE, address, Constant(size))

    def _count(self, block: Scanned, place: int, capacity: int) -> Proof | None:
        """A new count of a buffer's bytes is at most its capacity: it is 0, or an old one and what there is room for."""
        prover, value = self._prover(block, place), block.operand(place, 1)
        if block.op(value) is Op.ADD:
            return prover.sum_le(block.operand(value, 0), block.operand(value, 1), Constant(capacity))
        return prover.le(value, Constant(capacity))

    def _clear(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        offset = block.frame_offset(block.operand(place, 0))
        is_area = any((area.offset, area.nbytes) == (offset, instruction.size) for area in self.layout.areas)
        return PROVEN if is_area else None

    def _copy(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        target, source, length = block.terms[place]
        prover = self._prover(block, place)
        return prover.both(prover.span(What.WRITABLE, target, length), lambda: prover.span(What.READABLE, source, length))

    def _views(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        """Each address may be read for the length behind it."""
        indices: tuple[int, ...] = (0, 2)
        if instruction.op is Op.HELPER:
            helper = HELPERS.get(instruction.size)
            if helper is None or helper.operands != len(instruction.operands) or (helper.is_optional and not instruction.error):
                return None
            indices = helper.views
        prover, operands, proof = self._prover(block, place), block.terms[place], PROVEN
        for index in indices:
            further = prover.span(What.READABLE, operands[index], operands[index + 1])
            if further is None:
                return None
            proof += further
        return proof

    def _digest(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        address, length, _ = block.terms[place]
        prover = self._prover(block, place)
        return prover.both(prover.span(What.READABLE, address, length), lambda: prover.le(length, Constant(DIGEST_PIECE_BYTES)))

    def _math(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        return PROVEN if instruction.size in MATH and instruction.error else None

    def _divide(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        dividend, divisor = block.terms[place]
        prover = self._prover(block, place)
        if not prover.differs(divisor, 0):
            return None
        if instruction.op in (Op.UDIV, Op.UREM) or prover.differs(divisor, _MINUS_ONE) or prover.differs(dividend, _LEAST):
            return PROVEN
        return PROVEN if prover.is_not_both((divisor, _MINUS_ONE), (dividend, _LEAST)) else None

    def _shift(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        return self._prover(block, place).le(block.operand(place, 1), Constant(WORD_BITS - 1))

    def _to_integer(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        bounds = _UNSIGNED_RANGE if instruction.op is Op.TO_UNSIGNED else _SIGNED_RANGE
        return PROVEN if self._prover(block, place).is_between(block.operand(place, 0), *bounds) else None

    def _swap(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        return PROVEN if instruction.size in SWAP_SIZES else None

    def _address(self, block: Scanned, place: int, instruction: Instruction) -> Proof | None:
        if instruction.op is Op.DATA:
            return PROVEN if instruction.size in self.layout.data else None
        return PROVEN if 0 <= instruction.size < self.layout.scratch_cells else None

    def _prover(self, block: Scanned, place: int) -> Prover:
        return Prover(self.layout, block, place)

    # --- results ------------------------------------------------------------------------------------------------------

    def _result_proof(self, block: Scanned) -> Proof | None:
        """The worker reads what ``result`` says: it was stored in this block, and names bytes if it is to."""
        if self.result is ResultKind.NONE:
            return PROVEN
        stored = {block.frame_offset(block.operand(place, 0)): block.operand(place, 1) for place in block.stores}
        if abi.F_RESULT not in stored:
            return None
        if self.result is ResultKind.SCALAR:
            return PROVEN
        if abi.F_RESULT_LENGTH not in stored:
            return None
        prover = Prover(self.layout, block, len(block.code), is_behind=True)
        return prover.span(What.READABLE, stored[abi.F_RESULT], stored[abi.F_RESULT_LENGTH])


_PROOFS: dict[Op, Callable[[Memory, Scanned, int, Instruction], Proof | None]] = {
    Op.LOAD: Memory._load, Op.LOAD_SIGNED: Memory._load, Op.STORE: Memory._store, Op.CLEAR: Memory._clear,
    Op.COPY: Memory._copy, Op.BYTES_EQUAL: Memory._views, Op.CRC32: Memory._digest, Op.HASH64: Memory._digest,
    Op.HELPER: Memory._views, Op.MATH: Memory._math, Op.SWAP: Memory._swap,
    Op.DATA: Memory._address, Op.SCRATCH: Memory._address,
    Op.SDIV: Memory._divide, Op.SREM: Memory._divide, Op.UDIV: Memory._divide, Op.UREM: Memory._divide,
    Op.SHL: Memory._shift, Op.LSHR: Memory._shift, Op.ASHR: Memory._shift,
    Op.TO_SIGNED: Memory._to_integer, Op.TO_UNSIGNED: Memory._to_integer,
}  # fmt: skip
_REASONS = {
    Op.SDIV: "a divisor is not certainly one", Op.SREM: "a divisor is not certainly one",
    Op.UDIV: "a divisor is not certainly one", Op.UREM: "a divisor is not certainly one",
    Op.SHL: "a shift is not certainly by less than a word", Op.LSHR: "a shift is not certainly by less than a word",
    Op.ASHR: "a shift is not certainly by less than a word", Op.TO_SIGNED: "a float does not certainly fit an integer",
    Op.TO_UNSIGNED: "a float does not certainly fit an integer", Op.HELPER: "what a helper is given is not certainly right",
    Op.MATH: "what a helper is given is not certainly right",
}  # fmt: skip
