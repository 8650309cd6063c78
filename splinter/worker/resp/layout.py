"""What a worker keeps of the Redis protocol: its door, the connections, the commands that were parsed.

All of it is the worker's own. Nothing survives it: its connections end with the process, and its successor begins anew. So
buffers whose size is not known ahead come from the C library's allocator, and end with the process as well.
"""

from __future__ import annotations

import platform

import numpy as np

from splinter import limits

# A connection. Those that are free have fd -1.
CONNECTION = np.dtype(
    [
        ("fd", "<i4"),
        ("generation", "<u4"),  # counts the connections that had this place: what names one names its generation, too
        ("tenant", "<u4"),  # 0: a stranger
        ("tenant_generation", "<u4"),  # of the tenant's id, when the connection showed its token
        ("token", "<u8"),  # that it showed
        ("id", "<u8"),  # of CLIENT ID
        ("table", "<u4"),
        ("protocol", "<u4"),  # 2 or 3
        ("state", "<u4"),  # bits: STATE_…
        ("interest", "<u4"),  # events that the kernel reports
        # What was received and is not executed yet.
        ("input", "<u8"),  # address, from malloc; 0: nothing
        ("input_length", "<u8"),
        ("input_size", "<u8"),  # of the memory
        ("input_needed", "<u8"),  # bytes without which the first command in it is not whole
        ("scan_at", "<u8"),  # bytes of the first command that were looked through; 0: none
        ("scan_left", "<u8"),  # its arguments behind them
        # Replies that were not sent yet.
        ("output", "<u8"),  # address, from malloc; 0: nothing
        ("output_at", "<u8"),  # bytes of it that were sent
        ("output_length", "<u8"),
        ("output_size", "<u8"),
        ("output_since", "<u8"),  # monotonic ns when some of it was sent last
        ("position", "<u8"),  # of the worker's LOG_RING that must be durable before they are sent; 0: none
        ("sequence", "<u8"),  # of the tenant's commits that must be
        # MULTI and WATCH.
        ("queued", "<u8"),  # commands, one behind the other as they came; address, from malloc; 0: none
        ("queued_length", "<u8"),
        ("queued_size", "<u8"),
        ("queued_count", "<u8"),
        ("watched", "<u8"),  # READs; address, from malloc; 0: none
        ("watched_length", "<u8"),
        ("watched_size", "<u8"),
        # A walk over a table that goes on in the next turn.
        ("walk", "<u8"),  # what it has found; address, from malloc; 0: nothing
        ("walk_length", "<u8"),
        ("walk_size", "<u8"),
        ("walk_cursor", "<u8"),
        ("walk_count", "<u8"),
        ("waits_since", "<u8"),  # monotonic ns since when its first command waits; 0: it does not
        ("began", "<u8"),  # monotonic ns
        ("commands", "<u8"),
        # What its first command waits for (STATE_WAITS): at most one of the two.
        ("call", "<u8"),  # address of the CALL of the extension that it has invoked; 0: none
        ("ask", "<u8"),  # number of what it has asked the control process; 0: nothing
        ("ask_bytes", "<u8"),  # of its first command, if that is to be executed again; 0: it is done with
        ("peer", "u1", 16),  # struct sockaddr_in
        ("name_length", "<u8"),
        ("name", "u1", limits.RESP_NAME_BYTES_MAX),
    ]
)
CONNECTION_BYTES = CONNECTION.itemsize
STATE_MULTI = 1  # commands are queued
STATE_SPOILT = 2  # one of them was refused: EXEC will be
STATE_CLOSING = 4  # it ends when its output is sent
STATE_HELD = 8  # its output waits for the disk; it is in the queue ``held``
STATE_AGAIN = 16  # there is input to go on with; it is in the queue ``again``
STATE_WALKS = 32  # its first command is a walk that has begun
STATE_OVER = 64  # it is to be ended at once
STATE_STRANGE = 128  # it is in the queue ``strangers``
STATE_WAITS = 256  # it waits for a task, or for the control process
STATE_ANSWERED = 512  # the first pieces of what it asked for are in its output
# In place of 0 of a command: its connection waits. The reply comes later, and the command is done with; or it is executed
# again.
CALLS, WAITS = 2, 3

