"""``splinter events`` of a real server: deaths are told, a follower outlives the control process, and ends as it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splinter.server.events import KEPT
from tests.support.servers import RunningServer, running_server, start_server
from tests.support.waiting import WAIT_SECONDS, wait_for

MOVES = 9000  # of two lines each, 180 bytes or more: beyond a pipe of 1 MiB
FLOOD_SECONDS_MAX = 100
KINDS_AT_START = ["server.started", "tier.off"]


class Follower:
    """``splinter events --follow --json`` in a process."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.out, self.err = folder / "followed", folder / "said"
        words = [sys.executable, "-m", "splinter", "events", "-f", "--json", "-i", server.info.instance]
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(words, stdout=out, stderr=err)

    def told(self) -> list[dict[str, Any]]:
        *lines, _ = self.out.read_text().split("\n")
        return [json.loads(line) for line in lines]

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.told()]

    def await_kind(self, kind: str) -> None:
        wait_for(lambda: kind in self.kinds(), what=f"an event {kind}")


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Callable[[RunningServer], Follower]]:
    made: list[Follower] = []

    def begin(server: RunningServer) -> Follower:
        made.append(Follower(server, tmp_path))
        made[-1].await_kind("server.started")
        return made[-1]

    yield begin
    for follower in made:
        if follower.process.poll() is None:
            follower.process.kill()
        follower.process.wait()


def test_deaths_are_told_without_a_gap_across_the_control_process(unique_name: str, follow: Any) -> None:
    with running_server(unique_name, "udp", "--log-format", "json") as server:
        follower = follow(server)
        (control,) = server.children("splinter-ctl")
        os.kill(control, signal.SIGKILL)
        follower.await_kind("control.replaced")
        server.kill_worker(0)
        follower.await_kind("worker.replaced")
        tenant = server.admin().create_tenant().tenant
        follower.await_kind("tenant.created")
        told = follower.told()
        assert [one["number"] for one in told] == list(range(1, len(told) + 1))
        assert [one["kind"] for one in told] == [*KINDS_AT_START, "control.replaced", "worker.replaced", "tenant.created"]
        assert (told[3]["fields"]["reason"], told[4]["tenant"]) == ("died", tenant)
        follower.process.send_signal(signal.SIGINT)
        assert follower.process.wait(WAIT_SECONDS) == 130
        assert follower.err.read_text() == ""
        wait_for(lambda: "audit: administrator" in server.log.read_text(), what="the audit line")
        logged = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        assert {one["event"] for one in logged if "event" in one} == set(follower.kinds())


def test_a_follower_ends_well_with_a_stop_and_says_so_of_a_death(unique_name: str, follow: Any) -> None:
    server = start_server(unique_name, None)
    follower = follow(server)
    assert server.stop() == 0
    assert follower.process.wait(WAIT_SECONDS) == 0
    assert follower.err.read_text() == "splinter: the server was stopped\n"
    server.started.forget()
    server = start_server(unique_name, None)
    follower = follow(server)
    server.stop(signal.SIGKILL)
    assert follower.process.wait(WAIT_SECONDS) == 1
    assert "splinter: the server has died" in follower.err.read_text()
    server.started.forget()


def test_a_log_that_nobody_reads_stops_nothing(unique_name: str) -> None:
    """More audit lines than all pipes hold, to a server whose log stands still: it answers all the same."""
    with running_server(unique_name, "udp") as server:
        (writer,) = server.children("splinter-log")
        os.kill(writer, signal.SIGSTOP)
        try:
            admin = server.admin()
            tenant = admin.create_tenant().tenant
            deadline = time.monotonic() + FLOOD_SECONDS_MAX
            for count in range(MOVES):
                admin.move_tenant(tenant, 0)
                assert time.monotonic() < deadline, f"{count} of {MOVES} moves"
            wait_for(lambda: admin.events()["newest"] >= MOVES, what="the events")
            found = admin.events(after=0)
            assert found["missed"] == found["newest"] - KEPT
        finally:
            os.kill(writer, signal.SIGCONT)

        def is_told() -> bool:
            admin.move_tenant(tenant, 0)  # a line, before which the loss is told
            return "lines before this one were lost" in server.log.read_text()

        wait_for(is_told, what="the loss")
