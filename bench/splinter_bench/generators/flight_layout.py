"""The memory behind a load generator's requests: what compiled loops read and write, and its records for them.

One process owns all of it; nothing is shared.
"""

from __future__ import annotations

import numpy as np

from splinter.native.records import record

WINDOW = 1 << 16  # a sequence number's entry is used again after this many
IN_FLIGHT_MAX = WINDOW - 1024  # requests under way at most; the rest of the window is for their fragments

# One kind of packet, ready to be copied into place. A request that takes several packets has as many of these, one behind the
# other, in the order of its fragments.
TEMPLATE = np.dtype(
    [
        ("frame", "<i8"),  # address of the bytes of the whole frame, Ethernet header first
        ("length", "<i8"),  # bytes of it
        ("patches", "<i8"),  # address of PATCH records: numbers of the schedule that are written into the frame
        ("patch_count", "<i8"),
        ("reply", "<i8"),  # address of the value that an OK reply must carry
        ("reply_length", "<i8"),  # bytes of it; -1: any
        ("reply_patches", "<i8"),  # address of PATCH records: numbers that are in the reply
        ("reply_patch_count", "<i8"),
        ("answers", "<i8"),  # of a batch: requests in it, each of which has a status of its own in the reply; 0: it is none
        ("pieces", "<i8"),  # fragments of the value: of a put's request, of a get's reply
        ("is_put", "<i8"),  # 1: its fragments are packets of one sequence number; 0: a get's are requests of their own
        ("may_miss", "<i8"),  # 1: that there is no such object is a right answer
        ("is_mutation", "<i8"),  # 1: the request says which replies the client does not wait for any longer
        ("then", "<i8"),  # address of the template that follows an OK reply, with the version it carried; 0: none
        ("histogram", "<i8"),  # address of the cells that its latencies are counted in
        ("operation", "<i8"),  # index of the workload's operation
        ("unsent", "<i8"),  # latencies among them that are of arrivals which were never sent
    ]
)

PATCH = np.dtype(
    [
        ("place", "<i8"),  # where the 64-bit number stands: offset in the frame, or in the reply's value
        ("column", "<i8"),  # which of the numbers of the schedule's entry; in a reply ANY_VERSION: one that nobody knows
    ]
)

ACCOUNT = np.dtype([("tenant", "<i8"), ("token", "<u8")])  # who asks

# A request of one number that was sent. A request that brings others with it (fragments of a large value, the put of a
# read-modify-write) is their root, and is answered when all of them are.
PENDING = np.dtype(
    [
        ("sent_ns", "<i8"),  # when; 0: nothing is under way in this entry
        ("intended_ns", "<i8"),  # root: when it should have been sent; latencies count from here
        ("sequence", "<i8"),
        ("template", "<i8"),  # address of its (first) TEMPLATE
        ("numbers", "<i8"),  # address of the numbers of its schedule's entry
        ("shift", "<i8"),  # what was added to the first of them
        ("account", "<i8"),  # address of its ACCOUNT; 0: the template's own
        ("missing", "<i8"),  # bits: fragments without a reply; root: CHAIN_BIT too while something follows
        ("root", "<i8"),  # sequence number of its root; its own when it is one
        ("root_bit", "<i8"),  # which bit of the root's ``missing`` its reply clears
        ("version", "<i8"),  # of the object, as replies said; 0: none did
        ("corrupt", "<i8"),  # 1: a reply was not what it should be
    ]
)
CHAIN_BIT = 1 << 62  # above the bits of all fragments

# What a root still has to send. A root has at most one of these.
FOLLOWING = np.dtype(
    [
        ("root", "<i8"),  # its sequence number
        ("template", "<i8"),  # address of the first fragment's TEMPLATE, or of what follows
        ("piece", "<i8"),  # next fragment to send
        ("pieces", "<i8"),  # ends before this one
        ("is_chain", "<i8"),  # 1: the put of a read-modify-write, or the get that it begins with again
    ]
)

# One line of a recording.
RECORDED = np.dtype([("time_ns", "<i8"), ("number", "<i8"), ("operation", "<u4"), ("tenant", "<u4")])

