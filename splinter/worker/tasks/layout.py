"""What a worker keeps of tasks in shared memory: the tasks, whose they are in its run queues, what each extension did."""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.ext import abi

# A task that is not free owns the chunk that its request came in. READY: at a yield point, in its tenant's queue. RUNNING:
# from its creation, and while it is resumed. REPLYING: its reply is being written over the request, and sent. REFUSED: its
# worker died; the successor has only to answer it with ``refusal``. One of a BATCH has no chunk and never waits: its packet is
# in the worker's scratch memory, so it goes with the worker.
TASK_FREE, TASK_READY, TASK_RUNNING, TASK_REPLYING, TASK_REFUSED = range(5)

NO_CHUNK = 1 << 62  # in place of a chunk; no queue's, and no number of one
# In place of a chunk, with the number of a connection: the invoke came by the Redis protocol. Its packet is the process's own,
# so the task goes with the worker, and with it the connection that waits for it.
CALL_CHUNK = 1 << 61

# One task: an invocation under way. Writer: the worker; after its death the supervisor, until the successor starts.
TASK = np.dtype(
    [
        ("state", "<u4"),  # TASK_…; written after what it says is so
        ("result_kind", "<u4"),  # abi.ResultKind
        ("frame", "<u8"),  # address of its frame
        ("code", "<u8"),  # address of the extension's resume()
        ("header", "<u8"),  # address of the request's header; the packet's chunk is the task's until the reply
        ("epoch", "<u8"),  # store epoch when it started
        # XDP: UMEM address of the frame's first byte; UDP: chunk number; NO_CHUNK: it is of a BATCH; CALL_CHUNK | number of a
        # connection
        ("chunk", "<u8"),
        ("yields", "<u4"),  # so far
        ("pad", "<u4"),
        ("counters", "<u8"),  # address of its extension's EXTENSION_COUNTERS of this worker
        ("cycles", "<u8"),  # CPU time so far, in ticks of the time-stamp counter
        ("cycles_max", "<u8"),  # then it ends with EXTENSION_ERROR
        ("yields_max", "<u4"),  # likewise
        ("next", "<u4"),  # number of the task behind it in its queue; 0: none
        ("refusal", "<u4"),  # TASK_REFUSED: the status to answer with. Writer: the supervisor
        ("restarts", "<u4"),  # times it was begun anew because its worker died. Writer: the supervisor; the worker at its start
        ("started", "<u8"),  # time-stamp counter when it came
        ("wall_cycles_max", "<u8"),  # ticks after that it ends with EXTENSION_ERROR, whatever it did meanwhile
        ("turn", "<u8"),  # the tenant's turn, if it has it (splinter.store.turns); 0: it has not
        ("conflicts", "<u4"),  # times that its transaction was in vain
        ("spare", "<u4"),
    ]
)
assert TASK.itemsize == 128

# What one worker did for one installed extension. Writer: that worker; the control process sets it to zero when it gives
# the slot to another extension, which is when no worker can run the old one any more.
EXTENSION_COUNTERS = np.dtype(
    [
        ("invocations", "<u8"),  # tasks that ended
        ("errors", "<u8"),  # of them with EXTENSION_ERROR
        ("yields", "<u8"),
        ("cycles", "<u8"),  # CPU time in ticks of the time-stamp counter
        # The same numbers in every worker's array, so that a worker finds them where it counts.
        ("kills", "<u4"),  # workers that had to be killed, or died, because of it. Writer: the supervisor
        ("released", "<u4"),  # kills when it was installed last, or released. Writer: the control process
        ("spare", "<u8", 3),
    ]
)
assert EXTENSION_COUNTERS.itemsize == 64

# A tenant's part of one worker's run queues (splinter.worker.tasks.fair). There are two levels: 0 young tasks, 1 old ones.
# Writer: that worker, which makes it anew from the tasks at its start.
TENANT_SHARE = np.dtype(
    [
        ("head", "<u4", 2),  # number of the next task, from 1; 0: none is ready, and the tenant is not in the level's ring
        ("tail", "<u4", 2),  # of the last
        ("next", "<u4", 2),  # the tenant behind this one in the level's ring; 0: this is the last
        ("waiting", "<u4"),  # tasks in both queues
        ("pad", "<u4"),
        ("credit", "<i8", 2),  # cycles that the tenant may still use in this round; below 0: its debt
        ("spare", "<u8", 2),
    ]
)
assert TENANT_SHARE.itemsize == 64

TASK_BYTES = TASK.itemsize

EXTENSION_COUNTERS_BYTES = EXTENSION_COUNTERS.itemsize

TENANT_SHARE_BYTES = TENANT_SHARE.itemsize

FRAME_BYTES = limits.FRAME_BYTES
assert abi.FRAME_HEADER_BYTES < FRAME_BYTES
