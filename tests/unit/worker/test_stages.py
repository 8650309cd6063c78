"""Marks between the stages of a worker's loop."""

from __future__ import annotations

import os

import numpy as np
import pytest

from splinter.worker import stages
from splinter.worker.layout import WORKER


def test_time_since_the_mark_before_is_the_stage_s() -> None:
    block = np.zeros(1, WORKER)
    stages._end_stage(block.ctypes.data, stages.IDLE)
    begin = int(block["stage_from"][0])
    block["stages"] = 0
    stages._end_stage(block.ctypes.data, stages.SERVE)
    stages._end_stage(block.ctypes.data, stages.REPLY)
    serve, reply = (int(block["stages"][0, number]) for number in (stages.SERVE, stages.REPLY))
    assert serve > 0 < reply
    assert serve + reply == int(block["stages"].sum()) == int(block["stage_from"][0]) - begin


@pytest.mark.skipif("SPLINTER_PROFILE" in os.environ, reason="optional: this is the profiled build")
def test_without_the_switch_nothing_is_marked() -> None:
    block = np.zeros(1, WORKER)
    stages.stage(block.ctypes.data, stages.SERVE)
    assert not block["stages"].any()
    assert not block["stage_from"].any()


def test_stages_have_names_of_their_own() -> None:
    assert len(set(stages.NAMES)) == len(stages.NAMES)
    assert stages.NAMES[stages.KICK] == "kick"
    assert stages.NAMES[stages.IDLE] == "idle"
