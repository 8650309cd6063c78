"""The wire format: the one place where it is defined.

``docs/reference/protocol.md`` explains it for authors of clients; ``bpf/wire.h`` is generated from here
(``scripts/headers.py``), and a test fails when the two differ. Everything is little-endian and naturally
aligned. A request and its reply have the same fixed header, 64 bytes, right behind the UDP header; key and value follow
as raw bytes.
"""

from __future__ import annotations

import struct
from enum import IntEnum

from splinter import limits
from splinter.layout import Layout

MAGIC = 0x4E4C5053  # the bytes "SPLN"
VERSION = 1
FLAG_REPLY = 1  # set in every reply, never in a request
FLAG_KERNEL = 2  # set in a reply that the XDP program made, which no worker has seen
FLAG_EXPIRES = 4  # of a PUT: behind the value, and counted with it, stands how long the object is to live, in each fragment


class Opcode(IntEnum):
    """What a request asks for."""

    PING = 0
    GET = 1
    PUT = 2
    DELETE = 3
    MULTIGET = 4
    INVOKE = 5
    GOODBYE = 6
    TRANSACT = 7
    EXPIRE = 8
    TTL = 9
    PUT_PART = 10
    GET_PART = 11
    PUT_LARGE = 12
    GET_LARGE = 13
    SCAN = 14
    BATCH = 15


HEADER = Layout(
    ("magic", "<u4"),  # MAGIC
    ("version", "u1"),  # VERSION; magic, version, tenant and token stay where they are in every version
    ("opcode", "u1"),  # Opcode; a reply repeats it
    ("status", "u1"),  # reply: Status; request: how much fits the way back, in units of ROOM_UNIT_BYTES; 0: MTU 1500
    ("flags", "u1"),  # FLAG_…
    ("tenant", "<u4"),  # 1 … TENANTS_MAX - 1
    ("table", "<u2"),  # 0 … TABLES_MAX - 1
    ("key_length", "<u2"),  # bytes of key behind the header; 0 in replies
    ("token", "<u8"),  # the tenant's secret; 0 in replies
    ("client", "<u8"),  # client id, random, one per client object; a reply repeats it
    ("sequence", "<u8"),  # request number of this client, from 1; a reply repeats it
    ("value_length", "<u4"),  # bytes of value in this packet, behind the key
    ("fragment_index", "<u2"),  # which fragment of the value this is, from 0
    ("fragment_count", "<u2"),  # fragments of the whole value; 0 and 1 both mean: not fragmented
    ("object_version", "<u8"),  # GET, PUT, EXPIRE: version of the object; INVOKE: hash of the signature; 0: do not care
    # Request: the client has the replies to all sequence numbers below this. Reply: UDP payload of the largest request.
    ("acknowledged", "<u8"),
)
assert HEADER.itemsize == limits.REQUEST_HEADER_BYTES
FIELDS: tuple[str, ...] = HEADER.names


# Offsets, for those who change a field of a packet in place.
H_MAGIC = HEADER.offset("magic")
H_OPCODE = HEADER.offset("opcode")
H_STATUS = HEADER.offset("status")
H_ROOM = H_STATUS  # in a request, where a reply has its status
H_FLAGS = HEADER.offset("flags")
H_TENANT = HEADER.offset("tenant")
H_KEY_LENGTH = HEADER.offset("key_length")
H_TOKEN = HEADER.offset("token")
H_CLIENT = HEADER.offset("client")
H_SEQUENCE = HEADER.offset("sequence")
H_VALUE_LENGTH = HEADER.offset("value_length")
H_FRAGMENT_INDEX = HEADER.offset("fragment_index")
H_FRAGMENT_COUNT = HEADER.offset("fragment_count")
H_OBJECT_VERSION = HEADER.offset("object_version")
H_ACKNOWLEDGED = HEADER.offset("acknowledged")

# Bytes that a reply may have beyond its request and still be made in the driver: a packet grows by so many at its head. The
# value of a GET is padding, which has the packet be long enough already.
KERNEL_GROWTH_BYTES = 200

# How long an object lives: ns, u64. An EXPIRE's value, and a TTL's reply; TTL_NONE there: for ever.
TTL_BYTES = 8
TTL_NONE = 0

# PUT's object_version for "only if there is no such object"; no object ever has this version.
OBJECT_ABSENT = 0xFFFF_FFFF_FFFF_FFFF

# A multiget's value in the request: for each key u16 length, bytes. In the reply: for each key u32 length, bytes, or one of
# these in place of the length and no bytes. Keys that no longer fit the packet have no entry: the client asks again.
MULTIGET_VERSIONS = 1  # as object_version in the request: between length and bytes stands the object's version, u64
MULTIGET_MISSING = 0xFFFFFFFF
MULTIGET_TOO_LARGE = 0xFFFFFFFE  # this value alone does not fit one packet: GET it

# A TRANSACT's value lists the keys that it reads or writes: for each an ENTRY, the key, and the value that it is to have.
ENTRY = Layout(
    ("table", "<u2"),
    ("key_length", "<u2"),  # bytes of key behind the entry
    ("value_length", "<u4"),  # bytes of value behind the key; with ENTRY_EXPIRES; or one of the two, and no bytes
    ("object_version", "<u8"),  # as PUT's: of the object that was read; OBJECT_ABSENT; 0: it was not read
)
ENTRY_DELETES = 0xFFFFFFFF  # the object is deleted, if there is one
ENTRY_READS = 0xFFFFFFFE  # the object is not written
ENTRY_EXPIRES = 0x80000000  # behind the value, and counted with it, stands how long the object is to live, TTL_BYTES
ENTRIES_MAX = limits.PACKET_BODY_BYTES_MAX // (ENTRY.itemsize + 1)  # more do not fit a packet
assert ENTRIES_MAX <= limits.COMMIT_OBJECTS_MAX

