"""Every process of a server killed at once, again and again under load: what ``scripts/kill-storm --all`` runs."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from splinter.net.lab import Lab
from tests.support.kill_storm import STORM, Crew, Storm, Verdict, storm
from tests.support.servers import RunningServer
from tests.support.waiting import wait_for

TIMEOUT_SECONDS = 90.0  # of a request: a start on a busy machine, and then some
_DEATH_SECONDS = 30.0
_ORDERS = ("supervisor first", "supervisor last", "at random")


def processes(supervisor: int) -> list[int]:
    """The processes of a server, without its supervisor."""
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()]
    return []


def kill_everything(server: RunningServer, order: str, dice: random.Random) -> None:
    """SIGKILL to all, one right after the other; returns when all are gone."""
    supervisor = server.info.pid
    others = processes(supervisor)
    if order == "supervisor first":
        victims = [supervisor, *others]
    elif order == "supervisor last":
        victims = [*others, supervisor]
    else:
        victims = dice.sample([supervisor, *others], len(others) + 1)
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    others += processes(supervisor)
    server.process.wait(_DEATH_SECONDS)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), _DEATH_SECONDS, "the end of all processes")


def storm_of_all(
    server: RunningServer, lab: Lab, options: Sequence[str], kills: int, seed: int, seconds_max: float,
    show: Callable[[str], None] = lambda _: None, crew: Crew = STORM, module: str = "splinter",
) -> Verdict:  # fmt: skip
    """Kill all of a server's processes ``kills`` times while a crew works. Each time it is started again, and audits the store.

    ``server`` was started in ``lab`` with ``options``, and is the last one started when this returns.
    """

    def strike(work: Storm) -> None:
        work.wait_for_all()
        work.wait_for_requests()
        order = work.dice.choice(_ORDERS)
        kill_everything(server, order, work.dice)
        work.go_on(lab, *options, "--audit", module=module)
        show(f"all killed {work.verdict.kills} times, {order}; {work.requests} requests")

    still = replace(crew, is_moved=False)  # the control process, which moves tenants, is away at times
    return storm(server, kills, seed, seconds_max, show, still, strike=strike, timeout=TIMEOUT_SECONDS)
