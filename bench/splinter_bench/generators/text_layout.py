"""What a text client keeps in memory for its compiled loops: one RUN, and a CONNECTION for each connection."""

from __future__ import annotations

import numpy as np

from splinter.native.records import record

RUN = np.dtype(
    [
        ("requests", "<i8"),  # address of all requests, one behind the other
        ("request_ends", "<i8"),  # address of count + 1 offsets: where each begins, and the last ends
        ("replies", "<i8"),
        ("reply_ends", "<i8"),
        ("count", "<i8"),  # requests: a multiple of a group's
        ("cursor", "<i8"),  # first request of the next group
        ("left", "<i8"),  # groups that may still be begun
        ("pipeline", "<i8"),
        ("steps", "<i8"),
        ("is_datagram", "<i8"),
        ("record_from_ns", "<i8"),
        ("record_until_ns", "<i8"),  # nothing is begun from here on
        ("reply_ns_max", "<i8"),  # a reply that takes longer is lost
        ("cells", "<i8"),  # address of the histogram's
        ("busy", "<i8"),  # connections with a group under way
        ("sent", "<i8"),
        ("recorded", "<i8"),
        ("corrupt", "<i8"),
        ("lost", "<i8"),
        ("stale", "<i8"),
    ]
)
CONNECTION = np.dtype(
    [
        ("fd", "<i8"),
        ("buffer", "<i8"),  # address of room for the longest reply of a step
        ("first", "<i8"),  # first request of the step under way; -1: nothing is
        ("steps_left", "<i8"),  # of the group, after this one
        ("got", "<i8"),  # bytes of the step's reply
        ("begun_ns", "<i8"),  # when the group's first step was sent
        ("sent_ns", "<i8"),  # when this step was
    ]
)
CONNECTION_BYTES = CONNECTION.itemsize

Run = record(RUN)
Connection = record(CONNECTION)
