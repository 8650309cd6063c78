"""Load from within the kernel, for rates beyond what a copy-mode socket can send.

``BPF_PROG_TEST_RUN`` with live frames runs ``bpf/generate.c`` over frames that never were in a socket and sends them to the
server's end of the link; ``bpf/count.c`` counts and drops the replies at the client's. It tells how much of an offered load
is answered and how much is lost, not how long an answer takes. The server's side of receiving (its XDP program, the copy into
the ring) runs on the generator's CPU, as with every sender on a veth pair: so several CPUs are loaded by a generator on each.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splinter.errors import SplinterError, Status
from splinter.limits import PORT_DEFAULT, REQUEST_HEADER_BYTES
from splinter.native.clock import SECOND_NS
from splinter.net.netns import inside
from splinter.wire import H_SEQUENCE, H_STATUS, H_TENANT, H_TOKEN, MAGIC
from splinter_bench.generators.frames import FRAME_HEADER_BYTES, frame
from splinter_bench.generators.kernel import REQUEST, CountProgram, GeneratorProgram, ReplyForm
from splinter_bench.generators.path import Path
from splinter_bench.owner import Owner
from splinter_bench.result import Result
from splinter_bench.workloads.workload import Workload

_SOURCE_PORT = 40_001
_SCHEDULE_MAX = 1 << 16
_APART = 12_345  # entries of the schedule between what two CPUs begin with
_ANSWER_SECONDS_MAX = 2.0
_SETUP_SECONDS = 0.02  # that the kernel takes before the first frame
_PLACES = ("TENANT_AT", "TOKEN_AT", "SEQUENCE_AT", "KEY_AT", "VALUE_AT")
_QUIET_SECONDS = 0.02  # without a further reply: all have come that will


class LiveResult(Result):
    """One run. Rates are of the time from the first frame to the last; setting up, some 20 ms, is not in it.

    ``requests`` are those sent, ``recorded`` those answered as they must be; the others found a full ring or socket.
    """

    @property
    def sent(self) -> int:
        """Requests that were made."""
        return self.requests

    @property
    def offered_per_second(self) -> float:
        """Requests that were made in each second."""
        return self.requests / self.seconds

    @property
    def dropped(self) -> int:
        """Requests without a reply: they found a ring full."""
        return max(0, self.requests - self.recorded - sum(self.errors.values()))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "rate": self.rate,
            "seconds": round(self.seconds, 6),
            "sent": self.sent,
            "answered": self.recorded,
            "dropped": self.dropped,
            "errors": self.errors,
            "offered_per_second": round(self.offered_per_second, 1),
            "per_second": round(self.per_second, 1),
        }


@dataclass(frozen=True)
class LiveLoad:
    """What to send: ``payload`` of a UDP datagram, over and over, with numbers of ``schedule`` (``REQUEST[n]``) written in.

    ``places``: offsets in the payload of those of :class:`GeneratorProgram` that are written. ``form``: what replies are.
    """

    name: str
    payload: bytes
    places: dict[str, int]
    schedule: np.ndarray
    form: ReplyForm

    @classmethod
    def of_workload(cls, workload: Workload, *, is_echo: bool = False, entries: int = _SCHEDULE_MAX) -> LiveLoad:
        """Of one operation in one packet; raises :class:`SplinterError` for other workloads.

        ``is_echo``: the replies are the requests. ``entries``: of the workload's schedule, at most; the first power of two
        below is taken.
        """
        operation = workload.operations[0]
        if len(workload.operations) != 1 or len(operation.packets) != 1 or operation.then or operation.patches:
            raise SplinterError("load from within the kernel is of one operation that takes one packet, as get and put")
        places = {"TENANT_AT": H_TENANT, "TOKEN_AT": H_TOKEN, "SEQUENCE_AT": H_SEQUENCE}
        numbers = {"KEY_AT": operation.key_at, "VALUE_AT": operation.value_at}
        places |= {name: at for name, at in numbers.items() if at is not None}
        reply_bytes = 0 if is_echo or operation.reply is None else REQUEST_HEADER_BYTES + len(operation.reply)
        form = ReplyForm(MAGIC.to_bytes(4, "little"), status_at=H_STATUS, reply_bytes=reply_bytes)
        return cls(workload.name, operation.payload, places, _schedule(workload, entries), form)


class LiveClient(Owner):
    """Sends a load from the device of ``path``; needs root.

    ``beside``: CPUs that make load as well, from processes of their own. Other programs may use the device between runs.
    Raises ``OSError`` when the kernel has no live frames (before Linux 5.18).
    """

    def __init__(
        self, path: Path, load: LiveLoad, port: int = PORT_DEFAULT, *, netns: str | None = None, beside: Sequence[int] = ()
    ) -> None:
        self._name, self._netns, self._beside = load.name, netns, tuple(beside)
        route = path.route(_SOURCE_PORT, port)
        at = dict.fromkeys(_PLACES, 0) | {name: FRAME_HEADER_BYTES + place for name, place in load.places.items()}
        with self._opening() as stack, inside(netns):
            made = frame(route, load.payload)
            self._generators = [
                stack.enter_context(
                    GeneratorProgram(path.device, made, FRAME_HEADER_BYTES, at, np.roll(load.schedule, -number * _APART))
                )
                for number in range(1 + len(self._beside))
            ]
            self._counter = stack.enter_context(CountProgram(path.device, port, load.form))

    def run(self, seconds: float, rate: float | None = None) -> LiveResult:
        """Make load for ``seconds``, ``rate`` requests a second or as many as possible, and wait for the last replies.

        Raises :class:`SplinterError` when nothing was sent, and when another program is on the device.
        """
        before, made, gap_ns = self._counter.counts(), self._made, int(SECOND_NS / rate) if rate else 0
        with inside(self._netns):
            self._counter.attach()
            try:
                with self._sending_beside(seconds + _SETUP_SECONDS, gap_ns):
                    self._generators[0].send(seconds + _SETUP_SECONDS, gap_ns)
                after = self._wait_for_replies()
            finally:
                self._counter.detach()
        first, last = zip(*(generator.sending for generator in self._generators), strict=True)
        spent = (max(last) - min(first)) / SECOND_NS if all(first) else 0.0
        if spent <= 0:
            raise SplinterError(f"{self._name}: the kernel sent nothing in {seconds} s")
        counts = {status: count - before.get(status, 0) for status, count in after.items()}
        errors = {_name(status): count for status, count in counts.items() if status != Status.OK and count}
        answered = counts.get(Status.OK, 0)
        return LiveResult(self._name, 0, spent, self._made - made, answered, checked=answered, errors=errors, rate=rate)

    @property
    def _made(self) -> int:
        return sum(generator.made for generator in self._generators)

    @contextlib.contextmanager
    def _sending_beside(self, seconds: float, gap_ns: int) -> Iterator[None]:
        """Load from the other CPUs while the block runs; it is over when they have ended."""
        children = []
        try:
            for cpu, generator in zip(self._beside, self._generators[1:], strict=True):
                child = os.fork()
                if child == 0:
                    try:
                        os.sched_setaffinity(0, {cpu})
                        generator.send(seconds, gap_ns)
                    finally:
                        os._exit(0)
                children.append(child)
            yield
        finally:
            for child in children:
                os.waitpid(child, 0)

    def _wait_for_replies(self) -> dict[int, int]:
        deadline, counts = time.monotonic() + _ANSWER_SECONDS_MAX, self._counter.counts()
        while time.monotonic() < deadline:
            time.sleep(_QUIET_SECONDS)
            before, counts = counts, self._counter.counts()
            if counts == before:
                break
        return counts


def _schedule(workload: Workload, most: int) -> np.ndarray:
    """The first requests of the workload's schedule, as many as a power of two."""
    entries = min(most, 1 << (len(workload.choice).bit_length() - 1))
    found = np.zeros(entries, REQUEST)
    found["number"] = workload.keys.reshape(len(workload.choice), -1)[:entries, 0]
    payload = workload.operations[0].payload
    found["tenant"] = int.from_bytes(payload[H_TENANT : H_TENANT + 4], "little")
    found["token"] = int.from_bytes(payload[H_TOKEN : H_TOKEN + 8], "little")
    if workload.accounts and workload.account_choice is not None:
        who = workload.account_choice[:entries]
        found["tenant"] = np.array([account.tenant for account in workload.accounts], np.uint64)[who]
        found["token"] = np.array([account.token for account in workload.accounts], np.uint64)[who]
    return found


def _name(status: int) -> str:
    names = {int(known): known.name for known in Status}
    return names.get(status, "no reply" if status < 0 else str(status))
