"""``splinter bench profile``: every stage that a workload goes through has taken time, and perf names functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from splinter_bench import perf

LIMIT_SECONDS = 280  # the profiled worker is compiled first
PROFILE = [sys.executable, "-W", "ignore", "-m", "splinter", "bench", "profile", "--json", "--seconds", "0.2"]
ONE_EACH = ["--workload", "get", "--workload", "invoke get", "--depth", "16"]


# Of 5,000 samples some 200 are in an extension that reads eight objects; in one that reads one object there may be none.
SAMPLED = ["--workload", "get", "--workload", "invoke scan", "--depth", "16", "--seconds", "1"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = os.environ | environment
    return subprocess.run(
        [*PROFILE, *arguments], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, env=variables
    )


def check_stages(document: dict[str, Any]) -> None:
    get, invoke = (profile["ns_per_request"] for profile in document["profiles"])
    for stage in ("receive", "parse", "prefetch", "serve", "reply", "kick", "recycle"):
        assert get[stage] > 0
    assert get["extension"] == 0 < invoke["extension"]


@pytest.mark.slow
@pytest.mark.xdp
def test_a_worker_s_stages_are_told_apart(tmp_path: Path) -> None:
    folded = tmp_path / "stacks.txt"
    without_perf = str(Path(sys.executable).parent)  # a PATH on which there is no perf
    ran = run(*ONE_EACH, "--folded", str(folded), PATH=without_perf)
    assert ran.returncode == 0, ran.stderr
    assert "by stages only: there is no perf: perf needs Debian's linux-perf" in ran.stderr
    document = json.loads(ran.stdout)
    check_stages(document)
    assert document["sampled"] == []
    assert len(folded.read_text().splitlines()) == sum(len(found["ns_per_request"]) for found in document["profiles"])
    assert "get, depth 16;kick " in folded.read_text()


@pytest.mark.slow
@pytest.mark.xdp
# perf belongs to the kernel: scripts/setup cannot install it everywhere. Without it the profile is by stages (above).
@pytest.mark.skipif(perf.missing() is not None, reason=f"optional: {perf.missing()}")
def test_perf_names_functions_of_the_worker_and_of_the_kernel(tmp_path: Path) -> None:
    folded = tmp_path / "stacks.txt"
    ran = run(*SAMPLED, "--folded", str(folded))
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    check_stages(document)
    get, invoke = document["sampled"]
    assert 0 < get["kernel_percent"] < 100
    assert any(name.startswith("worker.") for name in get["ns_per_request"])
    assert any(name.endswith("(kernel)") for name in get["ns_per_request"])
    assert "extension" not in get["ns_per_request"]
    assert invoke["ns_per_request"]["extension"] > 0
    assert "__x64_sys_sendto" in folded.read_text()


def test_an_unknown_workload_is_named() -> None:
    ran = run("--workload", "dance")
    assert ran.returncode == 1
    assert "dance" in ran.stderr
    assert "Traceback" not in ran.stderr