# Connections in an order: u64 each, index | generation << 32, at their number modulo RESP_CONNECTIONS_MAX.
QUEUE = np.dtype([("entries", "<u8"), ("head", "<u8"), ("tail", "<u8")])

# A command that was parsed and is executed next.
PARSED = np.dtype(
    [
        ("start", "<u8"),  # address of its first byte
        ("end", "<u8"),  # and behind its last one
        ("first", "<u4"),  # its arguments in ``arguments``
        ("count", "<u4"),
        ("command", "<u8"),  # address of its COMMAND; 0: there is none of this name
        ("hashed", "<u8"),  # hash of its first key; 0: it has none, or is not looked ahead for
    ]
)
PARSED_BYTES = PARSED.itemsize
# A connection that was read ahead of its turn.
RECEIVED = np.dtype([("name", "<u8"), ("start", "<u8"), ("length", "<u8"), ("hashed", "<u8")])  # hash of its first key; 0: none
RECEIVED_BYTES = RECEIVED.itemsize
AHEAD_MAX = 8  # connections that are read before the first of them is served: in BATCH_US seven are
AHEAD_BYTES = 2048  # that they have sent, after which no more are read
ARGUMENT = np.dtype([("address", "<u8"), ("length", "<u8")])
ARGUMENT_BYTES = ARGUMENT.itemsize

# What the kernel reports: struct epoll_event, which is packed on x86-64 alone.
_IS_PACKED = platform.machine() in ("x86_64", "AMD64")
EVENT = np.dtype({"names": ["events", "data"], "formats": ["<u4", "<u8"], "offsets": [0, 4 if _IS_PACKED else 8],
                  "itemsize": 12 if _IS_PACKED else 16})  # fmt: skip
EVENT_BYTES = EVENT.itemsize
EVENTS = 64  # that are taken at a time
EPOLLIN, EPOLLOUT = 1, 4
EPOLL_CTL_ADD, EPOLL_CTL_MOD = 1, 3
LISTENER, CONTROL = -1, -2  # the data of the events of the listening socket, and of the one to the control process
EPOLLERR, EPOLLHUP = 8, 16

ARGUMENTS_OF_EXEC = 2 * limits.RESP_ARGUMENTS_MAX
ARGUMENTS = ARGUMENTS_OF_EXEC + limits.RESP_ARGUMENTS_MAX
OUTPUT_BYTES = limits.RESP_REPLY_BYTES_MAX + limits.RESP_FLUSH_BYTES + 4096

# Beside keys and values: what one command makes of a value, before it is put.
VALUE_AREA_BYTES = limits.VALUE_BYTES_MAX + 4096

# Before the packet of a call: what its result is, as in an abi.RECORD; of a script's two are kind and number.
CALL = np.dtype([("results", "u1", limits.EXTENSION_RESULTS_TOLD), ("results_count", "<u8"), ("is_script", "<u8")])
CALL_HEAD_BYTES = CALL.itemsize
CALL_ARGUMENTS_BYTES = limits.VALUE_BYTES_MAX
# The reply is written over the request; its error texts name the extension.
CALL_BYTES = CALL_HEAD_BYTES + limits.REQUEST_HEADER_BYTES + limits.EXTENSION_NAME_BYTES_MAX + CALL_ARGUMENTS_BYTES + 1024

