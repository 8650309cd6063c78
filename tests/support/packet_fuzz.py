"""Millions of random and mutated packets and control messages at a server, beside honest tenants: what ``scripts/fuzz-packets``
runs. Nothing may die, nothing may leak, nobody's objects may change."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack

from splinter.client import Client
from splinter.client.admin import Admin, TenantInfo
from splinter.errors import SplinterError
from splinter.net.netns import inside
from splinter.server import instance as instances
from tests.support.random_messages import LENGTH, RandomMessages
from tests.support.random_packets import SOURCES, RandomPackets, Sender
from tests.support.servers import RunningServer, running_server
from tests.support.waiting import wait_for

PACKETS_DEFAULT, MESSAGES_DEFAULT, MINUTES_DEFAULT = 10_000_000, 100_000, 60.0
BATCH = 512  # packets until the workers have answered a ping: no ring is full
FLOOD_SHARE = 0.05  # of batches behind which nobody waits: rings are full now and then
OBJECTS = 200  # of each honest tenant
HONEST = 4
QUOTA_BYTES = 4 << 20
TIMEOUT_SECONDS = 30.0
SETTLE_SECONDS = 90.0  # what is idle for a minute is forgotten then
LEAK_BYTES_MAX = 16 << 20  # by which the control process may grow between two halves of the messages
SHOW_SECONDS = 5.0
PAUSE_SECONDS = 0.01  # beside control messages: who answers these gives way to those
_TERMINATED = 143


@dataclass
class Verdict:
    """What was sent, and everything that must not be."""

    packets: int = 0
    seen: int = 0  # packets that the server took meanwhile, honest ones among them; others found a full ring or socket
    messages: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    honest: int = 0  # requests of honest tenants, each of whose replies was checked
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = ", ".join(f"{count:,} {name}" for name, count in self.replies.most_common(8))
        return (
            f"{self.packets:,} packets (the server took {self.seen:,} meanwhile, honest ones among them) and "
            f"{self.messages:,} control messages ({kinds}) in {self.seconds:.0f} s; {self.honest:,} requests of honest tenants"
        )


class Honest:
    """A tenant that puts and gets its own objects, and knows what each must be."""

    def __init__(self, server: RunningServer, tenant: TenantInfo, seed: int) -> None:
        self.client = server.client(tenant, timeout=TIMEOUT_SECONDS)
        self._dice = random.Random(seed)
        self.objects = {number: self._value() for number in range(OBJECTS)}
        self.client.put_many([(self.key(number), value) for number, value in self.objects.items()], table=1)
        self.client.install(SOURCES["look"])
        self.requests = 0

    def _value(self) -> bytes:
        return self._dice.randbytes(1 + self._dice.randrange(self._dice.choice((100, 1000, 5000))))

    @staticmethod
    def key(number: int) -> bytes:
        """The same keys as the attackers ask for."""
        return number.to_bytes(8, "little")

    def step(self) -> None:
        """One request, and a look at its reply."""
        number = self._dice.randrange(OBJECTS)
        if self._dice.random() < 0.2:
            value = self._value()
            self.client.put(self.key(number), value, table=1)
            self.objects[number] = value
        elif self._dice.random() < 0.2:
            assert self.client.invoke("look", number) == len(self.objects[number]), "an invoke's result is wrong"
        else:
            assert self.client.get(self.key(number), table=1) == self.objects[number], f"object {number} is another"
        self.requests += 1

    def check(self) -> None:
        """All objects, and that there are no others of theirs in the attackers' tables."""
        assert self.client.get_many([self.key(n) for n in self.objects], table=1) == list(self.objects.values())
        assert self.client.get_many([self.key(n) for n in range(OBJECTS)], table=0) == [None] * OBJECTS
        assert [extension.name for extension in self.client.extensions()] == ["look"]