# A BATCH's value is 1 to BATCH_REQUESTS_MAX requests: for each this, its object_version where BATCH_NAMES_VERSION says so, its
# key, its value. The first has the packet's sequence number, each that follows the next one.
BATCHED = Layout(
    ("opcode", "u1"),  # one of BATCH_OPCODES
    ("key_length", "u1"),  # bytes
    ("table", "<u2"),
    ("value_length", "<u2"),  # bytes
    ("flags", "<u2"),  # FLAG_EXPIRES, as of the request by itself; BATCH_NAMES_VERSION
)
BATCH_NAMES_VERSION = 1  # before the key stands the request's object_version, u64; else it is 0
OBJECT_OPCODES = (Opcode.GET, Opcode.PUT, Opcode.DELETE, Opcode.EXPIRE, Opcode.TTL)
BATCH_OPCODES = (*OBJECT_OPCODES, Opcode.INVOKE)
BATCH_REQUESTS_MAX = limits.CLIENT_WINDOW  # each has a number of its own

# The reply's value has for each of the first of them, in their order, an answer: this, then its value.
ANSWER = Layout(
    ("status", "<u2"),  # Status; with any but OK there is no value
    ("value_length", "<u2"),  # bytes
    ("object_version", "<u8"),
)

# What stands in place of a value that is larger than VALUE_BYTES_MAX: a PUT_LARGE's value, and a GET_LARGE's reply. The value
# itself is in parts, each of PART_BYTES but the last, which are put before (PUT_PART) under the key PART_KEY.
LARGE = Layout(
    ("id", "<u8"),  # of the value, random, of its tenant's choosing
    ("length", "<u8"),  # bytes of the whole value
)
LARGE_BYTES = LARGE.itemsize
PART_KEY_STRUCT = struct.Struct("<QQ")  # the id, and the number of the part, from 0
PART_KEY_BYTES = PART_KEY_STRUCT.size

# What stands in a part: this, the key of the object that is to name it, and its piece of the value.
PART = Layout(
    ("table", "<u2"),  # of the object
    ("key_length", "<u2"),  # bytes of its key
    ("whole", "<u4"),  # bytes of the whole value, for who can tell that there is no room for it; 0: not told
)
PART_HEAD_BYTES = PART.itemsize
assert PART_HEAD_BYTES + limits.KEY_BYTES_MAX + limits.PART_BYTES <= limits.VALUE_BYTES_MAX

# A SCAN's value, and the beginning of its reply's; there keys follow, each a byte with its length, and its bytes.
SCAN = Layout(
    ("cursor", "<u8"),  # where to go on: as the reply before says; 0 to begin with; in a reply SCAN_END: that was all
    ("store", "<u8"),  # of which store the cursor is: likewise
)
SCAN_BYTES = SCAN.itemsize
SCAN_END = 0xFFFF_FFFF_FFFF_FFFF

# An object as `dump.objects` tells it on the control port, and `restore.objects` takes it; then its key, its value, and zeros
# up to a multiple of 8.
DUMPED = Layout(
    ("tenant", "<u2"),  # whose it is; a restore names its tenant once, and looks at none of these
    ("table", "<u2"),
    ("key_length", "<u2"),  # bytes
    ("kind", "<u2"),  # DUMPED_…
    ("value_length", "<u4"),  # bytes
    ("generation", "<u4"),  # of the tenant
    ("expires", "<i8"),  # when it does, ns since 1970 by the clock of the server's host; 0: never
)
DUMPED_BYTES = DUMPED.itemsize
DUMPED_OBJECT = 0
DUMPED_LARGE = 1  # the value is a LARGE, and the real one in parts
DUMPED_PART = 2  # a part, as a PUT_PART has it; a restore takes them before the object
DURABILITIES = ("none", "interval", "always")  # of tenants, by the number that the store has for each
EVICTIONS = ("none", "hyperbolic")  # likewise


class Header:
    """A request or reply header in Python terms. Only clients and tests use this; workers use the offsets."""

    __slots__ = FIELDS

    def __init__(self, **fields: int) -> None:
        self.magic = MAGIC
        self.version = VERSION
        for name in FIELDS[2:]:
            setattr(self, name, 0)
        for name, value in fields.items():
            setattr(self, name, value)

    def pack(self) -> bytes:
        """The 64 bytes of the header."""
        return HEADER.struct.pack(*(int(getattr(self, name)) for name in FIELDS))

    @classmethod
    def unpack(cls, packet: bytes | memoryview) -> Header:
        """Read the header at the start of a packet; raises ``ValueError`` when it is shorter than 64 bytes."""
        if len(packet) < HEADER.struct.size:
            raise ValueError(f"a packet of {len(packet)} bytes has no whole header")
        header = cls()
        for name, value in zip(FIELDS, HEADER.struct.unpack_from(packet), strict=True):
            setattr(header, name, value)
        return header

    def __repr__(self) -> str:
        return "Header(" + ", ".join(f"{name}={getattr(self, name)}" for name in FIELDS) + ")"
