"""A writer that is killed in the middle leaves a sound store and every acknowledged write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from splinter.store.kill_points import KillPoint

PROGRAM = Path(__file__).with_name("kill_every_point.py")


def test_a_writer_may_die_at_every_kill_point():
    environment = {**os.environ, "SPLINTER_KILL_POINTS": "1"}
    run = subprocess.run([sys.executable, PROGRAM], env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert all(report["passes"][point.name] > 0 for point in KillPoint)
    assert report["recoverers_killed"] > 0
    assert report["attached"] > 0  # by the next server, where all had died
    assert report["retries"] > 0  # writes that took effect without an answer were asked for again, and not done again
