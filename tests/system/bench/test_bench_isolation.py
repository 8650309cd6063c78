"""The isolation experiment with real processes. Needs no root."""

from __future__ import annotations

from splinter_bench.experiments.isolation import MODES, Settings, measure_with

QUICK = Settings(tenants=(1, 3), seconds=0.2, rounds=1, objects=64, warmup_seconds=0.02)


def test_every_mode_answers_for_every_number_of_tenants() -> None:
    said: list[str] = []
    runs = measure_with(QUICK, said.append).rows  # raises when a reply was wrong
    assert {(run["subject"], run["tenants"]) for run in runs} == {(mode, count) for mode in MODES for count in (1, 3)}
    assert all(run["per_second"] > 0 for run in runs)
    assert len(said) == len(MODES) + QUICK.rounds