# What a worker asks the control process, in a message with its arguments behind it: u32 length and bytes each.
ASK = np.dtype(
    [
        ("number", "<u8"),  # time-stamp counter, and greater than of all asks of this worker before
        ("connection", "<u8"),  # its name; both come back
        ("token", "<u8"),
        ("tenant", "<u4"),
        ("protocol", "<u4"),
        ("count", "<u4"),  # arguments
        ("peer", "u1", 4),  # IPv4 address
    ]
)
ASK_BYTES = ASK.itemsize
# What comes back: pieces of the reply, as it goes to the client, behind this; or ``is_done`` and nothing: the command can be
# executed now.
ANSWER = np.dtype([("number", "<u8"), ("connection", "<u8"), ("has_more", "<u4"), ("is_done", "<u4"), ("tenant", "<u8")])
ANSWER_BYTES = ANSWER.itemsize
# A number: the control process was replaced, and what it was asked is lost. In place of a connection: the first ask that is
# not.
ANSWER_LOST = 0

# A script of a common client, and the extension of the library that does the same.
SCRIPT = np.dtype(
    [
        ("digest", "u1", 20),
        ("name_length", "<u4"),
        ("arguments", "<u8"),  # keys and arguments that it takes
        ("name", "u1", limits.EXTENSION_NAME_BYTES_MAX),
    ]
)
SCRIPT_BYTES = SCRIPT.itemsize

