"""Statuses that the wire carries, and the exceptions that a client raises for them."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """First byte of every answer. The numbers are part of the wire format: never re-use one."""

    OK = 0
    NOT_FOUND = 1
    BAD_VERSION = 2
    BAD_LENGTH = 3
    UNKNOWN_OPCODE = 4
    BAD_TABLE = 5
    BAD_KEY = 6
    VALUE_TOO_LARGE = 7
    BAD_FRAGMENT = 8
    OUT_OF_MEMORY = 9
    QUOTA_EXCEEDED = 10
    VERSION_CHANGED = 11
    BUSY = 12
    NO_EXTENSION = 13
    BAD_SIGNATURE = 14
    BAD_ARGUMENTS = 15
    EXTENSION_ERROR = 16
    REPLY_TOO_LARGE = 17
    UNKNOWN_TENANT = 18
    KILLED = 19
    QUARANTINED = 20
    ABORTED = 21


MESSAGES: dict[Status, str] = {
    Status.OK: "",
    Status.NOT_FOUND: "no such object",
    Status.BAD_VERSION: "protocol version not spoken here; the header's version byte says which is",
    Status.BAD_LENGTH: "key and value lengths do not add up to the packet's",
    Status.UNKNOWN_OPCODE: "unknown opcode",
    Status.BAD_TABLE: "table number is reserved",
    Status.BAD_KEY: "a key has 1 to 255 bytes",
    Status.VALUE_TOO_LARGE: "a value has at most 65536 bytes",
    Status.BAD_FRAGMENT: "fragment index, count or length is wrong",
    Status.OUT_OF_MEMORY: "the store is full; the old value is still in place",
    Status.QUOTA_EXCEEDED: "the tenant's quota is used up by objects, extensions, clients and large values under way; "
    "the old value is still in place",
    Status.VERSION_CHANGED: "the object was replaced in between",
    Status.BUSY: "try again later",
    Status.NO_EXTENSION: "no extension is installed under this name",
    Status.BAD_SIGNATURE: "the extension's signature has changed",
    Status.BAD_ARGUMENTS: "arguments do not fit the extension's signature",
    Status.EXTENSION_ERROR: "the extension ended with an error",
    Status.REPLY_TOO_LARGE: "the reply does not fit one packet",
    Status.UNKNOWN_TENANT: "no such tenant",
    Status.KILLED: "the task was killed by the watchdog",
    Status.QUARANTINED: "the extension was stopped for having stuck workers; install it again to release it",
    Status.ABORTED: "what this wrote stands, but its worker died before it ended, or its result could not be kept",
}


class SplinterError(Exception):
    """Root of everything that Splinter raises on purpose."""


class RequestError(SplinterError):
    """The server answered with a status other than OK. ``status`` is that status."""

    status: Status = Status.BUSY

    def __init__(self, message: str = "", status: Status | None = None) -> None:
        if status is not None:
            self.status = status
        super().__init__(message or MESSAGES[self.status])


class ProtocolError(RequestError):
    """The server found the request malformed."""


class BadTableError(RequestError):
    status = Status.BAD_TABLE


class BadKeyError(RequestError):
    status = Status.BAD_KEY


class ValueTooLargeError(RequestError):
    status = Status.VALUE_TOO_LARGE


class OutOfMemoryError(RequestError):
    status = Status.OUT_OF_MEMORY


class QuotaExceededError(RequestError):
    status = Status.QUOTA_EXCEEDED


class VersionChangedError(RequestError):
    status = Status.VERSION_CHANGED


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


class TaskKilledError(RequestError):
    status = Status.KILLED


class QuarantinedError(RequestError):
    """The watchdog had to kill this extension too often; its owner's next install, or the administrator, releases it."""

    status = Status.QUARANTINED


class TaskAbortedError(RequestError):
    """A worker died, through no fault of this task, while it ran and after it had written (or its result was lost for want of
    memory); what it wrote stands, and it is not run again."""

    status = Status.ABORTED


_BY_STATUS: dict[Status, type[RequestError]] = {
    cls.status: cls
    for cls in (
        BadTableError, BadKeyError, ValueTooLargeError, OutOfMemoryError, QuotaExceededError, VersionChangedError,
        BusyError, NoSuchExtensionError, SignatureChangedError, BadArgumentsError, ExtensionRuntimeError,
        ReplyTooLargeError, UnknownTenantError, TaskKilledError, QuarantinedError, TaskAbortedError,
    )
}  # fmt: skip


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


class TransportUnavailableError(ServerError):
    """The machine lacks what the transport needs; the message says what."""


class CompileError(SplinterError):
    """An extension's source was refused. ``diagnostics`` lists every finding with line and column."""

    def __init__(self, diagnostics: list[object], text: str) -> None:
        self.diagnostics = diagnostics
        super().__init__(text)
