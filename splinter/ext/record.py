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
    kernel: int  # identity of its code in the kernel; 0: there is none
    is_kernel_used: bool
    worker_reason: str  # why it runs in the worker; empty: it does not, or the server has no other place


def build(
    compiled: CompiledExtension,
    code_address: int,
    code_offset: int,
    version: int,
    statistics: int,
    kernel: int = 0,
    worker_reason: str = "",
) -> bytes:
    """The value of the object; address and offset are of the block of code, ``statistics`` is the slot of its counters.

    ``kernel``: identity of the code that the kernel has of it, 0 for none; ``worker_reason`` is why it has none.
    """
    told = {"signature": compiled.signature.to_wire(), "digest": compiled.source_digest, "kernel": kernel, "why": worker_reason}
    metadata: bytes = msgpack.packb(told)
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
    record["kernel"] = kernel
    first = compiled.first_lookup
    record["first_key"], record["first_key_parameter"] = first.key, first.key_parameter
    record["first_table"], record["first_table_parameter"] = first.table, first.table_parameter
    return record.tobytes() + metadata


def with_kernel(value: bytes, is_used: bool) -> bytes:
    """The same object with its code in the kernel in use, or not."""
    changed = np.frombuffer(bytearray(value), RECORD, 1).copy()
    changed["kernel"] = parse(value).kernel if is_used else 0
    return changed.tobytes() + value[RECORD.itemsize :]


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
            kernel=int(metadata["kernel"]),
            is_kernel_used=bool(record["kernel"]),
            worker_reason=str(metadata["why"]),
        )
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not an extension record: {error}") from None
