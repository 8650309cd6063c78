"""The replies that are always the same: a line each, in memory for compiled code."""

from __future__ import annotations

from enum import unique

import numpy as np
from numba import njit

from splinter import limits
from splinter.errors import NumberWithText
from splinter.native.atomics import load32
from splinter.worker.resp.layout import CALL_ARGUMENTS_BYTES

_ENTRY_BYTES = 8  # u32 offset from the start of the area, u32 length
_TRY = "try again"


@unique
class Line(NumberWithText):
    """A reply in one line, without its end. Of an error the first word is the one that Redis has, if that has the error."""

    OK = 1, "+OK"
    PONG = 2, "+PONG"
    QUEUED = 3, "+QUEUED"
    RESET = 4, "+RESET"
    STRING = 5, "+string"
    NONE = 6, "+none"
    SYNTAX = 10, "-ERR syntax error"
    NOT_INTEGER = 11, "-ERR value is not an integer or out of range"
    NOT_FLOAT = 12, "-ERR value is not a valid float"
    OVERFLOW = 13, "-ERR increment or decrement would overflow"
    NOT_FINITE = 14, "-ERR increment would produce NaN or Infinity"
    OFFSET = 15, "-ERR offset is out of range"
    TOO_LONG = 16, f"-ERR string exceeds maximum allowed size ({limits.LARGE_BYTES_MAX} bytes)"
    NO_KEY = 17, "-ERR no such key"
    KEY = 18, f"-ERR a key has 1 to {limits.KEY_BYTES_MAX} bytes"
    SAME = 19, "-ERR source and destination objects are the same"
    TABLE = 20, "-ERR DB index is out of range"
    LARGE = 22, f"-ERR a value of more than {limits.VALUE_BYTES_MAX} bytes: it cannot be written, or read, in this way"
    CURSOR = 23, "-ERR invalid cursor"
    NX_XX = 24, "-ERR NX and XX, GT or LT options at the same time are not compatible"
    GT_LT = 25, "-ERR GT and LT options at the same time are not compatible"
    FLOAT_RANGE = 26, "-ERR the result has too many digits"
    NO_AUTH = 30, "-NOAUTH Authentication required."
    WRONG_PASS = 31, "-WRONGPASS invalid username-password pair or user is disabled."
    NEEDS_TENANT = 32, "-WRONGPASS AUTH takes a tenant and its token: AUTH <tenant> <token>"
    PROTOCOL_VERSION = 33, "-NOPROTO unsupported protocol version"
    VERSION_NUMBER = 34, "-ERR Protocol version is not an integer or out of range"
    HELLO_NO_AUTH = 35, (
        "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
        "option can be used to authenticate the client and select the RESP protocol version at the same time"
    )  # fmt: skip
    HELLO_SYNTAX = 36, "-ERR Syntax error in HELLO option"
    NAME = 37, "-ERR Client names cannot contain spaces, newlines or special characters."
    NAME_LENGTH = 38, f"-ERR a client's name has at most {limits.RESP_NAME_BYTES_MAX} bytes"
    CONNECTIONS = 39, "-ERR max number of clients reached"
    MULTI_NESTED = 40, "-ERR MULTI calls can not be nested"
    WATCH_INSIDE = 41, "-ERR WATCH inside MULTI is not allowed"
    EXEC_ALONE = 42, "-ERR EXEC without MULTI"
    DISCARD_ALONE = 43, "-ERR DISCARD without MULTI"
    SPOILT = 44, "-EXECABORT Transaction discarded because of previous errors."
    TRANSACTION = 45, (
        f"-ERR a transaction reads {limits.TRANSACTION_READS_MAX} objects at most, and writes "
        f"{limits.TRANSACTION_WRITES_MAX}, of {limits.TRANSACTION_BYTES_MAX} bytes in all"
    )  # fmt: skip
    WATCHED = 46, f"-ERR a connection watches {limits.RESP_WATCHED_MAX} keys at most"
    QUEUE_FULL = 47, f"-ERR the commands of a transaction have {limits.RESP_QUEUED_BYTES_MAX} bytes at most"
    NOT_IN_MULTI = 48, "-ERR Command not allowed inside a transaction"
    EXEC_SPENT = 49, "-ERR the functions of this MULTI take too long to run at one instant: call them one by one"
    FULL = 50, "-OOM the store is full"
    QUOTA = 51, "-OOM the tenant's quota is used up"
    DISK = 52, "-MISCONF the server's disk takes no writes; nothing was changed, and what is stored can be read"
    BUSY = 53, f"-BUSY the tenant's objects were locked, or memory or the disk was waited for, too long; {_TRY}"
    RATE = 54, f"-BUSY the tenant's limit of requests per second is used up; {_TRY}"
    GONE = 55, "-NOAUTH the tenant was removed, or its token changed"
    REPLY_LENGTH = 56, f"-ERR a reply has at most {limits.RESP_REPLY_BYTES_MAX} bytes"
    UNREAD = 57, "-ERR the tenant's replies that are not read, and commands half sent, take too much memory"
    MULTIBULK = 60, "-ERR Protocol error: invalid multibulk length"
    BULK = 61, "-ERR Protocol error: invalid bulk length"
    STRANGER_MULTIBULK = 62, "-ERR Protocol error: unauthenticated multibulk length"
    STRANGER_BULK = 63, "-ERR Protocol error: unauthenticated bulk length"
    MULTIBULK_LINE = 64, "-ERR Protocol error: too big mbulk count string"
    BULK_LINE = 65, "-ERR Protocol error: too big bulk count string"
    INLINE = 66, "-ERR Protocol error: too big inline request"
    QUOTES = 67, "-ERR Protocol error: unbalanced quotes in request"
    DOLLAR = 68, "-ERR Protocol error: expected '$', got "
    COMMAND_BYTES = 69, f"-ERR Protocol error: a command has at most {limits.RESP_COMMAND_BYTES_MAX} bytes"
    IMMUTABLE = 70, "-ERR CONFIG SET failed - can't set immutable config"
    NO_SUCH_SETTING = 71, "-ERR Unknown option or number of arguments for CONFIG SET"
    NO_SUCH_COMMAND = 72, "-ERR Invalid command specified"
    NO_KEYS = 73, "-ERR The command has no key arguments"
    KEYS_ARITY = 74, "-ERR Invalid number of arguments specified for command"
    EXEC_ARITY = 76, "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
    EXEC_NO_AUTH = 77, "-EXECABORT Transaction discarded because of: NOAUTH Authentication required."
    DECREMENT = 78, "-ERR decrement would overflow"
    UNKNOWN = 80, "-ERR unknown command "
    ARGUMENTS = 81, ", with args beginning with: "
    ARITY = 82, "-ERR wrong number of arguments for "
    COMMAND = 83, " command"
    EXPIRE_TIME = 84, "-ERR invalid expire time in "
    SUBCOMMAND = 85, "-ERR unknown subcommand "
    SUBCOMMAND_END = 86, ": see the page on the Redis protocol"
    OPTION = 87, "-ERR Unsupported option "
    CLIENT_FIELD = 88, "-ERR Unrecognized option: LIB-NAME or LIB-VER"
    CLIENT_VALUE = 89, "-ERR a field of a client cannot contain spaces, newlines or special characters."
    ERR = 90, "-ERR "
    OOM = 91, "-OOM "
    CALL_COUNT = 92, "-ERR wrong number of keys and arguments for "
    CALL_TAKES = 93, ": it takes "
    CALL_RESULTS = 94, f"-ERR a function with more than {limits.EXTENSION_RESULTS_TOLD} results: call it by the client"
    CALL_BYTES = 95, f"-ERR keys and arguments have more than {CALL_ARGUMENTS_BYTES} bytes"
    CALL_ARGUMENT = 96, "-ERR argument "
    CALL_OF = 97, " of "
    CALL_RAISED = 98, ": "
    NO_FUNCTION = 99, "-ERR Function not found"
    KEYS_NUMBER = 100, "-ERR Bad number of keys provided"
    KEYS_MANY = 101, "-ERR Number of keys can't be greater than number of args"
    KEYS_NEGATIVE = 102, "-ERR Number of keys can't be negative"
    READ_ONLY = 103, "-ERR Can not execute a script with write flag using *_ro command."
    NO_SCRIPT = 104, "-NOSCRIPT No matching script. Please use EVAL."
    NO_LUA = 105, (
        "-ERR this server runs functions in Python and no scripts in Lua, but for those of common clients: load the function "
        "by FUNCTION LOAD, see the guide docs/how-to/redis.md"
    )  # fmt: skip
    NOT_LOADED = 106, "-NOSCRIPT this script is not loaded yet: SCRIPT LOAD it before MULTI"
    ASK_LOST = 107, "-ERR the server's control process was replaced meanwhile: look whether it was done"
    ASK_BYTES = 108, f"-ERR a function's source has at most {limits.SOURCE_BYTES_MAX} bytes"
    SCRIPT_TIME = 109, "-ERR invalid expire time in 'set' command"
    CALL_KINDS = 110, ""  # and a ValueKind
    CALL_U64 = 111, " is no u64: a whole number from 0 to 2**64 - 1"
    CALL_I64 = 112, " is no i64: a whole number of 64 bits with its sign"
    CALL_BOOL = 113, " is no bool: 0 or 1"
    CALL_F64 = 114, " is no f64: a real number"
    CALL_NO_ISOLATION = 120, "-ERR an extension with isolation='none' is no part of a transaction: call it without MULTI"
    NO_LFU = 75, "-ERR An LFU maxmemory policy is not selected, access frequency not tracked."


def build_lines() -> np.ndarray:
    """An array of bytes: a table of offsets and lengths by number, then the lines with their ends."""
    table = np.zeros((max(Line) + 1, 2), dtype="<u4")
    blob = bytearray()
    for line in Line:
        encoded = line.text.encode() + b"\r\n"
        table[line] = (table.nbytes + len(blob), len(encoded))
        blob += encoded
    return np.frombuffer(table.tobytes() + bytes(blob), dtype=np.uint8).copy()


@njit(cache=True, forceinline=True)
def line_text(lines: int, number: int) -> tuple[int, int]:
    """Address and length of a line, its end included."""
    entry = lines + number * _ENTRY_BYTES
    return lines + load32(entry), load32(entry + 4)
