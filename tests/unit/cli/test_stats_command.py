"""``splinter stats`` and ``top`` as commands: what they ask for, and what they say when nothing can be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from splinter.server.control.usage import EVERY_MAX
from tests.support.control_responder import ControlResponder
from tests.support.waiting import WAIT_SECONDS
from tests.unit.cli.test_frames import statistics
from tests.unit.client.conftest import Responder

Responders = tuple[Responder, ControlResponder]


def run(*words: str, stdout: Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "splinter", *words]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=WAIT_SECONDS, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def busy(responders: Responders) -> Responders:
    """A server with 30 busy tenants, of which it tells 16 unless every one is asked for."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "stats": statistics(1, 30 if request.get("every") else 16)}

    responders[1].answer = answer
    return responders


@pytest.mark.parametrize("words", [["stats", "--sums"], ["stats", "--interval", "0.1"]], ids=" ".join)
def test_every_tenant_is_told(busy: Responders, words: list[str]) -> None:
    done = run(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["tenants"]) == 30


def test_for_people_too(busy: Responders) -> None:
    assert "tenants.29.tenant" in run("stats", "--sums").stdout


def test_the_help_says_how_many_are_told_at_most() -> None:
    assert f"{EVERY_MAX:,} tenants" in " ".join(run("stats", "--help").stdout.split())


def test_a_full_disk_is_told_as_being_about_standard_output(busy: Responders) -> None:
    with Path("/dev/full").open("w") as full:
        done = run("top", "--json", "--count", "2", "--interval", "0.1", stdout=full)
    assert (done.returncode, done.stderr) == (1, "splinter: standard output: No space left on device\n")
