"""A slice without isolation that is begun again after its worker's death, or because it was held up."""

from __future__ import annotations

import numpy as np
import pytest

from splinter import limits
from splinter.ext.abi import FRAME
from splinter.worker.replay import NOTES_BYTES, answer_of, begin_slice, forget_notes, note_call, recall_call
from splinter.worker.tasks.pool import repeat_slice, start_frame

BEFORE, WITHIN = 3, 7  # commits that the task has seen something of


@pytest.mark.parametrize("state", [0, 2], ids=["the first", "a later one"])
def test_it_has_shown_all_that_it_had_before(state: int) -> None:
    """Its calls are answered from their notes and do not look again: what they told of may not be on the disk."""
    memory, notes = np.zeros(limits.FRAME_BYTES, np.uint8), np.zeros(NOTES_BYTES, np.uint8)
    frame, at = memory[: FRAME.itemsize].view(FRAME.dtype)[0], memory.ctypes.data
    frame["transaction"], frame["shown"] = notes.ctypes.data, BEFORE + WITHIN
    forget_notes(at)
    start_frame(at)
    assert frame["shown"] == 0  # another task had the frame
    frame["state"], frame["shown"] = state, BEFORE
    begin_slice(at)
    frame["shown"] = WITHIN
    note_call(at, 1)
    frame["state"], frame["line"] = state + 1, 9
    for _ in range(2):  # who repeats it may die, too
        repeat_slice(at)
        assert (frame["state"], frame["line"], frame["shown"]) == (state, 0, WITHIN)
    begin_slice(at)
    assert answer_of(recall_call(at)) == 1
    assert frame["shown"] == WITHIN
