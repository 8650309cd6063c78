"""Requests on their way, and replies as they come from the wire: whose they are, and what they carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from splinter import limits
from splinter.errors import ExtensionRuntimeError, ProtocolError, RequestError, RequestTimeoutError, Status, error_for
from splinter.wire import FLAG_KERNEL, FLAG_REPLY, HEADER_STRUCT, MAGIC, VERSION

FRAGMENT_BITS = 16  # an identity is sequence << 16 | fragment index
_HEADER_BYTES = limits.REQUEST_HEADER_BYTES
_unpack = HEADER_STRUCT.unpack_from

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


def parse(packet: bytes, tenant: int, client: int, peer: str) -> tuple[int, Reply, int] | None:
    """(identity, reply, largest packet of the server in bytes) of a packet that answers a client; None for anything else.

    Raises :class:`ProtocolError` for another version of the protocol; ``peer`` names the server in its message.
    """
    if not _HEADER_BYTES <= len(packet) <= limits.UDP_PAYLOAD_BYTES_MAX:
        return None
    (magic, version, _opcode, status, flags, its_tenant, _table, key_length, _token, its_client, sequence, value_length,
     fragment_index, fragment_count, object_version, server_bytes) = _unpack(packet)  # fmt: skip
    if magic != MAGIC or not flags & FLAG_REPLY or its_tenant != tenant or its_client != client:
        return None
    if version != VERSION:
        raise ProtocolError(f"the server at {peer} speaks protocol version {version}, this client {VERSION}")
    if key_length or value_length != len(packet) - _HEADER_BYTES:
        return None
    by_kernel = flags & FLAG_KERNEL != 0
    reply = Reply(status, object_version, fragment_index, fragment_count, packet[_HEADER_BYTES:], by_kernel)
    return identity_of(sequence, fragment_index), reply, server_bytes
