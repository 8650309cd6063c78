"""What a worker keeps in shared memory, so that the supervisor can watch it and a successor can take over.

One ``WORKER`` block per core slot. Its first cache lines are written by the worker on each turn of its loop and read by the
supervisor and by ``splinter stats`` at any time; readers may see counters of different moments, never a torn one (aligned
64-bit words). The rest is set up by the supervisor before the worker is forked.
"""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.errors import Status
from splinter.wire import Opcode

STATE_STARTING, STATE_RUNNING, STATE_SLEEPING, STATE_STOPPED = range(4)
STAGES_MAX = 12  # of a profile
OPCODES = len(Opcode) + 1  # the last counter: unknown opcodes
LATENCY_LOWEST_BITS, LATENCY_HIGHEST_BITS = 8, 33  # of the first and the last bound of a latency: 256 ns, 8.6 s
STATUSES = len(Status)

# What one worker did for one tenant. Writer: that worker; the control process sets it to zero when it creates a tenant, which
# is when no worker does anything for an earlier one of that id any more. Readers see each word whole, words of different
# moments.
TENANT_COUNTERS = np.dtype(
    [
        ("requests", "<u8"),  # packets of the tenant's
        ("cycles", "<u8"),  # time in ticks of the time-stamp counter: its share of each batch, and its tasks
        ("task_cycles", "<u8"),  # of them in extensions
        ("busy", "<u8"),  # requests refused with BUSY
        ("window", "<u8"),  # number of the window in which it last used any time
        ("window_start", "<u8"),  # cycles when that window began
        ("held", "<u8"),  # replies that wait for the disk now
        ("spare", "<u8"),
    ]
)
assert TENANT_COUNTERS.itemsize == 64

# Bounds of latencies, in nanoseconds: powers of two, and the middle between each and the next. A bucket counts what took longer
# than the bound before it and no longer than its own; the last bucket has no bound.
LATENCY_BOUNDS_NS = tuple(
    (2 + (place & 1)) << (LATENCY_LOWEST_BITS - 1 + (place >> 1))
    for place in range(2 * (LATENCY_HIGHEST_BITS - LATENCY_LOWEST_BITS) + 1)
)
# How long requests of one opcode took, from a packet's taking to its reply. Writer: the worker. A reader sees each word whole;
# the sum may lack a request that a bucket has.
LATENCY = np.dtype([("buckets", "<u8", len(LATENCY_BOUNDS_NS) + 1), ("sum_ns", "<u8")])

COUNTERS = np.dtype(
    [
        ("opcodes", "<u8", OPCODES),  # requests by opcode
        ("statuses", "<u8", STATUSES),  # replies by status
        ("received", "<u8"),  # packets
        ("transmitted", "<u8"),  # packets
        ("malformed", "<u8"),  # packets without a whole or valid header, or sent to many: no reply
        ("damaged", "<u8"),  # XDP transport only: packets whose checksums are wrong or missing: no reply
        # packets of nobody's; with XDP only those that became so while they waited in a ring, the others the program counts
        ("wrong_token", "<u8"),
        ("loops", "<u8"),  # turns of the loop
        ("sleeps", "<u8"),  # times it went to sleep in poll()
        ("kicks", "<u8"),  # transmit system calls
        ("resumes", "<u8"),  # of coroutines
        ("yields", "<u8"),  # resumes that did not end the task
        ("transmit_failures", "<u8"),  # UDP: replies that the kernel refused
        ("duplicates", "<u8"),  # requests that were executed before: answered with what is recorded
        ("stale", "<u8"),  # duplicates that nobody waits for, or whose first run has not ended: dropped
        ("rate_limited", "<u8"),  # UDP transport only: packets over their tenant's limit
        ("busy_cycles", "<u8"),  # ticks of the time-stamp counter with something to do; the rest was idle
        ("task_cycles", "<u8"),  # of them in extensions
        ("stolen", "<u8"),  # packets taken from siblings
        ("wakes", "<u8"),  # sleeping siblings woken to help
        ("orphans", "<u8"),  # tasks ended because their tenant was removed
        ("overdue", "<u8"),  # tasks ended because they took too long
        ("gave_way", "<u8"),  # tasks ended because what they held kept memory from others
        ("unheld", "<u8"),  # replies dropped because too many wait for the disk
        ("redis_connections", "<u8"),  # of the Redis protocol: those that were let in
        ("redis_commands", "<u8"),  # and their commands
        ("redis_refused", "<u8"),  # connections refused or ended, since there are too many, or they take too much memory
        ("conflicts", "<u8"),  # transactions begun anew: what they read had changed, or another one had the turn
    ]
)

