"""What the verifier knows of a function's memory: the areas of its frame and its constants."""

from __future__ import annotations

from splinter.ext import abi
from splinter.ext.abi import FRAME_HEADER_BYTES
from splinter.ext.middle import ir
from splinter.ext.middle.ir import WORD_MASK, Area
from splinter.ext.types import WORD_BYTES
from splinter.limits import FRAME_BYTES, VALUE_BYTES_MAX

_STEPS_PER_INSTRUCTION = 100  # rules that proofs may try, on average: a bound for what a source can cost
_STEPS_MIN = 10_000


class Layout:
    """Of one function. ``fault`` says what is wrong with it, if anything is."""

    def __init__(self, function: ir.Function) -> None:
        self.data = {number: len(content) for content, number in function.data.items()}
        self.scratch_cells = function.scratch_cells
        self.areas = function.areas
        self.end = FRAME_HEADER_BYTES
        self.fault = ""
        self.numbers = {area.offset: number for number, area in enumerate(function.areas)}
        self._counts = {area.offset: area for area in function.areas if area.capacity is not None}
        for area in function.areas:
            room = area.nbytes if area.capacity is None else area.nbytes - WORD_BYTES - area.capacity
            if area.offset < self.end or area.offset % WORD_BYTES or room < 0 or (area.capacity or 0) < 0:
                self.fault = "two areas of the frame overlap"
            self.end = area.end
        if self.end > FRAME_BYTES:
            self.fault = "an area of the frame lies outside of it"
        self._steps = max(_STEPS_PER_INSTRUCTION * sum(len(block.instructions) for block in function.blocks), _STEPS_MIN)

    def area(self, offset: int) -> Area | None:
        """The area in which a byte of the frame lies."""
        return next((area for area in self.areas if area.offset <= offset < area.end), None)

    def counted(self, offset: int) -> Area | None:
        """The buffer whose count of bytes stands at an offset."""
        return self._counts.get(offset)

    def most(self, offset: int) -> int:
        """The largest word that can be read at an offset of the frame."""
        if offset == abi.F_OUT_LENGTH:
            return VALUE_BYTES_MAX
        area = self._counts.get(offset)
        return WORD_MASK if area is None or area.capacity is None else area.capacity

    def takes_step(self) -> bool:
        """Count a rule that is tried; False when it has been too many."""
        self._steps -= 1
        return self._steps >= 0