# One worker's. Set up by the supervisor, but for what counts.
DOOR = np.dtype(
    [
        # Addresses of splinter.worker.resp.door's functions, int64 f(w, argument).
        ("open", "<u8"),
        ("serve", "<u8"),
        ("review", "<u8"),
        ("end_call", "<u8"),  # its argument is a task
        ("epoll", "<i4"),
        ("listener", "<i4"),
        ("control", "<i4"),  # socket to the control process
        ("last_ask", "<u8"),  # number of what it was asked last
        ("scratch_event", "<u8"),  # address of an EVENT
        ("scratch_peer", "<u8"),  # address of a struct sockaddr_in, and of its length behind it
        ("events", "<u8"),  # address of EVENT[EVENTS]
        ("events_at", "<u4"),  # those before it were served
        ("events_count", "<u4"),
        ("ahead", "<u8"),  # address of RECEIVED[AHEAD_MAX]
        ("ahead_input", "<u8"),  # address of RESP_RECEIVE_BYTES for each
        ("ahead_at", "<u4"),  # those before it were served
        ("ahead_count", "<u4"),
        ("ahead_bytes", "<u8"),  # that they have sent
        ("ahead_cycles", "<u8"),  # what each owes for the reading
        ("connections", "<u8"),  # address of CONNECTION[RESP_CONNECTIONS_MAX]
        ("free", "<u8"),  # address of u32[RESP_CONNECTIONS_MAX]: stack
        ("free_length", "<u8"),
        ("live", "<u8"),  # connections
        ("strangers_live", "<u8"),  # of them, strangers
        ("tenant_connections", "<u8"),  # address of u32[TENANTS_MAX]
        ("tenant_asks", "<u8"),  # address of u32[TENANTS_MAX]: what the control process was asked and has not answered
        ("tenant_bytes", "<u8"),  # address of u64[TENANTS_MAX]: what their buffers take
        ("bytes", "<u8"),  # all of them
        ("again", QUEUE),  # connections with input to go on with
        ("held", QUEUE),  # those whose output waits for the disk
        ("strangers", QUEUE),  # those that were strangers when they came
        ("quiet", "<u8"),  # looks in a row that found nothing
        ("turns", "<u8"),  # since the last look
        ("deaf_until", "<u8"),  # monotonic ns: the listening socket is not looked at, as there are no descriptors; 0: it is
        ("reviewed", "<u8"),  # connection that is looked at next, whether it must end
        ("ids", "<u8"),  # connections so far
        ("random", "<u8"),  # state of a generator
        ("deadline", "<u8"),  # time-stamp counter when this turn's time is up
        # The connection that is being served.
        ("index", "<u8"),
        ("connection", "<u8"),  # its address
        ("protocol", "<u8"),
        ("table", "<u8"),
        ("call", "<u8"),  # address of CALL_BYTES for the next one, from malloc; 0: there is none
        ("input", "<u8"),  # address of RESP_RECEIVE_BYTES
        ("output", "<u8"),  # address of OUTPUT_BYTES
        ("out_at", "<u8"),  # where the next reply goes
        ("out_end", "<u8"),
        ("overflow", "<u8"),  # 1: a reply had no room
        ("parsed", "<u8"),  # address of PARSED[RESP_COMMANDS_AHEAD]
        (
            "arguments",
            "<u8",
        ),  # address of ARGUMENT[ARGUMENTS]: those that were parsed, then from ARGUMENTS_OF_EXEC on those of EXEC
        ("arguments_used", "<u8"),
        ("words", "<u8"),  # address of 2 × RESP_INLINE_BYTES_MAX: words of commands that came as lines, and those of EXEC
        ("words_used", "<u8"),
        ("upper", "<u8"),  # address of NAME_BYTES_MAX
        ("needed", "<u8"),  # by a command that is not whole: bytes, from its start
        ("scan_at", "<u8"),  # how far it was looked through
        ("scan_left", "<u8"),
        # The command that is being executed.
        ("argv", "<u8"),  # address of its first ARGUMENT
        ("argc", "<u8"),
        ("command", "<u8"),  # address of its COMMAND
        ("hashed", "<u8"),  # of its first key, 0: not known
        ("is_exec", "<u8"),  # 1: it is one of an EXEC
        ("budget", "<i8"),  # what is left of it to the functions of an EXEC
        ("frame", "<u8"),  # address of an abi.FRAME: its transaction
        ("frame_large", "<u8"),  # address of a LARGE: of the value that is being set
        ("value", "<u8"),  # address of VALUE_AREA_BYTES
        ("number", "<u8"),  # what a parser of numbers has found
        # Made once.
        ("lines", "<u8"),  # splinter.worker.resp.lines
        ("commands", "<u8"),  # address of COMMAND[COMMANDS_SLOTS], by hash of the name
        ("about", "<u8"),  # splinter.worker.resp.table: what COMMAND tells
        ("about_bytes", "<u8"),  # of it in RESP2; the same in RESP3 stands behind it
        ("scripts", "<u8"),  # address of SCRIPT[scripts_count]
        ("scripts_count", "<u8"),
        ("facts", "<u8"),  # splinter.worker.resp.facts: what INFO and CONFIG tell
        ("since", "<u8"),  # monotonic ns when this worker's process began
        ("wall_ahead", "<i8"),  # ns that the host's clock is ahead of the store's; 0: not known yet
        ("realtime", "<u8"),  # address of 16 bytes: a timespec
    ],
    align=True,
)

# A command, in a hash table that is open-addressed by the upper-case name, zeros behind it.
COMMAND = np.dtype(
    [
        ("name", "<u8", 3),
        ("number", "<u4"),  # splinter.worker.resp.commands.Number; 0: the slot is free
        ("arity", "<i4"),  # arguments, its name included; less than 0: at least as many
        ("flags", "<u4"),  # FLAG_…
        ("first_key", "<u4"),  # argument; 0: none
        ("last_key", "<i4"),  # -1: the last argument
        ("key_step", "<u4"),
        ("about", "<u4"),  # what COMMAND INFO tells: offset in the area of all that is told
        ("about_length", "<u4"),
        ("docs_length", "<u4"),  # what COMMAND DOCS tells stands behind it
    ]
)
COMMAND_BYTES = COMMAND.itemsize
COMMANDS_SLOTS = 512
NAME_BYTES_MAX = 24
FLAG_WRITE = 1
FLAG_READONLY = 2
FLAG_NO_AUTH = 4  # strangers may
FLAG_NO_MULTI = 8  # not in a transaction
FLAG_NOT_QUEUED = 16  # it is executed where others are queued
FLAG_STORE = 32  # it is a transaction over objects
FLAG_WALK = 64  # it goes over a table, in several turns