WORKER = np.dtype(
    [
        # Written by the worker at each turn.
        ("heartbeat", "<u8"),  # time-stamp counter when its last turn, batch or resume of a task began or ended
        ("state", "<u4"),  # STATE_…
        ("tasks_live", "<u4"),  # tasks under way
        ("oldest_epoch", "<u8"),  # of live tasks
        ("turn_epoch", "<u8"),  # the store's epoch when this turn began: what a task that starts now holds
        ("running_task", "<u8"),  # address of the task that is being resumed, or whose reply is being written; 0: none
        ("started", "<u8"),  # time-stamp counter when it had taken over; 0: not yet. Set to 0 by the supervisor
        ("clock_ns", "<u8"),  # monotonic nanoseconds, when it last looked
        ("packet_cycles", "<u8"),  # what a packet of its batches took lately; siblings read it
        ("waits", "<u8"),  # XDP: address of the QUEUE_LOCK that it spins for; 0: none. Set to 0 by the supervisor
        # Written by the supervisor.
        ("stop", "<u4"),  # 1: leave the loop
        ("index", "<u4"),  # core slot
        ("store", "<u8"),  # address of the store's descriptor
        ("tenants", "<u8"),  # address of the tenants area
        ("context", "<u8"),  # address of the abi.CONTEXT
        ("texts", "<u8"),  # address of the messages (splinter.worker.texts)
        ("tasks", "<u8"),  # address of TASK[tasks_count]
        ("frames", "<u8"),  # address of the frames
        ("transactions", "<u8"),  # address of the tasks' areas of TRANSACTION_AREA_BYTES (splinter.worker.transaction)
        ("tasks_count", "<u4"),
        ("wake_fd", "<i4"),  # eventfd that ends a sleep
        ("task_budget", "<u8"),
        ("task_yields_max", "<u8"),  # for tenants without a limit of their own
        ("task_milliseconds_max", "<u8"),  # likewise
        ("task_wall_milliseconds_max", "<u8"),  # likewise
        ("cycles_per_millisecond", "<u8"),  # of the time-stamp counter
        ("extension_counters", "<u8"),  # address of EXTENSION_COUNTERS[EXTENSIONS_MAX]
        ("tenant_counters", "<u8"),  # address of TENANT_COUNTERS[TENANTS_MAX]
        ("shares", "<u8"),  # address of TENANT_SHARE[TENANTS_MAX]
        ("latencies", "<u8"),  # address of LATENCY[OPCODES]; 0: they are not recorded
        ("latency_scale", "<u8"),  # nanoseconds of a tick of the time-stamp counter, times 1 << LATENCY_SCALE_BITS
        ("tasks_per_tenant", "<u8"),  # that may wait at a time
        ("quarantine_after", "<u8"),  # kills since the release from which on an extension is refused
        ("idle_spin_ns", "<u8"),
        # XDP transport.
        ("sockets", "<u8", limits.QUEUES_MAX),  # address of the XSK record of each queue
        ("queues", "<u4"),
        ("cores", "<u4"),
        ("queue_locks", "<u8"),  # address of QUEUE_LOCK[queues]
        ("chunks", "<u8"),  # address of the chunk states, u64 each
        ("umem", "<u8"),  # address of the UMEM
        ("depth", "<u8"),  # address of the core's DEPTH (splinter.net.depths); 0: nobody wants to know
        ("takes_partial", "<u4"),  # 1: UDP checksums of the pseudo header alone are right, too. Changes with the device
        # Both transports.
        ("packet_bytes_max", "<u4"),  # UDP payload of the largest request and reply. Changes with the device's MTU
        # UDP transport.
        ("rates", "<u8"),  # address of RATE[TENANTS_MAX] (splinter.net.tenants)
        ("udp_fd", "<i4"),
        ("udp_chunks", "<u4"),  # number of chunks
        ("udp_area", "<u8"),  # address of splinter.worker.udp.layout.UdpArea
        # Siblings (splinter.worker.steal). Set up by the supervisor, but for woken.
        ("workers", "<u8"),  # address of u64[cores]: addresses of all workers' blocks
        ("rx_locks", "<u8"),  # XDP: address of QUEUE_LOCK[queues × cores], of each socket's RX ring
        ("looks", "<u8"),  # address of LOOK[queues × cores], this worker's own
        ("stealing", "<u4"),  # 1: several workers may take packets from one ring
        ("woken", "<u4"),  # 1: a sibling wrote wake_fd; set by siblings (exchange), cleared before each sleep
        # Durability (splinter.worker.durable). Set up by the supervisor, but for the ends of the queue.
        ("log", "<u8"),  # address of this worker's LOG_RING; 0: nothing is logged
        ("held", "<u8"),  # address of HELD[HELD_MAX], a queue of replies that wait for the disk
        ("held_head", "<u8"),  # counts those that left it
        ("held_tail", "<u8"),  # and those that came
        ("shown", "<u8"),  # last commit that the reply which is being made tells of; 0: none
        ("log_wake_fd", "<i4"),  # eventfd of the log process
        ("descriptors", "<u4"),  # that a sleep waits for: of poll_fds
        ("held_connections", "<u8"),  # of the Redis protocol, with replies that wait for the disk. The worker's own
        ("door", "<u8"),  # address of its DOOR (splinter.worker.resp.layout); 0: the Redis protocol is not spoken
        # Worker's own, survives nothing.
        ("accounted_until", "<u8"),  # time-stamp counter: time up to here was idle or is some tenant's already
        ("resumed_until", "<u8"),  # its value when the last resume ended; 0: something else was done since
        ("clients_cursor", "<u8"),  # tenant whose idle clients were forgotten last
        ("looks_at_clock", "<u8"),  # how often
        ("review_cursor", "<u8"),  # number of the task that is looked at next, whether it must end
        ("give_way", "<u8"),  # tasks that hold this epoch or an older one must end; 0: none
        ("next_look", "<u8"),  # place in looks where the search for work goes on
        ("window", "<u8"),  # number of the window in which shares are counted, from 1
        ("window_end", "<u8"),  # time-stamp counter
        ("active", "<u4"),  # tenants that used any time in this window
        ("active_before", "<u4"),  # in the one before
        ("quantum", "<u8"),  # cycles that a tenant gets a round
        ("young_cycles", "<u8"),  # a task that has used as much is old
        ("window_cycles", "<u8"),  # of a window
        ("ring_head", "<u4", 2),  # tenants with ready tasks, by level: the first one, 0: none
        ("ring_tail", "<u4", 2),  # the last one
        ("ring_length", "<u4", 2),
        ("run_length", "<u4"),  # ready tasks
        ("picked", "<u4"),  # why the task that is resumed was picked
        ("allowance", "<i8"),  # cycles that tasks may still use in this turn while packets wait
        ("old_credit", "<i8"),  # cycles that old tasks may use before others
        ("old_next", "<u4"),  # 1: a young task was served last
        ("first_yields", "<u4"),  # invokes of this batch that yielded
        ("free_tasks", "<u8"),  # address of u32[tasks_count]: stack
        ("free_length", "<u4"),
        ("pad_free", "<u4"),
        # The batch being served: entries before batch_begun were begun, those up to batch_count not. A successor serves those.
        ("batch_count", "<u4"),
        ("batch_begun", "<u4"),
        ("scratch", "<u8"),  # address of bytes for building replies, and for what a TRANSACT reads and writes
        ("batch", "<u8"),  # address of BATCH[RX_BATCH]
        ("poll_fds", "<u8"),  # address of struct pollfd[descriptors]
        ("counters", COUNTERS),
        # Only when it is profiled (splinter.worker.stages).
        ("stages", "<u8", STAGES_MAX),  # ticks of the time-stamp counter by stage
        ("stage_from", "<u8"),  # when the stage began that is under way
    ],
    align=True,
)

