"""The records that the worker's compiled code reads and writes; see :mod:`splinter.native.records`.

``w`` in compiled functions is the address of a worker's block, ``t`` that of a task, ``header`` that of a request's header.
"""

from __future__ import annotations

from splinter.ext import abi
from splinter.layout import offset
from splinter.native.records import record
from splinter.net import tenants
from splinter.net.depths import DEPTH
from splinter.wire import ANSWER, BATCHED, ENTRY, HEADER
from splinter.worker import layout

Answer = record(ANSWER.dtype)
Batched = record(BATCHED.dtype)
Context = record(abi.CONTEXT.dtype)
Counters = record(layout.COUNTERS, behind=offset(layout.WORKER, "counters"))  # of the worker whose block is there
Depth = record(DEPTH)  # a core's: how many packets wait for it
Entry = record(ENTRY.dtype)
Extension = record(abi.RECORD.dtype)
Frame = record(abi.FRAME.dtype)
Header = record(HEADER.dtype)
Held = record(layout.HELD)
Latency = record(layout.LATENCY)
Look = record(layout.LOOK)
Packet = record(layout.BATCH)
PollFd = record(layout.POLLFD)
Rate = record(tenants.RATE)
Tenant = record(tenants.TENANT)
TenantCounters = record(layout.TENANT_COUNTERS)
Worker = record(layout.WORKER)
