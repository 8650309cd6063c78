"""The memory that an extension works on in the kernel: one record for each CPU, and the addresses that its code computes with.

An address is a word, as in the worker, but no pointer: what is below ``SCRATCH_BYTES`` is a place in the record, what has
``OBJECT_ADDRESS`` set is a byte of the store's slabs. Each access turns it into a pointer and bounds it once more, since the
kernel's verifier knows nothing of what ours has proved.
"""

from __future__ import annotations

from splinter.ext.abi import FRAME, FRAME_HEADER_BYTES
from splinter.extras import with_advice
from splinter.layout import offset
from splinter.limits import EXTENSION_SCRATCH_BYTES, FRAME_BYTES, KEY_AREA_BYTES, PACKET_BODY_BYTES_MAX

try:
    import numpy as np
except ModuleNotFoundError as error:
    raise with_advice(error) from None

CELLS_MAX = 512  # registers that more than one block knows
STACK_CELLS_MAX = 32
DATA_BYTES_MAX = 2048  # constants and tables: written at the start of each run
BUDGET = 32_768  # what a run may spend: 64 look-ups; who needs more goes to the worker
OBJECT_ADDRESS = 1 << 40  # above every offset in the slabs (splinter.limits.STORE_BYTES_MAX)

# Writers: the program, and the code that it calls; nothing of it outlives a packet.
SCRATCH = np.dtype(
    [
        ("frame", FRAME.dtype),  # splinter.ext.abi
        ("memory", "u1", FRAME_BYTES - FRAME_HEADER_BYTES),  # of the frame, behind its header: areas and slots
        ("cells", "<u8", CELLS_MAX),
        ("stack", "<u8", STACK_CELLS_MAX),  # cells of SCRATCH
        ("data", "u1", DATA_BYTES_MAX),
        ("arguments", "u1", PACKET_BODY_BYTES_MAX),  # as they came
        ("arguments_end", "<u8"),  # the last word of arguments may reach into it
        ("key_length", "<u8"),  # of the look-up: with the next two struct key of bpf/store.h
        ("key_laundered", "<u8"),
        ("key", "u1", KEY_AREA_BYTES),  # behind a block of whatever content
        ("snapshot", "<u8"),  # number of the tenant's commit whose state is read
        # Random number of the code that is to run: a tail call can meet what has just replaced another tenant's. Writer: the
        # program that calls
        ("identity", "<u8"),
        ("slot", "<u4"),  # of the extension in the map of programs. Writer: likewise
        ("ip_at", "<u4"),  # where the IP header begins in the frame. Writer: likewise
        ("broken", "<u8"),  # not 0: something could not be read, so the result is none
        ("laundered", "<u8"),  # values pass through here to become numbers that the kernel's verifier knows nothing of
        ("zero", "<u8"),  # which it does not know either
        ("reserved", "u1", 16384 - FRAME_BYTES - 8 * (CELLS_MAX + STACK_CELLS_MAX) - DATA_BYTES_MAX - PACKET_BODY_BYTES_MAX
         - KEY_AREA_BYTES - 8 * 9),
        ("end", "<u8"),  # what begins at the last address may reach into it
    ]
)  # fmt: skip
SCRATCH_BYTES = 1 << 14  # addresses of the record; a power of two, to be bounded by one instruction
assert offset(SCRATCH, "end") == SCRATCH_BYTES and SCRATCH.itemsize == EXTENSION_SCRATCH_BYTES

CELLS, STACK, DATA, IDENTITY = (offset(SCRATCH, name) for name in ("cells", "stack", "data", "identity"))

# What a run returns.
RUN_HAND_OVER = 0  # the worker has to do it, from the beginning; also what a loop without an end returns
RUN_DONE = 1  # and the number of the ResultKind: the result is in the frame
