"""Statuses that the wire carries, and the exceptions that a client raises for them."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class NumberWithText(IntEnum):
    """Members are numbers, also for compiled code; each has the ``text`` that people read."""

    _value_: int
    text: str

    def __new__(cls, number: int, text: str = "") -> Self:
        member = int.__new__(cls, number)
        member._value_, member.text = number, text
        return member


class Status(NumberWithText):
    """First byte of every answer. The numbers are part of the wire format: never re-use one."""

    OK = 0, ""
    NOT_FOUND = 1, "no such object"
    BAD_VERSION = 2, "protocol version not spoken here; the header's version byte says which is"
    BAD_LENGTH = 3, "key and value lengths do not add up to the packet's"
    UNKNOWN_OPCODE = 4, "unknown opcode"
    BAD_TABLE = 5, "table number is reserved"
    BAD_KEY = 6, "a key has 1 to 255 bytes"
    VALUE_TOO_LARGE = 7, "a value has at most 8 MiB, and 65536 bytes in one piece"
    BAD_FRAGMENT = 8, "fragment index, count or length is wrong"
    OUT_OF_MEMORY = 9, "the store is full; the old value is still in place"
    QUOTA_EXCEEDED = 10, (
        "the tenant's quota is used up by objects, extensions, clients and large values under way; "
        "the old value is still in place"
    )  # fmt: skip
    VERSION_CHANGED = 11, "the object was replaced in between"
    BUSY = 12, "try again later"
    NO_EXTENSION = 13, "no extension is installed under this name"
    BAD_SIGNATURE = 14, "the extension's signature has changed"
    BAD_ARGUMENTS = 15, "arguments do not fit the extension's signature"
    EXTENSION_ERROR = 16, "the extension ended with an error"
    REPLY_TOO_LARGE = 17, "the reply does not fit one packet"
    UNKNOWN_TENANT = 18, "no such tenant"
    KILLED = 19, "the task was killed by the watchdog"
    QUARANTINED = 20, "the extension was stopped for having stuck workers; install it again to release it"
    DISK_FAILED = 21, "the server's disk takes no writes; nothing was changed, and what is stored can be read"
    BAD_TTL = 22, "an object lives for 1 ns to 100 years, or for ever"


class SplinterError(Exception):
    """Root of everything that Splinter raises on purpose."""


_BY_STATUS: dict[Status, type[RequestError]] = {}  # filled by each class that names a status


class RequestError(SplinterError):
    """The server answered with a status other than OK. ``status`` is that status."""

    status: Status = Status.BUSY

    def __init_subclass__(cls) -> None:
        if "status" in vars(cls):
            _BY_STATUS[cls.status] = cls

    def __init__(self, message: str = "", status: Status | None = None) -> None:
        if status is not None:
            self.status = status
        super().__init__(message or self.status.text)


class ProtocolError(RequestError):
    """The server found the request malformed."""


class BadTableError(RequestError):
    status = Status.BAD_TABLE


class BadKeyError(RequestError):
    status = Status.BAD_KEY


class ValueTooLargeError(RequestError):
    status = Status.VALUE_TOO_LARGE


class BadTtlError(RequestError):
    status = Status.BAD_TTL


class OutOfMemoryError(RequestError):
    status = Status.OUT_OF_MEMORY


class QuotaExceededError(RequestError):
    status = Status.QUOTA_EXCEEDED


class VersionChangedError(RequestError):
    status = Status.VERSION_CHANGED


class ConflictError(VersionChangedError):
    """Something that a transaction had read was changed before its end: nothing was written. Begin it anew."""

    def __init__(self, message: str = "something that the transaction has read was changed since: begin it anew") -> None:
        super().__init__(message)


class ScanInterruptedError(SplinterError):
    """The server was started anew in the middle of a scan, with another store, in which keys have other places."""

    def __init__(self) -> None:
        super().__init__("the server was started anew, with another store: begin the scan again")


class BusyError(RequestError):
    status = Status.BUSY


class NoSuchExtensionError(RequestError):
    status = Status.NO_EXTENSION


class SignatureChangedError(RequestError):
    status = Status.BAD_SIGNATURE


class BadArgumentsError(RequestError):
    status = Status.BAD_ARGUMENTS


class ExtensionRuntimeError(RequestError):
    """The extension ended with an error; the message names the error and the line.

    ``code`` is that of the extension's own ``raise Error(code)``, an unsigned 64-bit number; 0 for every other error.
    """

    status = Status.EXTENSION_ERROR
    code: int = 0


class ReplyTooLargeError(RequestError):
    status = Status.REPLY_TOO_LARGE


class UnknownTenantError(RequestError):
    status = Status.UNKNOWN_TENANT


class DiskFailedError(RequestError):
    """The server can keep nothing at present: its disk is full, or broken. It goes on by itself when it can."""

    status = Status.DISK_FAILED


class TaskKilledError(RequestError):
    status = Status.KILLED


class QuarantinedError(RequestError):
    """The watchdog had to kill this extension too often; its owner's next install, or the administrator, releases it."""

    status = Status.QUARANTINED


