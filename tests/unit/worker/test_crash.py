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
from tests.unit.worker.transport_points import STORE_POINTS, UDP_ONLY, XDP_ONLY

PROGRAM = Path(__file__).with_name("kill_every_point.py")


@pytest.mark.parametrize(
    ("transport", "points"),
    [("xdp", [*(set(WorkerPoint) - UDP_ONLY), *STORE_POINTS]), ("udp", [*(set(WorkerPoint) - XDP_ONLY)])],
)
def test_a_worker_may_die_at_every_kill_point(transport: str, points: list[WorkerPoint | KillPoint]) -> None:
    environment = {**os.environ, "SPLINTER_KILL_POINTS": "1"}
    command = [sys.executable, PROGRAM, transport]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert [point.name for point in points if not report["died"].get(point.name)] == []
    assert report["stolen"] > 0
