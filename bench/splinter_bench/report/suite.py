"""Sections of the whole benchmark that are the benchmark of ``splinter bench``: beside the echo, Redis, memcached."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

from splinter.errors import SplinterError
from splinter_bench import goals
from splinter_bench.experiments.suite import Settings, measure
from splinter_bench.progress import Progress
from splinter_bench.subjects import rivals
from splinter_bench.subjects.local_server import lab_server

_RIVAL_DEPTHS = (1,)  # besides theirs
_SLICES, _RIVAL_SLICES = 5, 4  # of each run


@dataclass(frozen=True)
class SuiteSection:
    """Splinter beside the AF_XDP echo and one rival, or none. ``found_by``: of the figures that this section is to find."""

    rival: str | None
    found_by: str
    command: str

    def measure(self, is_quick: bool, progress: Progress) -> dict[str, Any]:
        """Make a lab and a server, measure, remove both. Raises :class:`SplinterError` when the rival is not installed."""
        if self.rival is not None and self.rival not in rivals.installed():
            raise SplinterError(f"{self.rival} is not installed")
        settings = Settings(slices=_SLICES)
        if self.rival is not None:
            settings = replace(settings, slices=_RIVAL_SLICES, rivals=(self.rival,), depths=_RIVAL_DEPTHS)
        if is_quick:
            settings = replace(settings, runs=2, slices=2)
        with lab_server(max(os.sched_getaffinity(0))) as info:
            report = measure(info, settings, progress)
        names = goals.names_found_by(self.found_by)
        figures = [figure.to_json() for figure in goals.figures_of(report.observations()) if figure.name in names]
        return {**report.to_json(), "command": self.command, "figures": figures}


LIMIT = SuiteSection(None, "echo", "splinter bench --lab --seconds 0.5")
REDIS = SuiteSection("redis", "redis", "splinter bench --lab --redis --depth 1 --seconds 0.4")
MEMCACHED = SuiteSection("memcached", "memcached", "splinter bench --lab --memcached --depth 1 --seconds 0.4")
