"""The recorded result of a request, two machine words long, so that a duplicate can be answered without running again.

The first word holds the sequence number, the kind and the status. The second holds a version, a scalar, an error's code, or
the number of the worker that runs the task.
"""

from __future__ import annotations

from enum import IntEnum

from numba import njit

from splinter.errors import Status
from splinter.native.atomics import shift_right, store64_release
from splinter.store.journal import note, participant_at
from splinter.store.records import Claim, Participant, Result


class Outcome(IntEnum):
    """Kinds. The status is the reply's, but for ERROR."""

    NONE = 0
    EFFECT = 1  # a task has written and not ended; the value says who runs it
    STATUS = 2  # no body but the status's text; the value is the object's version
    SCALAR = 3  # a body of 8 bytes: the value
    BODY = 4  # the body is an object of its own; the value is the version
    ERROR = 5  # EXTENSION_ERROR: the status is the ExtensionError, the line is known, the value is its code


# Not statuses: what an operation says instead of one when it was not executed because of what is recorded.
RECORDED = 256  # it was executed before: the claim holds the outcome
STALE = 257  # the client has the reply already, or has given up: the packet is an old one

VALUE_VERSION = -1  # of a STATUS that is claimed: its value is to be the version of what is put, 0 when nothing is

EFFECT_NONE, EFFECT_WRITTEN, EFFECT_DUPLICATE = range(3)  # of a task so far; the last: another run of it was quicker

_STATUS_BITS, _KIND_BITS, _LINE_BITS = 5, 3, 16
_KIND_SHIFT = _STATUS_BITS
_LINE_SHIFT = _KIND_SHIFT + _KIND_BITS
_SEQUENCE_SHIFT = _LINE_SHIFT + _LINE_BITS
_STATUS_MASK = (1 << _STATUS_BITS) - 1
_KIND_MASK = (1 << _KIND_BITS) - 1
_LINE_MASK = (1 << _LINE_BITS) - 1
_SEQUENCE_MASK = (1 << 64 - _SEQUENCE_SHIFT) - 1
assert max(Status) <= _STATUS_MASK and max(Outcome) <= _KIND_MASK

_HOLDER_BITS = 8


@njit(cache=True)
def outcome_word(sequence: int, kind: int, status: int, line: int) -> int:
    """The first word; of a sequence number its lower 40 bits."""
    return sequence << _SEQUENCE_SHIFT | (line & _LINE_MASK) << _LINE_SHIFT | kind << _KIND_SHIFT | status


@njit(cache=True)
def outcome_is_of(word: int, sequence: int) -> bool:
    """Whether something is recorded, and of this request."""
    return outcome_kind(word) != Outcome.NONE and shift_right(word, _SEQUENCE_SHIFT) == sequence & _SEQUENCE_MASK


@njit(cache=True)
def outcome_kind(word: int) -> int:
    """Its :class:`Outcome`."""
    return word >> _KIND_SHIFT & _KIND_MASK


@njit(cache=True, forceinline=True)
def outcome_status(word: int) -> int:
    """Its status; of an ERROR the ExtensionError."""
    return word & _STATUS_MASK


@njit(cache=True, forceinline=True)
def outcome_line(word: int) -> int:
    """The source line of an ERROR."""
    return word >> _LINE_SHIFT & _LINE_MASK


# --- claims --------------------------------------------------------------------------------------------------------------


@njit(cache=True)
def claim_request(store: int, p: int, client: int, sequence: int, acknowledged: int, now_ns: int) -> int:
    """The claim of a participant for a request that is done with one write. ``acknowledged`` 0: the request may be
    executed twice. Returns the claim's address; it is good until the next one."""
    address = Participant(participant_at(store, p)).claim
    claim = Claim(address)
    claim.client = client
    claim.sequence = sequence
    claim.acknowledged = acknowledged
    claim.now_ns = now_ns
    claim.word = outcome_word(sequence, Outcome.STATUS, Status.OK, 0)
    claim.value = VALUE_VERSION
    claim.count = 0
    claim.entry = 0
    return address


@njit(cache=True)
def claim_effect(store: int, p: int, client: int, sequence: int, acknowledged: int, now_ns: int) -> int:
    """The claim for the first write of a task that will write again. As :func:`claim_request`."""
    address = claim_request(store, p, client, sequence, acknowledged, now_ns)
    claim = Claim(address)
    claim.word = outcome_word(sequence, Outcome.EFFECT, Status.OK, 0)
    claim.value = owner_of(participant_at(store, p))
    return address


@njit(cache=True)
def owner_of(me: int) -> int:
    """What names a participant until it dies without a successor."""
    mine = Participant(me)
    return mine.incarnation << _HOLDER_BITS | mine.holder - 1


@njit(cache=True)
def is_alive(store: int, owner: int) -> bool:
    """Whether the process that an EFFECT names still runs, or has died so lately that it was not recovered from."""
    return owner_of(participant_at(store, owner & (1 << _HOLDER_BITS) - 1)) == owner


@njit(cache=True)
def claimed_value(claim: int, version: int) -> int:
    """The second word of what a claim records."""
    claimed = Claim(claim)
    asks = claimed.value == VALUE_VERSION and outcome_kind(claimed.word) == Outcome.STATUS
    return version if asks else claimed.value


@njit(cache=True)
def note_outcome(store: int, me: int, count: int, claim: int, version: int) -> int:
    """Note what the write of ``claim`` (0: none) records; ``version`` is the new object's. Returns the count of words."""
    if claim == 0:
        return count
    claimed = Claim(claim)
    entry, counter = claimed.entry, claimed.count
    if entry != 0:
        word = claimed.word
        count = note(store, me, count, Result(entry).at.value, claimed_value(claim, version))
        count = note(store, me, count, Result(entry).at.word, word)
    if counter != 0:
        count = note(store, me, count, counter, claimed.counted)
    return count


@njit(cache=True)
def record_outcome(entry: int, word: int, value: int) -> None:
    """Record what had no effect, in an entry of another sequence number: one word makes it so."""
    result = Result(entry)
    store64_release(result.at.value, value)
    store64_release(result.at.word, word)
