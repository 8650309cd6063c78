"""What is known of installed extensions: entries, blocks of machine code, and what waits until nobody can run it any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splinter.ext.signature import Signature


@dataclass(slots=True)
class Block:
    """Machine code in the region; sizes in bytes, ``offset`` from the region's start. ``users`` records name it."""

    digest: bytes  # of the source
    address: int
    offset: int
    size: int
    users: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Offset and size."""
        return self.offset, self.size


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed extension; ``slot`` is that of its counters, ``frame_bytes`` what a task of it needs."""

    name: str
    signature: Signature
    version: int
    block: Block
    frame_bytes: int
    slot: int
    worker_reason: str = ""  # why it was installed to run in the worker; empty: it was not, or the server has no other place
    library: str = ""  # that its source says it is of; empty: none

    @property
    def code_bytes(self) -> int:
        """Size of the block that its machine code lies in, with others that were compiled with it."""
        return self.block.size


@dataclass(frozen=True, slots=True)
class Waiting:
    """What may be used again when nobody can refer to what was unlinked at ``stamp``."""

    stamp: int
    tenant: int
    block: Block
    slot: int | None  # None: the extension was replaced and keeps its slot


def machine_code_bytes(entries: Iterable[Entry], *more: Block) -> int:
    """Size of the blocks that some extensions of one tenant use, each once."""
    blocks = {block.offset: block.size for block in (*(entry.block for entry in entries), *more)}
    return sum(blocks.values())
