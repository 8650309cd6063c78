"""What a compiled extension and the worker that runs it agree on.

A compiled extension is one function, ``int64_t resume(int64_t frame, int64_t context)``: a stackless coroutine. All that
must survive a yield lies in the frame, a block of ``FRAME_BYTES`` in shared memory: the header below, then the locals. The
worker zeroes ``state``, fills the inputs and calls ``resume`` until it returns something other than ``RESUME_YIELD``.
The context is one per worker: addresses of the helpers, and what the helpers need. Extensions read the helper addresses
and nothing else of it.
"""

from __future__ import annotations

from enum import IntEnum

from splinter import limits
from splinter.errors import NumberWithText, Status
from splinter.layout import Layout

RESUME_DONE = 0  # the result is in the frame
RESUME_YIELD = 1  # call again
RESUME_ERROR = 2  # error and line are in the frame

FRAME = Layout(
    ("state", "<u4"),  # resume point; 0: not started. Writer: extension
    ("line", "<u4"),  # source line of the error. Writer: extension
    ("budget", "<i8"),  # what may be spent before a forced yield. Writer: worker refills, extension spends
    ("arguments", "<u8"),  # address of the packed arguments. Writer: worker
    ("arguments_length", "<u4"),  # bytes
    ("tenant", "<u4"),  # Writer: worker; helpers take the tenant from here, never from the extension
    ("result", "<u8"),  # scalar, or address of a bytes result. Writer: extension
    ("result_length", "<u4"),  # bytes of a bytes result
    ("error", "<u4"),  # ExtensionError. Writer: extension or helper
    ("out_address", "<u8"),  # helper get: address of the value found; these three are 0 when there is none
    ("out_length", "<u8"),  # and its length in bytes
    ("out_version", "<u8"),  # and its version; helper add: the counter's new value
    ("put_bytes", "<u8"),  # what the task's puts took so far. Writer: worker (zero at the start) and its helpers
    # Whose request it is. Writer: worker.
    ("client", "<u8"),
    ("sequence", "<u8"),
    ("acknowledged", "<u8"),  # 0: it may run as often as it comes
    ("since_ns", "<u8"),  # monotonic clock when it began, roughly
    # splinter.store.outcomes.EFFECT_…: whether it has written, if it does so without isolation. Writer: helpers
    ("effect", "<u8"),
    ("generation", "<u8"),  # of the tenant. Writer: worker
    # Its transaction (splinter.worker.transaction), or what it did (splinter.worker.replay). Writer: worker and helpers.
    ("isolation", "<u4"),  # Isolation
    ("writes", "<u4"),  # number of WRITEs that stand
    ("snapshot", "<u8"),  # what it reads
    # Address of its TRANSACTION_AREA_BYTES: READs, and from TRANSACTION_READS_BYTES on WRITEs; or NOTES
    ("transaction", "<u8"),
    ("reads_end", "<u8"),  # address behind the last READ
    ("writes_end", "<u8"),  # address behind the last WRITE
    ("written", "<u8"),  # bit h % 64 for each hash h of a key that is written
    ("call", "<u8"),  # calls of helpers so far in this slice that are noted
    # Last commit of the tenant that it has seen something of. Writer: worker, helpers
    ("shown", "<u8"),
    ("now", "<u8"),  # the store's clock at its snapshot: what has expired by then is not there. Writer: worker
    ("expires", "<u8"),  # when what the last look-up of a transaction found does; 0: never. Writer: helpers
)
FRAME_HEADER_BYTES = FRAME.itemsize
assert FRAME_HEADER_BYTES == 208
F_STATE = FRAME.offset("state")
F_LINE = FRAME.offset("line")
F_BUDGET = FRAME.offset("budget")
F_ARGUMENTS = FRAME.offset("arguments")
F_ARGUMENTS_LENGTH = FRAME.offset("arguments_length")
F_TENANT = FRAME.offset("tenant")
F_RESULT = FRAME.offset("result")
F_RESULT_LENGTH = FRAME.offset("result_length")
F_ERROR = FRAME.offset("error")
F_OUT_ADDRESS = FRAME.offset("out_address")
F_OUT_LENGTH = FRAME.offset("out_length")
F_OUT_VERSION = FRAME.offset("out_version")

