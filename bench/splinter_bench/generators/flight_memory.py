"""The owner of a load generator's memory: makes the records of :mod:`.flight_layout` from a workload."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from splinter.errors import Status
from splinter.limits import CLIENT_WINDOW
from splinter.wire import H_CLIENT
from splinter_bench.generators import flight_layout as f
from splinter_bench.generators.flight import LATE_NS_MAX, UNCHECKED
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame
from splinter_bench.histogram import Histogram, Series
from splinter_bench.workloads.workload import Operation, Workload

TIMEOUT_NS_DEFAULT = 5_000_000_000  # a reply that takes longer is lost: not even a busy machine keeps one for as long
UNLIMITED = 1 << 62
_STATUSES = 256  # the status is one byte
_CLIENT_BITS = 63
_WORD_BYTES = 8
_FROM_ZERO = (
    *f.COUNTERS, "cursor", "shift", "gaps", "next_ns", "late_ns", "accounts", "series", "recording", "recording_count",
)  # fmt: skip


class Flight:
    """Owner of the memory behind one ``FLIGHT`` record. Its clients live as long: sequence numbers go on between runs."""

    def __init__(self) -> None:
        self._record = np.zeros(1, f.FLIGHT)
        self._pending = np.zeros(f.WINDOW, f.PENDING)
        self._following = np.zeros(f.WINDOW, f.FOLLOWING)
        self._statuses = np.zeros(_STATUSES, np.int64)
        self._lines = np.zeros(0, f.RECORDED)
        self.histograms: dict[str, Histogram] = {}  # by name of the operation
        self.series: Series | None = None
        self._keep: list[np.ndarray] = []
        self._names: list[str] = []
        self._roots: list[np.ndarray] = []  # TEMPLATE[packets] of each operation of what is loaded
        self.client = secrets.randbits(_CLIENT_BITS)
        self._set(client=self.client, next_sequence=1, oldest=1, timeout_ns=TIMEOUT_NS_DEFAULT)
        self._set(clients=1, stride=1, numbered_from=1, first_on_wire=1)
        self._set(pending=_at(self._pending), following=_at(self._following), statuses=_at(self._statuses))

    def __getitem__(self, field: str) -> int:
        return int(self._record[field][0])

    def _set(self, **fields: int) -> None:
        for name, value in fields.items():
            self._record[name] = value

    @property
    def address(self) -> int:
        """Address of the record, for compiled code; valid as long as this object lives."""
        return _at(self._record)

    @property
    def timeout_ns(self) -> int:
        """How long a reply may take until its request counts as lost, in ns."""
        return self["timeout_ns"]

    @timeout_ns.setter
    def timeout_ns(self, value: int) -> None:
        self._set(timeout_ns=value)

    def load(self, workload: Workload, route: Route) -> None:
        """Make the workload's frames, set all counters to zero, lift all limits. No request may be under way."""
        if self["in_flight"]:
            raise RuntimeError("requests of the last run are still under way")
        self._keep = []
        self._names = [operation.name for operation in workload.operations]
        self.histograms = {name: Histogram() for name in self._names}
        self._statuses[:] = 0
        self._set(**dict.fromkeys(_FROM_ZERO, 0), following_head=self["following_tail"])
        numbers = workload.keys.reshape(len(workload.choice), -1)
        self._roots = [self._make(n, operation, route) for n, operation in enumerate(workload.operations)]
        self._set(
            templates=self._hold([_at(root) for root in self._roots], np.int64),
            choice=self._hold(workload.choice, np.uint16),
            numbers=self._hold(numbers, np.int64),
            columns=numbers.shape[1],
            schedule_entries=len(numbers),
            advance=workload.advance,
        )
        self._number(workload)
        if workload.account_choice is not None:
            who = [(account.tenant, account.token) for account in workload.accounts]
            self._set(accounts=self._hold(who, f.ACCOUNT), account_choice=self._hold(workload.account_choice, np.uint16))
        self.limit(depth=f.IN_FLIGHT_MAX, until_ns=UNLIMITED, requests=UNLIMITED)

    def _number(self, workload: Workload) -> None:
        """Number requests on the wire as the workload wants them, beyond all numbers that a client has had."""
        clients, stride = workload.clients, max(max(1, operation.batch) for operation in workload.operations)
        if (clients, stride) != (self["clients"], self["stride"]):
            begin = self["next_sequence"]
            turns = -(-(begin - self["numbered_from"]) // self["clients"])
            first = self["first_on_wire"] + turns * self["stride"]
            self._set(clients=clients, stride=stride, numbered_from=begin, first_on_wire=first, oldest=begin)
        window = clients * (CLIENT_WINDOW // stride) if clients > 1 else f.WINDOW
        self._set(reach=min(workload.reach or f.WINDOW, window))

    def _make(self, number: int, operation: Operation, route: Route) -> np.ndarray:
        """Templates of an operation, which lead to those of what follows it.

        What follows belongs to the request: only the root's template says where its latency is counted.
        """
        made = np.zeros(len(operation.packets), f.TEMPLATE)
        self._keep.append(made)
        for template, packet in zip(made, operation.packets, strict=True):
            payload = bytearray(packet.payload)
            payload[H_CLIENT : H_CLIENT + _WORD_BYTES] = self.client.to_bytes(_WORD_BYTES, "little")
            content = frame(route, bytes(payload))
            template["frame"], template["length"] = self._hold(bytearray(content), np.uint8), len(content)
            patches = [(at + FRAME_HEADER_BYTES, column) for at, column in packet.patches]
            template["patches"], template["patch_count"] = self._hold(patches, f.PATCH), len(patches)
            template["reply"] = self._hold(bytearray(packet.reply or b""), np.uint8)
            template["reply_length"] = UNCHECKED if packet.reply is None else len(packet.reply)
            template["reply_patches"] = self._hold(packet.reply_patches, f.PATCH)
            template["reply_patch_count"], template["answers"] = len(packet.reply_patches), operation.batch
        made["is_put"], made["is_mutation"], made["may_miss"] = operation.is_put, operation.is_mutation, operation.may_miss
        made["histogram"], made["operation"] = self.histograms[self._names[number]].address, number
        made["pieces"][0] = len(made)
        if operation.then is not None:
            made["then"][0] = _at(self._make(number, operation.then, route))
        return made

    def _hold(self, content: Any, kind: Any) -> int:
        """The address of a contiguous array, which stays where it is until the next :meth:`load`."""
        self._keep.append(np.ascontiguousarray(content if isinstance(content, np.ndarray) else list(content), kind))
        return _at(self._keep[-1])

    def limit(self, *, depth: int, until_ns: int, requests: int) -> None:
        """Have ``depth`` requests under way at most, send none that is due at ``until_ns``, and ``requests`` in all."""
        self._set(depth=depth, until_ns=until_ns, remaining=requests)

    def arrive(self, start_ns: int, gaps: np.ndarray) -> None:
        """Make it an open loop: the first arrival is due ``gaps[0]`` after ``start_ns``, each other one its gap later."""
        self._set(gaps=self._hold(gaps, np.int64), gap_entries=len(gaps), gap_cursor=1 % len(gaps))
        self._set(next_ns=start_ns + int(gaps[0]), late_ns=LATE_NS_MAX)

    def record_between(self, from_ns: int, until_ns: int, series: Series | None = None) -> None:
        """Record what falls into this time, on the clock of :func:`splinter.native.clock.now_ns`.

        Of a closed loop that are replies, by when they come; of an open loop latencies by when their requests were due, and
        the rate by when replies come.
        """
        self._set(record_from_ns=from_ns, record_until_ns=until_ns)
        self.series = series
        if series is not None:
            self._set(series=series.address, series_intervals=len(series.cells), series_interval_ns=series.interval_ns)

    def note_requests(self, start_ns: int, room: int) -> None:
        """Note each request that is sent, up to ``room`` of them."""
        self._lines = np.zeros(room, f.RECORDED)
        self._set(recording=_at(self._lines), recording_room=room, recording_start_ns=start_ns)

    @property
    def noted(self) -> np.ndarray:
        """``RECORDED[n]``: what was noted since :meth:`note_requests`."""
        return self._lines[: self["recording_count"]]

    def unsent_of(self) -> dict[str, int]:
        """How many latencies in each operation's histogram are of arrivals that were never sent, by its name."""
        return {name: int(root["unsent"][0]) for name, root in zip(self._names, self._roots, strict=True)}

    def errors(self) -> dict[str, int]:
        """How many requests ended with each status but OK, by its name."""
        names = {int(status): status.name for status in Status}
        return {
            names.get(status, str(status)): int(self._statuses[status]) for status in np.flatnonzero(self._statuses).tolist()
        }


def _at(array: np.ndarray) -> int:
    return int(array.ctypes.data)
