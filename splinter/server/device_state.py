"""How the served device does: one record in shared memory, which the supervisor writes and the control process reads.

``statistics`` may read while it is written: each number is whole, the text is that of before, of now, or a mixture.
"""

from __future__ import annotations

import time
from enum import IntEnum
from typing import Any

import numpy as np

from splinter.native.memory import SharedArena

_TEXT_BYTES = 248


class DeviceCondition(IntEnum):
    """What can be said of the device."""

    SERVED = 0  # a reason tells what is not as it should be all the same
    DOWN = 1  # it is there, but down, without a carrier or without an address to serve: no request can come in
    LOST = 2  # it is gone, or has another XDP program: no request comes in


RECORD = np.dtype(
    [
        ("condition", "<u4"),
        ("ifindex", "<u4"),
        ("queues", "<u4"),  # that have sockets
        ("mtu", "<u4"),
        ("since_ns", "<u8"),  # monotonic clock at the last change of the condition
        ("losses", "<u8"),  # times it was lost
        ("returns", "<u8"),  # times it was served again on new sockets, also because its queues had changed
        ("generic", "<u8"),  # 1: the program runs in generic mode
        ("text", f"S{_TEXT_BYTES}"),  # why it is not served, or not as it should be
    ]
)


class DeviceState:
    """The record. Every field has one writer, the supervisor."""

    def __init__(self) -> None:
        self._record = SharedArena(RECORD.itemsize + 64).array(RECORD)
        self._record["since_ns"] = time.monotonic_ns()

    def set(self, **fields: Any) -> None:
        """Write fields."""
        for name, value in fields.items():
            self._record[name] = value

    def become(self, condition: DeviceCondition, text: str = "") -> bool:
        """Write the condition and its reason; returns whether one of them is another than before, which is news."""
        reason_before = self.reason
        self._record["text"] = text.encode()[:_TEXT_BYTES]
        if self.condition == condition:
            return self.reason != reason_before
        self._record["since_ns"] = time.monotonic_ns()
        self._record["losses"] += condition == DeviceCondition.LOST
        self._record["condition"] = condition
        return True

    def count_return(self) -> None:
        """Note that the device is served on new sockets."""
        self._record["returns"] += 1

    @property
    def condition(self) -> DeviceCondition:
        """The condition."""
        return DeviceCondition(int(self._record["condition"][0]))

    @property
    def reason(self) -> str:
        """Why it is not served, or what is not as it should be; empty when there is nothing to say."""
        return bytes(self._record["text"][0]).decode(errors="replace")

    @property
    def mode(self) -> str:
        """Of the XDP program."""
        return "generic" if self._record["generic"][0] else "native"

    def seconds(self) -> float:
        """For how long the condition has been so."""
        return (time.monotonic_ns() - int(self._record["since_ns"][0])) / 1e9

    def statistics(self) -> dict[str, Any]:
        """For the control plane."""
        record = self._record[0]
        return {
            "condition": self.condition.name.lower(),
            "seconds": round(self.seconds(), 3),
            "reason": self.reason,
            **{name: int(record[name]) for name in ("ifindex", "queues", "mtu", "losses", "returns")},
        }
