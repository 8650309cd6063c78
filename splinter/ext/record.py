"""The object that stands for an installed extension in its tenant's table of extensions: fixed record, then metadata."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack
import numpy as np

from splinter.errors import ProtocolError
from splinter.ext.abi import RECORD, ResultKind
from splinter.ext.compile import CompiledExtension
from splinter.ext.signature import Signature


@dataclass(frozen=True)
class InstalledExtension:
    """What a record says."""

    signature: Signature
    code_address: int  # of the extension
    code_offset: int  # in the code region, of the block that it lies in
    code_bytes: int  # of that block
    frame_bytes: int
    result_kind: ResultKind
    version: int  # counts installs under this name, from 1
    statistics: int  # slot of its counters
    source_digest: bytes


def build(compiled: CompiledExtension, code_address: int, code_offset: int, version: int, statistics: int) -> bytes:
    """The value of the object; address and offset are of the block of code, ``statistics`` is the slot of its counters."""
    metadata: bytes = msgpack.packb({"signature": compiled.signature.to_wire(), "digest": compiled.source_digest})
    record = np.zeros(1, RECORD)
    record["code"] = code_address + compiled.entry
    record["signature_hash"] = compiled.signature.hash
    record["arguments_bytes_min"] = compiled.signature.arguments_bytes_min
    record["frame_bytes"] = compiled.frame_bytes
    record["result_kind"] = compiled.result_kind
    record["version"] = version
    record["code_offset"] = code_offset
    record["code_bytes"] = len(compiled.code)
    record["statistics"] = statistics
    record["metadata_length"] = len(metadata)
    record["isolation"] = compiled.isolation
    first = compiled.first_lookup
    record["first_key"], record["first_key_parameter"] = first.key, first.key_parameter
    record["first_table"], record["first_table_parameter"] = first.table, first.table_parameter
    return record.tobytes() + metadata


def parse(value: bytes | memoryview) -> InstalledExtension:
    """The inverse of :func:`build`; raises :class:`ProtocolError` for anything else."""
    if len(value) < RECORD.itemsize:
        raise ProtocolError(f"an extension record of {len(value)} bytes is too short")
    record = np.frombuffer(value, RECORD, 1)[0]
    packed = bytes(value[RECORD.itemsize : RECORD.itemsize + int(record["metadata_length"])])
    try:
        metadata = msgpack.unpackb(packed)
        signature = Signature.from_wire(metadata["signature"])
        return InstalledExtension(
            signature=signature,
            code_address=int(record["code"]),
            code_offset=int(record["code_offset"]),
            code_bytes=int(record["code_bytes"]),
            frame_bytes=int(record["frame_bytes"]),
            result_kind=ResultKind(int(record["result_kind"])),
            version=int(record["version"]),
            statistics=int(record["statistics"]),
            source_digest=bytes(metadata["digest"]),
        )
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not an extension record: {error}") from None
