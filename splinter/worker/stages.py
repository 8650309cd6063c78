"""Where a worker's time goes: ticks of the time-stamp counter, added up by stage of the loop.

Only with ``SPLINTER_PROFILE=1`` in the environment is anything compiled in (into a cache folder of its own); otherwise
:func:`stage` is empty. The loop calls it at the *end* of each stage: all time since the call before is that stage's. A call
costs about as much as a look-up in a cache does, and each request makes two, so that shares tell more than sums.
"""

from __future__ import annotations

import os

from numba import njit

from splinter.native.atomics import cycles, load64, store64
from splinter.worker.layout import STAGES_MAX
from splinter.worker.records import Worker

ENABLED = os.environ.get("SPLINTER_PROFILE") == "1"

NAMES = ("turn", "receive", "parse", "prefetch", "serve", "extension", "reply", "kick", "recycle", "idle")
(
    TURN,  # epoch, heartbeat, reclaiming, accounts
    RECEIVE,  # take packets from the RX rings
    PARSE,  # find each packet's request
    PREFETCH,  # hash the keys of a batch and ask for the memory that they need
    SERVE,  # look up, copy, fill in the reply's header; of an invoke, all but its resumes
    EXTENSION,  # tenants' code and the helpers that it calls
    REPLY,  # turn the packet around and put it on the TX ring
    KICK,  # the system call that makes the kernel send
    RECYCLE,  # give the chunks of sent packets back to the kernel
    IDLE,  # look for packets, steal, sleep
) = range(len(NAMES))
assert len(NAMES) <= STAGES_MAX


@njit(cache=True)
def _end_stage(w: int, number: int) -> None:
    worker = Worker(w)
    now = cycles()
    total = worker.stages + number * 8
    store64(total, load64(total) + now - worker.stage_from)
    worker.stage_from = now


@njit(cache=True)
def _nothing(w: int, number: int) -> None:
    pass


stage = _end_stage if ENABLED else _nothing
