"""What the calls of helpers have in common: checks, and how a write without isolation is claimed and noted."""

from __future__ import annotations

from numba import njit

from splinter import limits
from splinter.errors import Status
from splinter.ext.abi import ExtensionError
from splinter.store.layout import OBJECT_BYTES
from splinter.store.outcomes import EFFECT_DUPLICATE, EFFECT_NONE, EFFECT_WRITTEN, RECORDED, STALE, claim_effect, claim_request
from splinter.store.records import Claim
from splinter.store.snapshots import snapshot_of
from splinter.worker.records import Context, Frame
from splinter.worker.replay import note_call, prepare_note


@njit(cache=True, forceinline=True)
def refuse_place(table: int, key_length: int) -> int:
    """-ExtensionError where no object of a tenant can be; else 0."""
    if table < 0 or table >= limits.TABLES_MAX:
        return -ExtensionError.TABLE
    if key_length < 1 or key_length > limits.KEY_BYTES_MAX:
        return -ExtensionError.KEY
    return 0


@njit(cache=True)
def claim_write(context_at: int, frame_at: int, answer: int) -> int:
    """What a write without isolation is noted with, and ``answer``; a task's first one claims its request, too."""
    frame, context = Frame(frame_at), Context(context_at)
    store, p = context.store, context.participant
    if frame.effect == EFFECT_NONE:
        address = claim_effect(store, p, frame.client, frame.sequence, frame.acknowledged, frame.since_ns)
    else:
        address = claim_request(store, p, frame.client, frame.sequence, 0, frame.since_ns)
    claim = Claim(address)
    claim.count = prepare_note(frame_at, answer)
    claim.counted = frame.call + 1
    return address


@njit(cache=True)
def end_write(store: int, frame_at: int, status: int, refused: int, answer: int) -> int:
    """After a write without isolation: what its helper returns. ``refused``: the status that is no error, and answered by 0;
    ``answer``: when it was done."""
    frame = Frame(frame_at)
    if status == Status.DISK_FAILED:
        return -ExtensionError.DISK
    if status != Status.OK:  # that tells of what is there
        frame.shown = max(frame.shown, snapshot_of(store, frame.tenant))
    if status == Status.OK:
        frame.call += 1
        frame.effect = EFFECT_WRITTEN
        return answer
    if status == refused:
        return note_call(frame_at, 0)
    if status in (RECORDED, STALE):  # another run of the same request was quicker: this one ends without a reply of its own
        frame.effect = EFFECT_DUPLICATE
    if status == Status.OUT_OF_MEMORY:
        return -ExtensionError.OUT_OF_MEMORY
    return -ExtensionError.QUOTA if status == Status.QUOTA_EXCEEDED else -ExtensionError.BUSY


@njit(cache=True)
def may_put(frame_at: int, key_length: int, value_length: int) -> bool:
    """Count what the task puts, and whether it may.

    What it replaces is not charged to its tenant any more, but the task's own epoch keeps its memory: without a limit one task
    that puts the same key over and over would fill the store of all.
    """
    frame = Frame(frame_at)
    put_bytes = frame.put_bytes + OBJECT_BYTES + key_length + value_length
    if put_bytes > limits.TASK_PUT_BYTES_MAX:
        return False
    frame.put_bytes = put_bytes
    return True
