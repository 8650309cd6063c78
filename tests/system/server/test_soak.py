"""A soak of seconds; ``scripts/soak`` has longer ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crash_storm import serving_on_disk
from tests.support.soak import Samples, soak

pytestmark = pytest.mark.xdp
ENDS, MINUTES_MAX, EVERY_SECONDS = 2, 8.0, 5.0


@pytest.mark.timeout(600)
def test_nothing_is_lost_and_nothing_outlives_its_end_over_stops_and_deaths(unique_name: str, tmp_path: Path) -> None:
    with serving_on_disk(unique_name, tmp_path, module="splinter") as made:
        verdict, samples, done = soak(made, MINUTES_MAX, EVERY_SECONDS, 5, ends=ENDS)
    assert verdict.findings == []
    assert verdict.kills == done["stopped"] + done["killed"] == ENDS
    assert samples.memory


def test_what_grows_is_told(tmp_path: Path) -> None:
    flat, grown = Samples(tmp_path, memory=[500 << 20] * 90), Samples(tmp_path, memory=[4 * n << 20 for n in range(100, 190)])
    assert flat.findings == []
    assert [text.split(" from")[0] for text in grown.findings] == ["memory grew"]
    assert Samples(tmp_path, disk=[4 << 30]).findings[0].startswith("the data folder had 4,096 MiB")
