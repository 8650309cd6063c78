"""Several gets or puts in one packet, each a request by itself: what a pipelining client sends."""

from __future__ import annotations

from splinter.errors import Status
from splinter.limits import PACKET_BODY_BYTES_MAX, REQUEST_HEADER_BYTES
from splinter.wire import ANSWER, BATCH_REQUESTS_MAX, BATCHED, Opcode
from splinter_bench.workloads.workload import (
    ANY_VERSION,
    KEY_BYTES_DEFAULT,
    NUMBER_BYTES,
    VALUE_BYTES_DEFAULT,
    Account,
    Operation,
    key_template,
    request,
    value_template,
)

_BATCHED_BYTES, _ANSWER_BYTES = BATCHED.struct.size, ANSWER.struct.size
_VERSION_AT = ANSWER.offset("object_version")


def most_gets(key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> int:
    """How many gets go into a batch whose reply has room for all their values."""
    return min(PACKET_BODY_BYTES_MAX // max(_BATCHED_BYTES + key_bytes, _ANSWER_BYTES + value_bytes), BATCH_REQUESTS_MAX)


def most_puts(key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT) -> int:
    """How many puts go into a batch."""
    return min(PACKET_BODY_BYTES_MAX // (_BATCHED_BYTES + key_bytes + value_bytes), BATCH_REQUESTS_MAX)


def batch_gets_operation(
    account: Account, gets: int, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT
) -> Operation:
    """Read ``gets`` objects by a batch and check their values; the schedule needs as many columns of key numbers.

    Raises ``ValueError`` when request or reply do not fit a packet.
    """
    _refuse_beyond(most_gets(key_bytes, value_bytes), gets, f"gets of {key_bytes}-byte keys and {value_bytes}-byte values")
    key, value = key_template(key_bytes), value_template(value_bytes)
    entry = BATCHED.struct.pack(Opcode.GET, key_bytes, account.table, 0, 0) + key
    answer = ANSWER.struct.pack(Status.OK, value_bytes, 0) + value
    key_at = len(entry) - NUMBER_BYTES
    in_reply = (
        place
        for n in range(gets)
        for place in ((n * len(answer) + _VERSION_AT, ANY_VERSION), (n * len(answer) + _ANSWER_BYTES, n))
    )
    return Operation(
        "batched gets",
        request(account, Opcode.BATCH, b"", entry * gets, table=0),
        reply=answer * gets,
        patches=tuple((REQUEST_HEADER_BYTES + n * len(entry) + key_at, n) for n in range(gets)),
        reply_patches=tuple(in_reply),
        batch=gets,
    )


def batch_puts_operation(
    account: Account, puts: int, key_bytes: int = KEY_BYTES_DEFAULT, value_bytes: int = VALUE_BYTES_DEFAULT
) -> Operation:
    """Write ``puts`` objects by a batch; the schedule needs as many columns of key numbers.

    Raises ``ValueError`` when the request does not fit a packet.
    """
    _refuse_beyond(most_puts(key_bytes, value_bytes), puts, f"puts of {key_bytes}-byte keys and {value_bytes}-byte values")
    key, value = key_template(key_bytes), value_template(value_bytes)
    entry = BATCHED.struct.pack(Opcode.PUT, key_bytes, account.table, value_bytes, 0) + key + value
    value_at = len(entry) - value_bytes
    numbers_at = (value_at - NUMBER_BYTES, value_at)  # of key and value, next to each other
    return Operation(
        "batched puts",
        request(account, Opcode.BATCH, b"", entry * puts, table=0),
        reply=ANSWER.struct.pack(Status.OK, 0, 0) * puts,
        patches=tuple((REQUEST_HEADER_BYTES + n * len(entry) + at, n) for n in range(puts) for at in numbers_at),
        reply_patches=tuple((n * _ANSWER_BYTES + _VERSION_AT, ANY_VERSION) for n in range(puts)),
        batch=puts,
        writes=True,
    )


def _refuse_beyond(most: int, asked: int, what: str) -> None:
    if not 1 <= asked <= most:
        raise ValueError(f"a batch has 1 to {most} {what}, not {asked}: more do not fit one packet")
