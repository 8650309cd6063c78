"""``splinter bench profile``: every stage that a workload goes through has taken time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_SECONDS = 280  # the profiled worker is compiled first


@pytest.mark.slow
@pytest.mark.xdp
def test_a_worker_s_stages_are_told_apart(tmp_path: Path) -> None:
    picture, folded = tmp_path / "profile.svg", tmp_path / "stacks.txt"
    command = [sys.executable, "-W", "ignore", "-m", "splinter", "bench", "profile", "--json", "--seconds", "0.1"]
    command += ["--workload", "get", "--workload", "invoke get", "--depth", "16", "--picture", str(picture)]
    ran = subprocess.run(
        [*command, "--folded", str(folded)], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert ran.returncode == 0, ran.stderr
    get, invoke = (profile["ns_per_request"] for profile in json.loads(ran.stdout)["profiles"])
    for stage in ("receive", "parse", "prefetch", "serve", "reply", "kick", "recycle"):
        assert get[stage] > 0
    assert get["extension"] == 0 < invoke["extension"]
    assert "<svg" in picture.read_text()
    assert len(folded.read_text().splitlines()) == len(get) + len(invoke)
    assert "get, depth 16;kick " in folded.read_text()


def test_an_unknown_workload_is_named() -> None:
    command = [sys.executable, "-m", "splinter", "bench", "profile", "--workload", "dance"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert ran.returncode == 1
    assert "dance" in ran.stderr
    assert "Traceback" not in ran.stderr
