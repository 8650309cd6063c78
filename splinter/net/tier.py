"""What the XDP program's tier shares with the server: what it must know, its epochs, and what it has done for whom.

The tier answers gets from within the driver (``bpf/answer.h``). Its records lie in BPF maps of their own; the C structures in
``bpf/shared.h`` are generated from these dtypes.
"""

from __future__ import annotations

import numpy as np

from splinter import limits
from splinter.net.bpf import Kind, MapForm, maps

# The map ``tier``, one element.
TIER = np.dtype(
    [
        # UDP payload of the largest reply that fits the device, and of any: the program relies on it. Writer: supervisor
        ("packet_bytes_max", "<u4"),
        ("takes_partial", "<u4"),  # 1: a checksum of the pseudo header alone will do. Writer: supervisor
        ("cpus", "<u4"),  # CPUs that there are cells for. Writer: supervisor
        ("window_units", "<u4"),  # work of one CPU in a window, of which a tenant has half beside others. Writer: supervisor
        ("pad", "<u8", (6,)),  # to a cache line
    ]
)
assert TIER.itemsize == 64

# One record for each CPU, in the map ``cpu_epochs``. Writer: the program on that CPU.
CPU = np.dtype(
    [
        # The global epoch at which a packet began to be answered; EPOCH_OFFLINE: the CPU refers to nothing of the store. Read
        # by everybody who retires objects
        ("epoch", "<u8"),
        ("jiffy", "<u8"),  # of the kernel's clock tick, when it last looked at the time
        ("since_ns", "<u8"),  # monotonic clock when its window began
        ("window", "<u8"),  # number of its window, from 0
        ("units", "<u8"),  # work in this window, for all tenants
        ("pad", "<u8", (3,)),
        # struct key of bpf/store.h: the key that is looked up
        ("key_length", "<u8"),
        ("laundered", "<u8"),
        ("key", "u1", (limits.KEY_AREA_BYTES,)),
        ("pad_key", "<u8", (18,)),
    ]
)
assert CPU.itemsize == 512

# What a CPU has done for a tenant: the map ``tenant_work``, at CPU x TENANTS_MAX + tenant. Writer: the program on that CPU.
TENANT_WORK = np.dtype(
    [
        ("gets", "<u8"),  # gets answered, found or not
        ("units", "<u8"),  # work: WORK_UNITS_PER_GET for each get or invoke, 1 for each 64 bytes that are summed up or copied
        ("window", "<u8"),  # the CPU's window that ``spent`` is of
        ("spent", "<u8"),  # work in that window
    ]
)
assert TENANT_WORK.itemsize == 32

# An element of the map ``extension_code``: what a later server makes the program of a slot of. Writer: control process
EXTENSION_CODE = np.dtype(
    [
        ("identity", "<u8"),  # of the code, as the extension's record has it
        ("length", "<u8"),  # bytes of the ELF file, with which what follows begins
        ("object_file", f"V{limits.EXTENSION_OBJECT_BYTES_MAX}"),
        ("pad", "V4"),
    ]
)
assert EXTENSION_CODE.itemsize % 8 == 0

_NO_PREALLOC = 1  # flag of a hash: an element takes memory when it is there

WORK_UNITS_PER_GET = 4
WORK_BYTES_PER_UNIT_SHIFT = 6
WORK_BUDGET_PER_UNIT_SHIFT = 7  # of what an extension spends: a look-up is 4 units, as a get
WINDOW_NS = 10_000_000
WINDOW_UNITS = 500_000
"""Work that a CPU does in a window when it does nothing else: a unit takes some 20 ns."""


def forms(cpus: int | None = None) -> dict[str, MapForm]:
    """The tier's own maps, by name; ``cpus``: of the machine, by default all that there may be."""
    cpus = cpus or maps.possible_cpus()
    return {
        "tier": MapForm.shared(TIER.itemsize, 1),
        "cpu_epochs": MapForm.shared(CPU.itemsize, cpus),
        "tenant_work": MapForm.shared(TENANT_WORK.itemsize, cpus * limits.TENANTS_MAX),
        "kernel_extensions": MapForm(Kind.PROG_ARRAY, 4, limits.EXTENSIONS_MAX),
        "extension_counts": MapForm(Kind.PERCPU_ARRAY, 8, limits.EXTENSIONS_MAX),
        "extension_code": MapForm(Kind.HASH, EXTENSION_CODE.itemsize, limits.EXTENSIONS_MAX, _NO_PREALLOC),
        "extension_scratch": MapForm(Kind.PERCPU_ARRAY, limits.EXTENSION_SCRATCH_BYTES, 1),
    }
