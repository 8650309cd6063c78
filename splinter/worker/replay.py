"""What a task that writes without isolation has done since its last yield, so that nothing of it is done twice.

Each put and delete of such a task stands for itself. When its worker dies in the middle of a slice, a successor repeats the
slice, from a copy of the frame that was made at its beginning. Each call of a helper is noted with what it answered. The
repetition gets these answers from the notes, and does nothing, until it has come to where its predecessor died. It goes the
same way: the extension knows nothing but its frame and what helpers told it. What a note points to is still there, since the
task holds its epoch.

=============== ========================================= ====================================================
``saved``       the worker dies                           its successor
=============== ========================================= ====================================================
SAVED_NOTHING   between two slices, or before this one    goes on with the frame
SAVED_START     in the first slice                        begins, with the notes
SAVED_FRAME     in a later one                            goes on with the copy, and the notes
=============== ========================================= ====================================================

A note is counted after it was written: of a put or delete that does something in the journal's step that does it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from splinter import limits
from splinter.ext.abi import ExtensionError
from splinter.native.atomics import copy_bytes, store64_release
from splinter.native.records import record
from splinter.store.outcomes import EFFECT_WRITTEN
from splinter.worker.records import Frame

# What one call of a helper has answered. Writer: the task's worker.
NOTE = np.dtype(
    [
        ("answer", "<i8"),
        ("address", "<u8"),  # these three: the frame's out_…
        ("length", "<u8"),
        ("version", "<u8"),
        ("writes", "<u8"),  # 1: it put or deleted an object
    ]
)
NOTE_BYTES = NOTE.itemsize
NOTES_MAX = 2 * limits.TASK_BUDGET_MAX // limits.HELPER_COST
# In the area of a task that writes without isolation. Writer: the task's worker; after its death the supervisor.
NOTES = np.dtype(
    [
        ("calls", "<u8"),  # notes that count
        ("saved", "<u8"),  # SAVED_…
        ("copy", "u1", limits.FRAME_BYTES),  # of the frame
        ("notes", NOTE, NOTES_MAX),
    ]
)
NOTES_BYTES = NOTES.itemsize
assert NOTES_MAX * limits.HELPER_COST >= limits.TASK_BUDGET_MAX + limits.CHECKPOINT_COST + limits.HELPER_COST
SAVED_NOTHING, SAVED_START, SAVED_FRAME = range(3)

Notes, Note = record(NOTES), record(NOTE)


@njit(cache=True)
def forget_notes(frame_at: int) -> None:
    """A task is new: nothing is noted of it."""
    notes = Notes(Frame(frame_at).transaction)
    notes.calls = 0
    notes.saved = SAVED_NOTHING


@njit(cache=True)
def begin_slice(frame_at: int) -> None:
    """What this slice does can be repeated from here on."""
    frame = Frame(frame_at)
    notes = Notes(frame.transaction)
    if frame.call >= notes.calls:  # else this is a repetition that has not come to its end
        store64_release(notes.at.calls, 0)
        frame.call = 0
    if frame.state == 0:
        store64_release(notes.at.saved, SAVED_START)
    else:
        copy_bytes(notes.at.copy, frame_at, limits.FRAME_BYTES)
        store64_release(notes.at.saved, SAVED_FRAME)


@njit(cache=True)
def end_slice(frame_at: int) -> None:
    """The task has yielded: its frame is whole."""
    store64_release(Notes(Frame(frame_at).transaction).at.saved, SAVED_NOTHING)


@njit(cache=True)
def restore_frame(frame_at: int) -> int:
    """Undo what a slice that its worker's death has cut off did to the frame, but for what it has shown; may be repeated.
    Returns SAVED_…: a task's first slice begins anew."""
    frame = Frame(frame_at)
    notes = Notes(frame.transaction)
    if notes.saved == SAVED_FRAME:
        copy = Frame(notes.copy)
        copy.shown = max(copy.shown, frame.shown)
        copy_bytes(frame_at, notes.at.copy, limits.FRAME_BYTES)
    return notes.saved


@njit(cache=True)
def has_written(frame_at: int) -> bool:
    """Whether a task, which is to end where its worker died, has written before."""
    frame = Frame(frame_at)
    notes = Notes(frame.transaction)
    for call in range(notes.calls):
        if Note(notes.notes + call * NOTE_BYTES).writes != 0:
            return True
    return frame.effect == EFFECT_WRITTEN


@njit(cache=True)
def recall_call(frame_at: int) -> int:
    """The NOTE of the call that the task makes now, which is answered in the frame; 0: it was not made before; < 0: an
    -ExtensionError, since there is no room for its note. Only code that does not look at its budget comes to that."""
    frame = Frame(frame_at)
    notes = Notes(frame.transaction)
    if frame.call >= notes.calls:
        return 0 if frame.call < NOTES_MAX else -ExtensionError.BUDGET
    address = notes.notes + frame.call * NOTE_BYTES
    noted = Note(address)
    frame.out_address = noted.address
    frame.out_length = noted.length
    frame.out_version = noted.version
    if noted.writes != 0:
        frame.effect = EFFECT_WRITTEN
    frame.call += 1
    return address


@njit(cache=True)
def answer_of(noted: int) -> int:
    """What the call answers for which :func:`recall_call` has returned this, which is not 0."""
    return Note(noted).answer if noted > 0 else noted


@njit(cache=True)
def _fill_note(frame_at: int, answer: int, writes: int) -> None:
    frame = Frame(frame_at)
    noted = Note(Notes(frame.transaction).notes + frame.call * NOTE_BYTES)
    noted.answer = answer
    noted.address = frame.out_address
    noted.length = frame.out_length
    noted.version = frame.out_version
    noted.writes = writes


@njit(cache=True)
def note_call(frame_at: int, answer: int) -> int:
    """Note a call that changed nothing. Returns the answer."""
    frame = Frame(frame_at)
    _fill_note(frame_at, answer, 0)
    frame.call += 1
    store64_release(Notes(frame.transaction).at.calls, frame.call)
    return answer


@njit(cache=True)
def prepare_note(frame_at: int, answer: int) -> int:
    """Note a call that is to change something; the note is yet to be counted. Returns the address of the count."""
    _fill_note(frame_at, answer, 1)
    return Notes(Frame(frame_at).transaction).at.calls
