"""Requests on their way, and what replies carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from splinter.errors import ExtensionRuntimeError, RequestError, RequestTimeoutError, Status, error_for

FRAGMENT_BITS = 16  # an identity is sequence << 16 | fragment index

# Why a request is not answered, from the control plane: given errno of what the network said since the last reply (0: nothing)
# and the seconds it may take, what makes the exception of its message; None when that is not known.
Explain = Callable[[int, float], Callable[[str], RequestTimeoutError] | None]


class Reply(NamedTuple):
    """What a reply carries; ``version`` is the object's."""

    status: int
    version: int
    fragment_index: int
    fragment_count: int
    value: bytes
    by_kernel: bool = False  # no worker has seen the request
    opcode: int = 0  # of the request; 0: of one in a BATCH

    def error(self) -> RequestError:
        """The exception of its status, which is not OK."""
        error = error_for(self.status, self.value.decode(errors="replace"))
        if isinstance(error, ExtensionRuntimeError):
            error.code = self.version
        return error

    def checked(self) -> Reply:
        """Itself; raises the exception of any status but OK."""
        if self.status != Status.OK:
            raise self.error()
        return self


def was_there(reply: Reply) -> bool:
    """Whether there was such an object. Raises the exception of any other status but OK."""
    return reply.status != Status.NOT_FOUND and reply.checked() is reply


@dataclass(slots=True)
class Flight:
    """A packet on its way."""

    packet: bytes
    deadline: float  # of the channel's ``waited``
    resend_at: float  # of the monotonic clock, in seconds, as is ``wait``
    wait: float
    silences: int  # of its line when it was sent first
    last_status: int = Status.OK


def identity_of(sequence: int, fragment_index: int = 0) -> int:
    """What :meth:`splinter.client.channel.Channel.stream` calls a request by."""
    return sequence << FRAGMENT_BITS | fragment_index