class Fuzz:
    """One server, its attackers and its honest tenants."""

    def __init__(self, server: RunningServer, seed: int, show: Callable[[str], None] = lambda _: None) -> None:
        self._server, self._seed, self._show = server, seed, show
        self._admin: Admin = server.admin()
        self.verdict = Verdict()
        self._pause = 0.0  # seconds between an honest tenant's requests
        self._slots = len(server.info.cores)
        honest = [self._admin.create_tenant(home=number % self._slots) for number in range(HONEST)]
        self._honest = [Honest(server, tenant, seed + number) for number, tenant in enumerate(honest)]
        self._pingers = [
            server.client(self._admin.create_tenant(home=slot), timeout=TIMEOUT_SECONDS) for slot in range(self._slots)
        ]
        self._others = honest
        self._known = {tenant.tenant for tenant in self._admin.list_tenants()}
        self._before, self._opened, self._kept = self._admin.stats(), self._descriptors(), self._objects()
        self._pids, self._control = server.worker_pids(), server.children("splinter-ctl")

    def run(self, packets: int, messages: int, minutes: float) -> Verdict:
        """Send all that, or as much as the time allows; then look at what is left."""
        started = time.monotonic()
        deadline = started + minutes * 60
        stop = threading.Event()
        threads = [threading.Thread(target=self._work, args=(honest, stop), daemon=True) for honest in self._honest]
        for thread in threads:
            thread.start()
        try:
            attackers = self._attackers()
            self._send_packets(attackers, packets, deadline, stop)
            self._pause = PAUSE_SECONDS
            self._send_messages(attackers, messages, deadline, stop)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self._look_at_the_rest()
        self.verdict.honest = sum(honest.requests for honest in self._honest)
        if not all(honest.requests for honest in self._honest):
            self.verdict.wrong.append("an honest tenant got nothing done")
        self.verdict.seconds = time.monotonic() - started
        return self.verdict

    def _work(self, honest: Honest, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                honest.step()
                if self._pause:
                    stop.wait(self._pause)
        except (AssertionError, SplinterError) as error:
            self.verdict.wrong.append(f"an honest tenant: {type(error).__name__}: {error}")
            stop.set()

    def _attackers(self) -> list[TenantInfo]:
        made = [
            self._admin.create_tenant(home=number % self._slots, task_milliseconds_max=1, **options)
            for number, options in enumerate(
                ({"quota_bytes": QUOTA_BYTES},) * 2 + ({"quota_bytes": 1 << 16}, {"packets_per_second": 20_000})
            )
        ]
        for tenant in made:
            with self._client(tenant) as client:
                for source in SOURCES.values():
                    client.install(source)
        return made

    def _client(self, tenant: TenantInfo) -> Client:
        info = self._server.info
        return Client(
            info.address, tenant.tenant, tenant.token, port=info.port, netns=info.client_netns, timeout=TIMEOUT_SECONDS
        )

    # --- packets ---------------------------------------------------------------------------------------------------------

    def _send_packets(self, attackers: list[TenantInfo], count: int, deadline: float, stop: threading.Event) -> None:
        verdict, dice = self.verdict, random.Random(self._seed)
        source, sender = RandomPackets(self._seed, attackers, self._others), Sender(self._server.info)
        before, begun, shown = self._seen(), time.monotonic(), time.monotonic()
        try:
            while verdict.packets < count and time.monotonic() < deadline and not stop.is_set():
                packets, lengths = source.batch(min(8 * BATCH, count - verdict.packets))
                for at in range(0, len(packets), BATCH):
                    verdict.packets += sender.send(packets[at : at + BATCH], lengths[at : at + BATCH])
                    if dice.random() > FLOOD_SHARE:
                        for pinger in self._pingers:
                            pinger.ping()
                if time.monotonic() - shown > SHOW_SECONDS:
                    shown = time.monotonic()
                    rate = verdict.packets / (shown - begun)
                    self._show(f"{verdict.packets:,} of {count:,} packets, {rate:,.0f} a second")
                    if self._server.worker_pids() != self._pids:
                        break
        except SplinterError as error:
            verdict.wrong.append(f"after {verdict.packets:,} packets a worker does not answer: {error}")
        finally:
            sender.close()
        verdict.seen = self._seen() - before

    def _seen(self) -> int:
        stats = self._admin.stats()
        return sum(stats["xdp"].values()) if "xdp" in stats else sum(worker["received"] for worker in stats["workers"])

    # --- control messages ------------------------------------------------------------------------------------------------

    def _send_messages(self, attackers: list[TenantInfo], count: int, deadline: float, stop: threading.Event) -> None:
        verdict, shown = self.verdict, time.monotonic()
        messages = RandomMessages(self._seed, instances.credential(self._server.info.instance), attackers, self._others)
        memory, connection = 0, None
        try:
            while verdict.messages < count and time.monotonic() < deadline and not stop.is_set():
                frame, goes_on = messages.frame()
                connection = connection or self._connect()
                reply = self._ask(connection, frame, goes_on)
                verdict.messages += 1
                verdict.replies["hung up" if reply is None else "ok" if reply.get("ok") else str(reply.get("error"))] += 1
                if reply is not None and reply.get("error") == "internal":
                    verdict.wrong.append(f"the server failed at a message: {frame!r}")
                if reply is None or not goes_on:
                    connection.close()
                    connection = None
                if verdict.messages == count // 2:
                    memory = self._control_bytes()
                if time.monotonic() - shown > SHOW_SECONDS:
                    shown = time.monotonic()
                    self._show(f"{verdict.messages:,} of {count:,} control messages")
                    self._remove_new({tenant.tenant for tenant in attackers})
                    self._restore(attackers, messages)
        except OSError as error:
            verdict.wrong.append(f"after {verdict.messages:,} messages the control process does not answer: {error}")
        finally:
            if connection is not None:
                connection.close()
        if memory and (grown := self._control_bytes() - memory) > LEAK_BYTES_MAX:
            verdict.wrong.append(f"the control process grew by {grown:,} bytes in half of the messages")

    def _connect(self) -> socket.socket:
        with inside(self._server.info.client_netns):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(TIMEOUT_SECONDS)
        made.connect((self._server.info.address, self._server.info.port))
        return made

    @staticmethod
    def _ask(connection: socket.socket, frame: bytes, goes_on: bool) -> dict[str, Any] | None:
        """The reply; None when the server has hung up, or is not to answer."""
        with contextlib.suppress(ConnectionError):
            connection.sendall(frame)
            if not goes_on:
                connection.shutdown(socket.SHUT_WR)
            body, wanted = b"", LENGTH.size
            while len(body) < wanted:
                piece = connection.recv(1 << 16)
                if not piece:
                    return None
                body += piece
                if len(body) >= LENGTH.size:
                    wanted = LENGTH.size + LENGTH.unpack_from(body)[0]
            reply = msgpack.unpackb(body[LENGTH.size :], strict_map_key=False)
            assert isinstance(reply, dict), reply
            return reply
        return None

    def _control_bytes(self) -> int:
        (pid,) = self._server.children("splinter-ctl")
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _restore(self, attackers: list[TenantInfo], messages: RandomMessages) -> None:
        """Attackers that the administrator's messages removed are made anew: they would ask in vain."""
        alive = {tenant.tenant for tenant in self._admin.list_tenants()}
        for number, tenant in enumerate(attackers):
            if tenant.tenant not in alive:
                with contextlib.suppress(SplinterError):
                    attackers[number] = self._admin.create_tenant(quota_bytes=QUOTA_BYTES, task_milliseconds_max=1)

    # --- what is left ----------------------------------------------------------------------------------------------------

    def _remove_new(self, keep: set[int]) -> None:
        for tenant in self._admin.list_tenants():
            if tenant.tenant not in self._known | keep:
                self._admin.remove_tenant(tenant.tenant)

    def _look_at_the_rest(self) -> None:
        wrong = self.verdict.wrong
        if self._server.worker_pids() != self._pids:
            wrong.append("a worker died")
        if self._server.children("splinter-ctl") != self._control:
            wrong.append("the control process died")
        try:
            for honest in self._honest:
                honest.check()
            gone = self._known - {tenant.tenant for tenant in self._admin.list_tenants()}
            if gone:
                wrong.append(f"tenants are gone: {sorted(gone)}")
            self._remove_new(set())
            wait_for(lambda: not self._left(), SETTLE_SECONDS, "the server's rest")
        except AssertionError as error:
            wrong.append(f"{error}; {self._left()}")
        except SplinterError as error:
            wrong.append(f"afterwards: {error}")
        stats = self._admin.stats()
        for name in ("died", "stuck", "stopped"):
            if stats["watchdog"][name] != self._before["watchdog"][name]:
                wrong.append(f"watchdog: {name} {stats['watchdog'][name]}")
        log = self._server.log.read_text(errors="replace")
        if "Traceback" in log:
            wrong.append(f"a traceback in the log: …{log[log.index('Traceback') :][:2000]}")

    def _left(self) -> list[str]:
        """What attackers left behind: tasks, chunks, locks, objects, open files."""
        stats = self._admin.stats()
        chunks = stats.get("chunks", {"free": 0, "total": 0})
        found = []
        if chunks["free"] != chunks["total"]:
            found.append(f"chunks: {chunks}")
        if stats.get("ring_locks_held", 0):
            found.append(f"ring locks: {stats['ring_locks_held']}")
        if tasks := sum(worker["tasks_live"] for worker in stats["workers"]):
            found.append(f"{tasks} tasks")
        objects, records = self._objects()
        if objects != self._kept[0]:
            found.append(f"objects by tenant: {objects}, not {self._kept[0]}")
        if records > self._kept[1]:  # fewer when a client was idle for a minute
            found.append(f"{records - self._kept[1]} records of clients more than before")
        if (opened := self._descriptors()) > self._opened:
            found.append(f"{opened - self._opened} open files more than before")
        return found

    def _objects(self) -> tuple[dict[int, int], int]:
        """By tenant; and what the store holds beside them."""
        objects = {tenant.tenant: tenant.objects for tenant in self._admin.list_tenants()}
        return objects, self._admin.stats()["store"]["objects"] - sum(objects.values())

    def _descriptors(self) -> int:
        """Files that the server's processes have open."""
        pids = [self._server.info.pid, *self._server.worker_pids(), *self._server.children("splinter-ctl")]
        return sum(1 for pid in pids for _ in Path(f"/proc/{pid}/fd").iterdir())


def fuzz(transport: str, packets: int, messages: int, minutes: float, seed: int, show: Callable[[str], None]) -> Verdict:
    """A server of its own, everything at it, and the audit of its store at the end."""
    with running_server(f"t{os.getpid()}x0", transport, "--memory", "256MiB", module="tests.support.audited_serve") as server:
        return Fuzz(server, seed, show).run(packets, messages, minutes)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz-packets", description=__doc__)
    parser.add_argument("--packets", type=int, default=PACKETS_DEFAULT, help="over each transport")
    parser.add_argument("--messages", type=int, default=MESSAGES_DEFAULT, help="to the control port, over each transport")
    parser.add_argument("--minutes", type=float, default=MINUTES_DEFAULT, help="end after so long, whatever was sent")
    parser.add_argument("--transport", choices=["udp", "xdp", "both"], default="both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))  # the server and its lab go, too
    transports = ["xdp", "udp"] if options.transport == "both" else [options.transport]
    is_wrong = False
    for transport in transports:
        verdict = fuzz(
            transport, options.packets, options.messages, options.minutes / len(transports), options.seed,
            lambda text: print(text, flush=True),
        )  # fmt: skip
        print(f"{transport}: {verdict}")  # the server has ended well, so the store's audit found nothing
        print(
            "\n".join(verdict.wrong) or "nothing died, nothing leaked, nobody's objects changed; the audit is clean", flush=True
        )
        is_wrong = is_wrong or bool(verdict.wrong)
    return 1 if is_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