# A received packet of the current batch. Writer: the worker.
BATCH = np.dtype(
    [
        ("address", "<u8"),  # XDP: UMEM address; UDP: chunk number
        ("header", "<u8"),  # address of the request's header
        ("frame_length", "<u8"),  # XDP: bytes of the frame
        ("length", "<i8"),  # bytes of its UDP payload; -1: not a whole packet
        ("hashed", "<u8"),  # hash of the key that is read next, 0: none
        ("record", "<u8"),  # address of the abi.RECORD of an extension that was found already, 0: none
        ("tenant", "<u4"),  # who pays for it; 0: nobody, it is no request
        ("opcode", "<u4"),  # as counted: all unknown ones are OPCODES - 1. Its reply may be gone when its latency is noted
        ("reply", "<i8"),  # what became of it, as handle() says
    ]
)

# A reply that waits for the disk. Writer: the worker.
HELD = np.dtype(
    [
        ("chunk", "<u8"),  # as in BATCH
        ("reply", "<u8"),  # its bytes
        ("tenant", "<u8"),
        ("position", "<u8"),  # of the worker's LOG_RING that must be durable; 0: none
        ("sequence", "<u8"),  # of the tenant's commits that must be
        ("started", "<u8"),  # time-stamp counter when its request came
        ("opcode", "<u8"),  # of its request
    ]
)

# Lock of a queue's fill and completion ring, or of a socket's RX ring. One cache line each.
QUEUE_LOCK = np.dtype([("holder", "<u4"), ("pad", "<u4", 15)])  # holder: worker + 1, 0: free

# What a worker saw of a sibling's ring when packets waited there. Writer: the worker.
LOOK = np.dtype([("position", "<u8"), ("since", "<u8")])  # monotonic ns of the first look at this position; 0: none

POLLFD = np.dtype([("fd", "<i4"), ("events", "<i2"), ("revents", "<i2")])
POLLIN = 1

LATENCY_BYTES = LATENCY.itemsize
LATENCY_SCALE_BITS = 24
TENANT_COUNTERS_BYTES = TENANT_COUNTERS.itemsize
WORKER_BYTES = -(-WORKER.itemsize // 64) * 64
QUEUE_LOCK_BYTES = QUEUE_LOCK.itemsize
BATCH_BYTES = BATCH.itemsize
HELD_BYTES = HELD.itemsize
LOOK_BYTES = LOOK.itemsize