CONTEXT = Layout(
    # int64 get(context, frame, table, key, key_length): 1 found (out_* in the frame), 0 not; < 0: -ExtensionError
    ("get", "<u8"),
    # int64 put(context, frame, table, key, key_length, value, value_length): 0 done; < 0: -ExtensionError
    ("put", "<u8"),
    # int64 delete(context, frame, table, key, key_length): 1 deleted, 0 was not there; < 0: -ExtensionError
    ("delete", "<u8"),
    ("store", "<u8"),  # address of the store's descriptor, for the helpers
    ("participant", "<u8"),  # the worker's number in the store, for the helpers
    # int64 put_if(context, frame, table, key, key_length, value, value_length, version): 1 put, 0 the object's version
    # is another one (version 0: there is an object); < 0: -ExtensionError. A pointer of 0: not offered
    ("put_if", "<u8"),
    # int64 now_ns(context, frame): nanoseconds of the monotonic clock
    ("now_ns", "<u8"),
    # int64 log(context, frame, text, length): 0; an entry of the tenant's debug log, cut at LOG_TEXT_BYTES_MAX
    ("log", "<u8"),
    ("exp", "<u8"),  # the C library's double exp(double)
    ("log_e", "<u8"),  # the C library's double log(double)
    ("log_area", "<u8"),  # address of the worker's LOG, for the helper
    # int64 add(context, frame, table, key, key_length, n): 0, and the counter's new value in out_version; < 0:
    # -ExtensionError
    ("add", "<u8"),
    # int64 delete_if(context, frame, table, key, key_length, version): 1 deleted, 0 the object's version is another one, or
    # there is none; < 0: -ExtensionError
    ("delete_if", "<u8"),
    # As put and put_if; ttl, behind their operands: seconds that the object lives, the bits of a float64
    ("put_ttl", "<u8"),
    ("put_if_ttl", "<u8"),
    # int64 expire(context, frame, table, key, key_length, ttl): 1 the object lives for so long from now on, 0 there is
    # none; < 0: -ExtensionError. persist(…, key_length): for ever
    ("expire", "<u8"),
    ("persist", "<u8"),
    # int64 ttl(context, frame, table, key, key_length): 0, and in out_version, as the bits of a float64, the seconds that
    # the object still lives, 0 when there is none; < 0: -ExtensionError
    ("ttl", "<u8"),
    ("reserved", "<u8", 14),
)
C_GET = CONTEXT.offset("get")
C_PUT = CONTEXT.offset("put")
C_DELETE = CONTEXT.offset("delete")
C_PUT_IF = CONTEXT.offset("put_if")
C_NOW_NS = CONTEXT.offset("now_ns")
C_LOG = CONTEXT.offset("log")
C_EXP = CONTEXT.offset("exp")
C_LOG_E = CONTEXT.offset("log_e")
C_ADD = CONTEXT.offset("add")
C_DELETE_IF = CONTEXT.offset("delete_if")
C_PUT_TTL = CONTEXT.offset("put_ttl")
C_PUT_IF_TTL = CONTEXT.offset("put_if_ttl")
C_EXPIRE = CONTEXT.offset("expire")
C_PERSIST = CONTEXT.offset("persist")
C_TTL = CONTEXT.offset("ttl")


class Isolation(IntEnum):
    """What a task sees of others, and others of it."""

    NONE_READS = 0  # each get stands for itself, and there is nothing else
    NONE_WRITES = 1  # each get, put and delete stands for itself
    READS = 2  # a transaction that only reads
    WRITES = 3  # a transaction that may write


MAY_WRITE = 1  # the bit of an Isolation