def error_for(status: int, message: str = "") -> RequestError:
    """The exception for a status from the wire; an unknown number becomes :class:`ProtocolError`."""
    try:
        known = Status(status)
    except ValueError:
        return ProtocolError(message or f"status {status}", Status.UNKNOWN_OPCODE)
    return _BY_STATUS.get(known, ProtocolError)(message, known)


class RequestTimeoutError(SplinterError, TimeoutError):
    """No answer came within the time-out, repetitions included. Its subclasses know why; a write was executed once or not
    at all."""


class UnreachableError(RequestTimeoutError, ConnectionError):
    """Nothing listens there, or no way leads there. ``errno`` is the system's number for it, None when nothing was heard."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


class WrongTokenError(RequestTimeoutError):
    """The server is there, and drops what comes with this tenant and token (it does not say which of them is wrong)."""


class TenantRemovedError(WrongTokenError):
    """The token was that of a tenant which has been removed."""


class RateLimitedError(RequestTimeoutError):
    """The tenant sends more packets than its limit allows; what is beyond is dropped."""


class PathError(RequestTimeoutError):
    """The control plane answers and knows tenant and token, but requests are not answered."""


class PacketTooLargeError(SplinterError):
    """A packet does not fit the network's MTU; it was not sent."""


class TransactionTooLargeError(SplinterError):
    """What a transaction reads and writes does not fit one packet; nothing was sent. An extension has no such limit."""


class ControlError(SplinterError):
    """The control plane refused a request. ``code`` is the reason's name in the protocol (``docs/reference/protocol.md``)."""

    def __init__(self, message: str, code: str = "error") -> None:
        self.code = code
        super().__init__(message)


class ControlConnectionError(ControlError, ConnectionError):
    """The control plane cannot be reached, or hung up in the midst of a request. ``errno`` is the system's number, if any."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message, "connection")
        self.errno = number


class ControlTimeoutError(ControlError, TimeoutError):
    """The control plane did not answer within the time-out."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "timeout")


class PermissionDeniedError(ControlError):
    """Wrong token or administration credential."""


class ServerError(SplinterError):
    """The server could not start or go on; the message says what to do."""


class ConfigurationError(ServerError):
    """A setting is wrong; the message names it."""


class InUseError(ServerError):
    """The address, the port or the name of the instance cannot be had: it is in use, or not this host's."""


class NotPermittedError(ServerError):
    """The system does not permit it to this user."""


class NoServerError(ServerError):
    """No server of this instance runs on this host."""


class DataFolderError(ServerError):
    """The data folder is in use, damaged, or of a newer version; the message says where."""


class DumpError(SplinterError):
    """A dump is damaged, cut short, of a newer version, or none. ``line`` is the number of the line where that was seen."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class TransportUnavailableError(ServerError):
    """The machine lacks what the transport needs; the message says what."""


class TransportNotPermittedError(TransportUnavailableError, NotPermittedError):
    """The machine has what the transport needs, and this process lacks the privilege."""


class CompileError(SplinterError):
    """An extension's source was refused. ``diagnostics`` lists every finding with line and column."""

    def __init__(self, diagnostics: list[object], text: str) -> None:
        self.diagnostics = diagnostics
        super().__init__(text)
