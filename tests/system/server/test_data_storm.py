"""A small crash storm; ``scripts/crash-storm`` runs longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crash_storm import AUDITED, storm_on_disk
from tests.support.kill_storm import MEMORY
from tests.support.servers import running_lab, serving

pytestmark = pytest.mark.xdp
ROUNDS, SECONDS_MAX = 3, 200.0


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_when_all_processes_die_and_the_disk_is_read(unique_name: str, tmp_path: Path):
    options = ("--memory", MEMORY, "--data", str(tmp_path / "data"), "--durability", "always")
    with running_lab(unique_name) as lab, serving(unique_name, lab, *options, module=AUDITED) as server:
        verdict, done = storm_on_disk(server, lab, options, tmp_path / "data", ROUNDS, 3, SECONDS_MAX)
    assert verdict.findings == []
    assert done["from the disk"] + done["attached"] == verdict.kills > 0