class ExtensionError(NumberWithText):
    """Why an extension ended with EXTENSION_ERROR."""

    INDEX = 1, "index out of range"
    OVERFLOW = 2, "integer overflow"
    DIVISION = 3, "division by zero"
    SHIFT = 4, "shift count out of range"
    # A method of None: get found nothing and the code did not check.
    NONE = 5, "the object was not found and its view is None"
    KEY = 6, "a key has 1 to 255 bytes"
    TABLE = 7, "table number out of range"
    VALUE = 8, "value too large"
    OUT_OF_MEMORY = 9, "the store is full"
    QUOTA = 10, "the tenant's quota is used up"
    BUSY = 11, "the tenant's objects were locked, or memory was waited for, too long"
    BUDGET = 12, "the task used up its total budget"
    ASSERTION = 13, "assertion failed"
    # A bytes argument lies outside the argument block; the worker answers BAD_ARGUMENTS.
    ARGUMENTS = 14, "arguments do not fit the extension's signature"
    CAPACITY = 15, "the buffer is full"
    DOMAIN = 16, "no such value: the argument is outside of the function's domain"
    RAISED = 17, "raised by the extension"  # its own `raise Error(code)`; the code is in frame.result
    UNAVAILABLE = 18, "this server does not offer the operation"  # the helper's pointer in the context is 0
    TIME = 19, "the task took longer than a task may, its waits included"
    MEMORY_HELD = 20, "the task gave way: it kept memory from others for too long; try again"
    TRANSACTION = 21, 'more is read or written than one transaction may; isolation="none" has no such limit'
    # Begun anew by the worker, and told only when that was in vain.
    CONFLICT = 22, "what the task reads is changed by others all the time"
    COUNTER = 23, "the object is no counter: a counter has 8 bytes"
    TTL = 24, Status.BAD_TTL.text
    # Told where something was written before; who wrote nothing yet is answered with the status DISK_FAILED.
    DISK = 25, "the server's disk takes no writes; what the task wrote before stands"


def error_message(name: str, error: int, line: int) -> str:
    """What an EXTENSION_ERROR's reply says: which extension, which line of its source, what went wrong."""
    try:
        text = ExtensionError(error).text
    except ValueError:
        text = f"error {error}"
    return f"{name}, line {line}: {text}" if line else f"{name}: {text}"


# What an installed extension is in the store: an object of the tenant in TABLE_EXTENSIONS under the extension's name, whose
# value is this record and then msgpack metadata (signature, source digest) for the control plane.
RECORD = Layout(
    ("code", "<u8"),  # address of resume() in every worker
    ("signature_hash", "<u8"),  # Signature.hash: 64 bits, never 0
    ("arguments_bytes_min", "<u4"),  # 8 × parameters
    ("frame_bytes", "<u4"),  # header and locals
    ("result_kind", "<u4"),  # ResultKind
    ("version", "<u4"),  # counts installs under this name, from 1
    ("code_offset", "<u4"),  # where in the code region: of the block that it lies in, maybe with others
    ("code_bytes", "<u4"),
    ("metadata_length", "<u4"),  # bytes of msgpack behind this record
    ("statistics", "<u4"),  # slot of the extension's counters, 0 … EXTENSIONS_MAX - 1
    # What its first get reads, where the arguments tell: the worker asks for that object before it runs the extension.
    # A wrong hint costs a little time, never more. FirstKey, then the number of the parameter that is the key.
    ("first_key", "u1"),
    ("first_key_parameter", "u1"),
    ("first_table_parameter", "u1"),  # number of the integer parameter that is the table; NO_PARAMETER: it is first_table
    ("isolation", "u1"),  # Isolation
    ("first_table", "<u4"),
    # Identity of its code in the kernel, whose program stands at ``statistics`` of the map ``kernel_extensions``; 0: it has
    # none that is used
    ("kernel", "<u8"),
    # ValueKind of each parameter, and of each result: for who has texts in place of packed arguments.
    ("parameters", "u1", limits.EXTENSION_PARAMETERS_MAX),
    ("results", "u1", limits.EXTENSION_RESULTS_TOLD),
    ("results_count", "<u8"),  # of a tuple; 0: the result is no tuple
)
NO_PARAMETER = 0xFF


class FirstKey(IntEnum):
    """Where the key of an extension's first get comes from: no one knows, the 8 bytes of an integer parameter, the bytes
    of a bytes parameter."""

    UNKNOWN = 0
    INTEGER = 1
    BYTES = 2


class ValueKind(IntEnum):
    """A type of arguments and results."""

    NONE = 0
    U64 = 1
    I64 = 2
    BOOL = 3
    F64 = 4
    BYTES = 5


class ResultKind(IntEnum):
    """How the worker makes the reply's value from the frame: nothing, the 8 bytes of ``result``, or the bytes it names."""

    NONE = 0
    SCALAR = 1
    BYTES = 2
