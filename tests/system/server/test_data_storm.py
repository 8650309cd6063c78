"""A small crash storm; ``scripts/crash-storm`` runs longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crash_storm import AUDITED, serving_on_disk, storm_on_disk

pytestmark = pytest.mark.xdp
ROUNDS, SECONDS_MAX = 3, 200.0


@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_when_all_processes_die_and_the_disk_is_read(unique_name: str, tmp_path: Path):
    with serving_on_disk(unique_name, tmp_path, module=AUDITED) as made:
        verdict, done = storm_on_disk(made, ROUNDS, 3, SECONDS_MAX)
    assert verdict.findings == []
    assert done["from the disk"] + done["attached"] == verdict.kills > 0
