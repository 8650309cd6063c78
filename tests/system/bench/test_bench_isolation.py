"""The isolation experiment with real processes. Needs no root."""

from __future__ import annotations

from splinter_bench.experiments.isolation import MODES, Settings, measure, steps

QUICK = Settings(tenants=(1, 3), seconds=0.05, rounds=1, objects=64, warmup_seconds=0.02)


def test_every_mode_answers_for_every_number_of_tenants() -> None:
    said: list[str] = []
    runs = measure(QUICK, said.append)  # raises when a reply was wrong
    assert {(run["mode"], run["tenants"]) for run in runs} == {(mode, count) for mode in MODES for count in (1, 3)}
    assert all(min(run["per_second"]) > 0 for run in runs)
    assert len(said) == steps(QUICK)
