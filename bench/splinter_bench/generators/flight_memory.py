"""The owner of a load generator's memory: makes the records of :mod:`.flight_layout` from a workload."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

from splinter.errors import Status
from splinter.wire import H_CLIENT
from splinter_bench.generators import flight_layout as f
from splinter_bench.generators.flight import LATE_NS_MAX, UNCHECKED
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, Route, frame
from splinter_bench.histogram import Histogram, Series
from splinter_bench.workloads.workload import Operation, Workload

TIMEOUT_NS_DEFAULT = 1_000_000_000  # a reply that takes longer is lost: not even a busy machine keeps one for as long
UNLIMITED = 1 << 62
_STATUSES = 256  # the status is one byte
_CLIENT_BITS = 63
_WORD_BYTES = 8


class Flight:
    """Owner of the memory behind one ``FLIGHT`` record. One client's life long: sequence numbers go on between runs."""

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
        self.client = secrets.randbits(_CLIENT_BITS)
        self._record["next_sequence"] = self._record["oldest"] = 1
        self._record["pending"] = self._pending.ctypes.data
        self._record["following"] = self._following.ctypes.data
        self._record["statuses"] = self._statuses.ctypes.data
        self._record["client"] = self.client
        self.timeout_ns = TIMEOUT_NS_DEFAULT

    @property
    def address(self) -> int:
        """Address of the record, for compiled code; valid as long as this object lives."""
        return int(self._record.ctypes.data)

    @property
    def timeout_ns(self) -> int:
        """How long a reply may take until its request counts as lost, in ns."""
        return self["timeout_ns"]

    @timeout_ns.setter
    def timeout_ns(self, value: int) -> None:
        self._record["timeout_ns"] = value

    def __getitem__(self, field: str) -> int:
        return int(self._record[field][0])

    def load(self, workload: Workload, route: Route) -> None:
        """Make the workload's frames, set all counters to zero, lift all limits. No request may be under way."""
        if self["in_flight"]:
            raise RuntimeError("requests of the last run are still under way")
        self._keep, self._record["following_head"] = [], self["following_tail"]
        self._names = [operation.name for operation in workload.operations]
        self.histograms = {name: Histogram() for name in self._names}
        addresses = [self._make(n, operation, route) for n, operation in enumerate(workload.operations)]
        choice = self._hold(np.ascontiguousarray(workload.choice, np.uint16))
        numbers = self._hold(np.ascontiguousarray(workload.keys, np.int64))
        self._record["templates"] = self._hold(np.array(addresses, np.int64)).ctypes.data
        self._record["choice"] = choice.ctypes.data
        self._record["numbers"] = numbers.ctypes.data
        self._record["columns"] = 1 if numbers.ndim == 1 else numbers.shape[1]
        self._record["schedule_entries"] = len(choice)
        self._record["advance"] = workload.advance
        self._record["reach"] = workload.reach or f.WINDOW
        self._record["accounts"] = self._record["account_choice"] = 0
        if workload.accounts:
            accounts = np.array([(account.tenant, account.token) for account in workload.accounts], f.ACCOUNT)
            who = self._hold(np.ascontiguousarray(workload.account_choice, np.uint16))
            self._record["accounts"] = self._hold(accounts).ctypes.data
            self._record["account_choice"] = who.ctypes.data
        for name in (*f.COUNTERS, "cursor", "shift", "gaps", "next_ns", "late_ns", "series", "recording", "recording_count"):
            self._record[name] = 0
        self._statuses[:] = 0
        self._record["depth"] = f.IN_FLIGHT_MAX
        self._record["remaining"] = self._record["until_ns"] = UNLIMITED

    def _make(self, number: int, operation: Operation, route: Route) -> int:
        """Templates of an operation and of what follows it; the address of the first.

        What follows belongs to the request: only the root's template says where its latency is counted.
        """
        packets = operation.packets
        templates = self._hold(np.zeros(len(packets), f.TEMPLATE))
        for template, packet in zip(templates, packets, strict=True):
            payload = bytearray(packet.payload)
            payload[H_CLIENT : H_CLIENT + _WORD_BYTES] = self.client.to_bytes(_WORD_BYTES, "little")
            content = self._hold(np.frombuffer(bytearray(frame(route, bytes(payload))), np.uint8))
            template["frame"], template["length"] = content.ctypes.data, len(content)
            self._patch(template, "", [(at + FRAME_HEADER_BYTES, column) for at, column in packet.patches])
            template["reply_length"] = UNCHECKED if packet.reply is None else len(packet.reply)
            reply = self._hold(np.frombuffer(bytearray(packet.reply or b"\0"), np.uint8))
            template["reply"] = reply.ctypes.data
            self._patch(template, "reply_", packet.reply_patches)
            template["is_put"], template["is_mutation"] = operation.is_put, operation.is_mutation
            template["may_miss"] = operation.may_miss
            template["histogram"] = self.histograms[self._names[number]].address
            template["operation"] = number
        templates["pieces"][0] = max(len(packets), 1)
        if operation.then is not None:
            templates["then"][0] = self._make(number, operation.then, route)
        return int(templates.ctypes.data)

    def _patch(self, template: np.void, prefix: str, patches: Sequence[tuple[int, int]]) -> None:
        made = self._hold(np.array(list(patches) or [(0, 0)], f.PATCH))
        template[f"{prefix}patches"], template[f"{prefix}patch_count"] = made.ctypes.data, len(patches)

    def _hold(self, array: np.ndarray) -> np.ndarray:
        """An array that stays where it is until the next :meth:`load`."""
        self._keep.append(array)
        return array

    def limit(self, *, depth: int, until_ns: int, requests: int) -> None:
        """Have ``depth`` requests under way at most, send none that is due at ``until_ns``, and ``requests`` in all."""
        self._record["depth"], self._record["until_ns"], self._record["remaining"] = depth, until_ns, requests

    def arrive(self, start_ns: int, gaps: np.ndarray) -> None:
        """Make it an open loop: the first arrival is due ``gaps[0]`` after ``start_ns``, each other one its gap later."""
        held = self._hold(np.ascontiguousarray(gaps, np.int64))
        self._record["gaps"], self._record["gap_entries"] = held.ctypes.data, len(held)
        self._record["gap_cursor"] = 1 % len(held)
        self._record["next_ns"], self._record["late_ns"] = start_ns + int(held[0]), LATE_NS_MAX

    def record_between(self, from_ns: int, until_ns: int, series: Series | None = None) -> None:
        """Record what falls into this time, on the clock of :func:`splinter.native.clock.now_ns`.

        Of a closed loop that are replies, by when they come; of an open loop latencies by when their requests were due, and
        the rate by when replies come.
        """
        self._record["record_from_ns"] = from_ns
        self._record["record_until_ns"] = until_ns
        self.series = series
        if series is not None:
            self._record["series"] = series.address
            self._record["series_intervals"] = len(series.cells)
            self._record["series_interval_ns"] = series.interval_ns

    def note_requests(self, start_ns: int, room: int) -> None:
        """Note each request that is sent, up to ``room`` of them."""
        self._lines = np.zeros(room, f.RECORDED)
        self._record["recording"], self._record["recording_room"] = self._lines.ctypes.data, room
        self._record["recording_start_ns"] = start_ns

    @property
    def noted(self) -> np.ndarray:
        """``RECORDED[n]``: what was noted since :meth:`note_requests`."""
        return self._lines[: self["recording_count"]]

    def errors(self) -> dict[str, int]:
        """How many requests ended with each status but OK, by its name."""
        found = {int(status): int(self._statuses[status]) for status in np.flatnonzero(self._statuses)}
        names = {int(status): status.name for status in Status}
        return {names.get(status, str(status)): count for status, count in found.items()}