FLIGHT = np.dtype(
    [
        # The workload.
        ("templates", "<i8"),  # address of the addresses of the operations' first TEMPLATE
        ("choice", "<i8"),  # address of the schedule's operations, 16 bits each
        ("numbers", "<i8"),  # address of the schedule's numbers, ``columns`` of 64 bits for each entry
        ("columns", "<i8"),
        ("accounts", "<i8"),  # address of ACCOUNT records; 0: the templates say who asks
        ("account_choice", "<i8"),  # address of the schedule's accounts, 16 bits each
        ("schedule_entries", "<i8"),
        ("cursor", "<i8"),  # next entry of the schedule
        ("shift", "<i8"),  # added to each first number
        ("reach", "<i8"),  # no request is begun while one that was begun so many numbers before it has no reply
        ("advance", "<i8"),  # by how much ``shift`` grows when the schedule starts again
        # How it is run.
        ("depth", "<i8"),  # requests under way at most
        ("remaining", "<i8"),  # requests that may still be sent
        ("until_ns", "<i8"),  # none is sent that is due later
        ("gaps", "<i8"),  # address of the times between arrivals in ns, 64 bits each; 0: closed loop
        ("gap_entries", "<i8"),
        ("gap_cursor", "<i8"),
        ("next_ns", "<i8"),  # when the next arrival is due; closed loop: 0, it always is
        ("late_ns", "<i8"),  # how long after ``until_ns`` is still sent what was due before; closed loop: 0
        ("timeout_ns", "<i8"),
        ("record_from_ns", "<i8"),  # what is recorded is in [from, until): not warm-up and draining
        ("record_until_ns", "<i8"),
        # What is under way.
        ("pending", "<i8"),  # address of WINDOW PENDING records
        ("following", "<i8"),  # address of WINDOW FOLLOWING records
        ("following_head", "<i8"),  # free-running
        ("following_tail", "<i8"),
        ("client", "<i8"),  # the first client id; the others are the next ones
        ("clients", "<i8"),  # how many there are: requests are theirs by turns
        ("stride", "<i8"),  # sequence numbers on the wire that each request has for itself
        ("numbered_from", "<i8"),  # the first request that is numbered so
        ("first_on_wire", "<i8"),  # its number on the wire, and that of each client's first one
        ("next_sequence", "<i8"),  # number of the next request, from 1
        ("oldest", "<i8"),  # every request with a lower number has been answered or given up
        ("in_flight", "<i8"),  # requests, not packets
        # What was found.
        ("statuses", "<i8"),  # address of 256 counters, one for each status
        ("series", "<i8"),  # address of the intervals' cells; 0: no time series
        ("series_intervals", "<i8"),
        ("series_interval_ns", "<i8"),
        ("recording", "<i8"),  # address of RECORDED records; 0: not recorded
        ("recording_room", "<i8"),  # of how many
        ("recording_count", "<i8"),
        ("recording_start_ns", "<i8"),
        ("sent", "<i8"),  # requests
        ("answered", "<i8"),  # replies that found their request, in the recorded time or not
        ("completed", "<i8"),  # requests that have all their replies, OK or not
        ("recorded", "<i8"),  # OK requests that were answered in the recorded time
        ("lost", "<i8"),  # requests without a reply in time
        ("unsent", "<i8"),  # arrivals of an open loop that had to wait until the end
        ("conflicts", "<i8"),  # read-modify-writes that found another version and began again
        ("stale", "<i8"),  # packets that answer no request under way
        ("checked", "<i8"),  # replies whose whole value was compared
        ("corrupt", "<i8"),  # OK replies with a wrong value
        ("by_kernel", "<i8"),  # replies that the server's XDP program made
    ]
)
COUNTERS = (
    "sent", "answered", "completed", "recorded", "lost", "unsent", "conflicts", "stale", "checked", "corrupt", "by_kernel",
)  # fmt: skip

State = record(FLIGHT)
Template = record(TEMPLATE)
Patch = record(PATCH)
Account = record(ACCOUNT)
Pending = record(PENDING)
Following = record(FOLLOWING)
Recorded = record(RECORDED)
