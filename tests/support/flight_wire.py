"""A load generator's requests, launched and answered by hand: no socket, no clock."""

from __future__ import annotations

import numpy as np
from splinter_bench.generators.flight import launch
from splinter_bench.generators.flight_memory import Flight
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route
from splinter_bench.generators.replies import complete
from splinter_bench.workloads.workload import Workload

from splinter.limits import CHUNK_BYTES
from splinter.wire import FLAG_REPLY, Header

_ROUTE = Route("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2", 40_000, 7171)


class Wire:
    """Launches and answers by hand."""

    def __init__(self, workload: Workload) -> None:
        self.flight = Flight()
        self.load(workload)
        self.buffer = np.zeros(CHUNK_BYTES, np.uint8)

    def load(self, workload: Workload) -> None:
        """Go on with another workload."""
        self.flight.load(workload, _ROUTE)

    def send(self, now: int) -> bytes:
        """The next packet's payload, empty when there is none."""
        length = launch(self.flight.address, self.buffer.ctypes.data, now)
        return self.buffer[FRAME_HEADER_BYTES:length].tobytes() if length else b""

    def send_all(self, now: int) -> list[bytes]:
        """All packets that are sent now."""
        return list(iter(lambda: self.send(now), b""))

    def answer(self, request: bytes, now: int, value: bytes = b"", **fields: int) -> bool:
        """The reply to a request."""
        asked = Header.unpack(request)
        header = Header(
            opcode=asked.opcode,
            flags=FLAG_REPLY,
            client=asked.client,
            sequence=asked.sequence,
            fragment_index=asked.fragment_index,
            value_length=len(value),
        )
        for name, number in fields.items():
            setattr(header, name, number)
        reply = np.frombuffer(bytearray(header.pack() + value), np.uint8)
        return bool(complete(self.flight.address, reply.ctypes.data, len(reply), now))

    @property
    def latencies(self) -> dict[str, int]:
        """Percentiles of what was recorded."""
        (histogram,) = self.flight.histograms.values()
        return histogram.percentiles()
