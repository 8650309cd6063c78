"""A worker that is killed anywhere in its loop leaves what recovery and a successor put right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from splinter.store.kill_points import KillPoint
from splinter.worker.kill_points import WorkerPoint

PROGRAM = Path(__file__).with_name("kill_every_point.py")
UDP_ONLY = {WorkerPoint.DATAGRAMS_RECEIVED, WorkerPoint.CHUNK_ASSIGNED, WorkerPoint.CHUNK_FREED}
XDP_ONLY = {
    WorkerPoint.RX_LOCKED, WorkerPoint.RX_MARKED, WorkerPoint.RX_RELEASED, WorkerPoint.REPLY_MARKED, WorkerPoint.QUEUE_LOCKED,
    WorkerPoint.COMPLETION_MARKED, WorkerPoint.COMPLETION_TAKEN, WorkerPoint.FILL_MARKED, WorkerPoint.FILL_PUBLISHED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("transport", "points"),
    [("xdp", [*(set(WorkerPoint) - UDP_ONLY), *KillPoint]), ("udp", [*(set(WorkerPoint) - XDP_ONLY)])],
)
def test_a_worker_may_die_at_every_kill_point(transport: str, points: list[WorkerPoint | KillPoint]) -> None:
    environment = {**os.environ, "SPLINTER_KILL_POINTS": "1"}
    command = [sys.executable, PROGRAM, transport]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert [point.name for point in points if not report["died"].get(point.name)] == []
    assert report["stolen"] > 0
