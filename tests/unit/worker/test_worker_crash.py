"""A worker that is killed anywhere in its loop leaves what recovery and a successor put right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from splinter.worker.kill_points import WorkerPoint

PROGRAM = Path(__file__).with_name("kill_every_point.py")


def test_a_worker_may_die_at_every_kill_point() -> None:
    environment = {**os.environ, "SPLINTER_KILL_POINTS": "1"}
    run = subprocess.run([sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert [point.name for point in WorkerPoint if not report["died"].get(point.name)] == []
    assert report["stolen"] > 0
