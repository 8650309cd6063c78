"""A reader in the kernel that waits anywhere while a writer dies anywhere finds nothing torn, freed, unpublished or foreign."""

from __future__ import annotations

import json
import subprocess

import pytest

from splinter.net import netns
from splinter.net.lab import Lab
from tests.support.held_cpu import only_one_held
from tests.support.pauses import command

pytestmark = pytest.mark.xdp

EVERY = 509


def test_a_get_may_wait_anywhere_while_a_writer_dies_anywhere(lab: Lab) -> None:
    with netns.inside(lab.server.namespace), only_one_held():
        run = subprocess.run(command(EVERY), capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["tried"] > 70
    places = [name for name in report if name.startswith("PAUSE_")]
    assert len(places) == 9  # each is on some get's way
    assert report["released"] > report.get("too late", 0)
    assert report["released"] > 4 * report.get("lived", 0)
    assert report["found"] and report["missing"] and report["handed over"]
