"""The object that stands for an installed extension in its tenant's table of extensions: fixed record, then metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from splinter.errors import ProtocolError
from splinter.ext.abi import RECORD, ResultKind, ValueKind
from splinter.ext.compile import CompiledExtension
from splinter.ext.signature import Signature
from splinter.limits import EXTENSION_RESULTS_TOLD

_VALUE_KINDS = {
    "None": ValueKind.NONE, "u64": ValueKind.U64, "i64": ValueKind.I64, "bool": ValueKind.BOOL, "f64": ValueKind.F64,
    "bytes": ValueKind.BYTES,
}  # fmt: skip


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
    program_bytes: int  # what its program takes of the kernel's memory while it is used there
    worker_reason: str  # why it runs in the worker; empty: it does not, or the server has no other place
    library: str  # that its source says it is of; empty: none


def build(
    compiled: CompiledExtension,
    code_address: int,
    code_offset: int,
    version: int,
    statistics: int,
    kernel: int = 0,
    worker_reason: str = "",
    program_bytes: int = 0,
) -> bytes:
    """The value of the object; address and offset are of the block of code, ``statistics`` is the slot of its counters.

    ``kernel``: identity of the code that the kernel has of it, 0 for none; ``worker_reason`` is why it has none, and
    ``program_bytes`` what its program takes there.
    """
    told = {"signature": compiled.signature.to_wire(), "digest": compiled.source_digest, "library": compiled.library}
    metadata = _metadata({**told, "kernel": kernel, "why": worker_reason, "program": program_bytes})
    record = np.zeros(1, RECORD.dtype)
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
    kinds = [_VALUE_KINDS[kind] for _, kind in compiled.signature.parameters]
    record["parameters"][0, : len(kinds)] = kinds
    results = [_VALUE_KINDS[kind] for kind in compiled.signature.results]
    record["results"][0, : len(results)] = results[:EXTENSION_RESULTS_TOLD]
    record["results_count"] = len(results) if compiled.signature.is_tuple else 0
    first = compiled.first_lookup
    record["first_key"], record["first_key_parameter"] = first.key, first.key_parameter
    record["first_table"], record["first_table_parameter"] = first.table, first.table_parameter
    return record.tobytes() + metadata


def with_kernel(value: bytes, is_used: bool, program_bytes: int) -> bytes:
    """The same object with its code in the kernel in use, or not, where its program takes so many bytes."""
    return _changed(value, parse(value).kernel if is_used else 0, {"program": program_bytes})


def without_kernel(value: bytes, worker_reason: str) -> bytes:
    """The same object of an extension that the kernel has no code of any more, and why."""
    return _changed(value, 0, {"kernel": 0, "why": worker_reason, "program": 0})


def _changed(value: bytes, kernel: int, told: dict[str, Any]) -> bytes:
    record = np.frombuffer(value, RECORD.dtype, 1).copy()
    length = int(record["metadata_length"][0])
    metadata = _metadata(msgpack.unpackb(value[RECORD.itemsize :][:length]) | told)
    record["kernel"], record["metadata_length"] = kernel, len(metadata)
    return record.tobytes() + metadata


def _metadata(told: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(told)
    return packed


def parse(value: bytes | memoryview) -> InstalledExtension:
    """The inverse of :func:`build`; raises :class:`ProtocolError` for anything else."""
    if len(value) < RECORD.itemsize:
        raise ProtocolError(f"an extension record of {len(value)} bytes is too short")
    record = np.frombuffer(value, RECORD.dtype, 1)[0]
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
            program_bytes=int(metadata["program"]),
            worker_reason=str(metadata["why"]),
            library=str(metadata["library"]),
        )
    except (ValueError, KeyError, TypeError, msgpack.UnpackException) as error:
        raise ProtocolError(f"not an extension record: {error}") from None
