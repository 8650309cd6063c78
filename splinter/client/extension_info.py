"""What the control plane tells of an installed extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splinter.ext.signature import Signature


@dataclass(frozen=True)
class ExtensionInfo:
    """An installed extension. ``version`` counts installs under its name; sizes are in bytes, and ``code_bytes`` is that
    of a block of machine code, which extensions that were installed together share.

    The counters are of all versions since the first install under the name: ``invocations`` that ended, ``errors`` of
    them, ``yields``, and ``cpu_us``, microseconds of the workers' CPU time. ``in_kernel`` of the invocations ended in the
    kernel. ``place`` says where it runs, ``"kernel"`` or ``"worker"``; ``worker_reason`` why it is in the worker (empty on a
    server that has no other place). ``kills`` is how many workers had to be replaced because of
    it since it was installed or released last; when they are too many it is ``quarantined``, and invokes are refused.
    ``not_runnable``: why the server cannot run what its data folder has (its ``place`` is ``"none"`` then); empty: it can.
    """

    name: str
    signature: Signature
    version: int
    code_bytes: int
    frame_bytes: int
    place: str
    worker_reason: str
    invocations: int
    in_kernel: int
    errors: int
    yields: int
    cpu_us: int
    kills: int
    quarantined: bool
    not_runnable: str = ""


def extension_info(fields: dict[str, Any]) -> ExtensionInfo:
    """From a message of the control plane."""
    from splinter.ext.signature import Signature

    return ExtensionInfo(**{**fields, "signature": Signature.from_wire(fields["signature"])})
