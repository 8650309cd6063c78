"""Overload: the server, and both echoes, under load from within the kernel (:mod:`.live`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from splinter.errors import SplinterError
from splinter.interrupts import uninterrupted
from splinter.limits import PORT_DEFAULT
from splinter.net.lab import Lab
from splinter.net.netns import inside
from splinter.net.xdp import EchoProgram
from splinter_bench.experiments.runs import AF_XDP_ECHO, ALL, XDP_TX_ECHO, Running
from splinter_bench.generators.live import LiveClient, LiveLoad
from splinter_bench.generators.path import find
from splinter_bench.observations import Observations
from splinter_bench.process import pinned
from splinter_bench.progress import Progress
from splinter_bench.subjects.echo import EchoServer
from splinter_bench.subjects.session import Session
from splinter_bench.subjects.target import Target
from splinter_bench.workloads.workload import Workload


def measure_live(target: Target, workload: Workload, running: Running, *, limits: bool, progress: Progress) -> Observations:
    """Run the workload, and the limits beside each run. Raises :class:`SplinterError` for a server without XDP."""
    session = target.session
    if session is None or session.info.transport != "xdp" or session.info.client_netns is None:
        raise SplinterError("load from within the kernel needs a server on XDP in a lab of this host: --lab, for example")
    found = Observations()
    target.release()
    netns = session.info.client_netns
    with contextlib.ExitStack() as stack:
        load = LiveLoad.of_workload(workload)
        ours = LiveClient(find(session.info.address, netns), load, session.info.port, netns=netns)
        clients: dict[str, tuple[LiveClient, Any]] = {workload.name: (stack.enter_context(ours), contextlib.nullcontext)}
        if limits:
            clients |= stack.enter_context(_limits(session, workload))
        for number in range(running.runs):
            for name, (client, while_running) in clients.items():
                progress(f"run {number + 1} of {running.runs}: {name}")
                with while_running(), pinned(session.client_core):
                    numbers = client.run(running.seconds, running.rate).to_json()
                numbers["failed"] = sum(numbers["errors"].values()) if name == workload.name else 0  # a full ring is no failure
                found.rows.append({**numbers, "subject": name, "operation": ALL, "round": number, "count": numbers["answered"]})
    return found


@contextlib.contextmanager
def _limits(session: Session, workload: Workload) -> Generator[dict[str, tuple[LiveClient, Any]]]:
    found: dict[str, tuple[LiveClient, Any]] = {}
    with contextlib.ExitStack() as stack:
        for name, short in ((AF_XDP_ECHO, "echo"), (XDP_TX_ECHO, "tx")):
            with uninterrupted():
                lab = stack.enter_context(Lab(f"{short}-{os.getpid()}", session.info.queues))
            there = find(lab.server.address, lab.client.namespace)
            if name == AF_XDP_ECHO:
                queue = session.client_core % lab.queues  # where veth puts what is sent from this CPU
                server = stack.enter_context(EchoServer(lab.server.device, lab.queues, netns=lab.server.namespace, queue=queue))
                while_running: Callable[[], Any] = partial(server.running, session.server_core)
            else:
                with inside(lab.server.namespace):
                    program = stack.enter_context(EchoProgram(lab.server.device, PORT_DEFAULT))
                    program.attach()
                while_running = contextlib.nullcontext
            client = LiveClient(there, LiveLoad.of_workload(workload, is_echo=True), netns=lab.client.namespace)
            found[name] = (stack.enter_context(client), while_running)
        yield found
