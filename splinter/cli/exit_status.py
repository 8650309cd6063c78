"""Exit statuses of ``splinter``: the one table of them, and which kind of error has which."""

from __future__ import annotations

import signal

from splinter.errors import (
    ConfigurationError,
    ControlConnectionError,
    ControlError,
    ControlTimeoutError,
    DataFolderError,
    DumpError,
    InUseError,
    NoServerError,
    NoSuchExtensionError,
    NotPermittedError,
    NumberWithText,
    PermissionDeniedError,
    RequestError,
    RequestTimeoutError,
    SplinterError,
    TransportUnavailableError,
    UnknownTenantError,
    UnreachableError,
    WrongTokenError,
)


class ExitStatus(NumberWithText):
    """What a command ends with. Scripts know the numbers: never re-use one. A signal *n* ends a command with 128 + *n*."""

    DONE = 0, "it was done"
    FAILED = 1, "it failed; the message says why, and no other number says more"
    USAGE = 2, "the command line was not understood"
    NOT_FOUND = 3, "there is no such object, tenant or extension"
    UNREACHABLE = 4, "no server runs or listens there"
    DENIED = 5, "the server does not let this token or credential in"
    TIMED_OUT = 6, "no answer came in time"
    IN_USE = 7, "the address, the port or the name of the instance cannot be had: it is in use, or not this host's"
    NOT_PERMITTED = 8, "the system does not permit it: another user's files, or a capability is missing"
    CONFIGURATION = 9, "a setting is wrong, of the file or of the command line"
    DATA_FOLDER = 10, "the data folder is in use, damaged, or of a newer version"
    REFUSED = 11, "the request cannot be served as it is: its form, its size, a quota, the state of the extension"
    UNAVAILABLE = 12, "the machine lacks what the transport needs: XDP or AF_XDP in its kernel, a compiler, a network device"
    DUMP = 13, "the dump is damaged, cut short, of a newer version, or none; the message names the line"
    DEFECT = 70, "a defect of Splinter"


INTERRUPTED = 128 + signal.SIGINT  # as shells have it
# The first that an error is one of counts.
_BY_KIND: tuple[tuple[ExitStatus, tuple[type[BaseException], ...]], ...] = (
    (ExitStatus.DENIED, (PermissionDeniedError, WrongTokenError)),
    (ExitStatus.NOT_FOUND, (UnknownTenantError, NoSuchExtensionError)),
    (ExitStatus.UNREACHABLE, (UnreachableError, ControlConnectionError, NoServerError)),
    (ExitStatus.TIMED_OUT, (RequestTimeoutError, ControlTimeoutError)),
    (ExitStatus.IN_USE, (InUseError,)),
    (ExitStatus.NOT_PERMITTED, (NotPermittedError, PermissionError)),
    (ExitStatus.UNAVAILABLE, (TransportUnavailableError,)),
    (ExitStatus.CONFIGURATION, (ConfigurationError,)),
    (ExitStatus.DATA_FOLDER, (DataFolderError,)),
    (ExitStatus.DUMP, (DumpError,)),
    (ExitStatus.REFUSED, (RequestError, ControlError)),
    (ExitStatus.FAILED, (SplinterError, OSError, ImportError, MemoryError, RecursionError, UnicodeError)),
)
_LIBRARIES = ("pyroute2", "msgpack")  # whose errors are of what came from outside


def status_of(error: BaseException) -> int:
    """The exit status of a command that an error ended."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    for status, kinds in _BY_KIND:
        if isinstance(error, kinds):
            return status.value
    is_known = type(error).__module__.partition(".")[0] in _LIBRARIES
    return (ExitStatus.FAILED if is_known else ExitStatus.DEFECT).value
