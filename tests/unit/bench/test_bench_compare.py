"""What changed between two documents, and what only seems to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from splinter.bench.cli import bench_app
from splinter.bench.compare import compare, values

RUNNER = CliRunner()


def spread(median: float, noise: float = 0.1) -> dict[str, float]:
    return {"median": median, "min": median * (1 - noise), "max": median * (1 + noise)}


def suite(rate: float = 1000, p50: float = 5000, noise: float = 0.1) -> dict[str, Any]:
    latency = {"p50": spread(p50, noise), "p99": spread(9000, noise)}
    return {"results": [{"name": "get", "depth": 1, "per_second": spread(rate, noise), "latency_ns": latency}]}


def figure(name: str, median: float) -> dict[str, Any]:
    return {"name": name, **spread(median)}


@pytest.mark.parametrize(
    ("old", "new", "worse"),
    [
        (suite(), suite(), []),
        (suite(), suite(rate=1500, p50=3000), []),  # better
        (suite(), suite(rate=850), []),  # the ranges touch
        (suite(), suite(rate=700), ["get, depth 1, per second"]),
        (suite(), suite(p50=7000), ["get, depth 1, p50"]),
        (suite(noise=0), suite(rate=960, noise=0), []),  # below the threshold
        (suite(noise=0), suite(rate=940, noise=0), ["get, depth 1, per second"]),
        ({"figures": [figure("resume", 10)]}, {"figures": [figure("resume", 20)]}, ["resume"]),
        ({"figures": [figure("chain", 10)]}, {"figures": [figure("chain", 20)]}, []),  # more is better
        ({"goals": [{"figure": figure("chain", 10)}, {"figure": None}]}, {"figures": [figure("chain", 2)]}, ["chain"]),
        ({"sections": {"suite": suite()}}, suite(rate=100), ["get, depth 1, per second"]),
    ],
)
def test_only_what_got_worse_beyond_noise_is_worse(old: dict[str, Any], new: dict[str, Any], worse: list[str]) -> None:
    assert [change.name for change in compare(old, new) if change.is_worse] == worse


def test_benefits_are_compared_way_by_way() -> None:
    row = {"case": "tree", "x": 8, "way": "Redis gets", "time_ns": spread(5), "per_second": spread(6)}
    assert [name for name, _ in values({"benefit": [row]})] == ["tree, 8, Redis gets, time", "tree, 8, Redis gets, per second"]


def test_what_only_one_document_has_is_not_compared() -> None:
    assert compare(suite(), {"figures": [figure("resume", 1)]}) == []


def test_the_command_tells_by_its_exit_status(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("old.json", "new.json", "empty.json", "broken.json")]
    for path, text in zip(paths, [json.dumps(suite()), json.dumps(suite(rate=500)), "{}", "{"], strict=True):
        path.write_text(text)
    old, new, empty, broken = map(str, paths)
    assert RUNNER.invoke(bench_app, ["compare", old, old]).exit_code == 0
    ran = RUNNER.invoke(bench_app, ["compare", old, new])
    assert ran.exit_code == 1
    assert "50% worse" in ran.stdout
    assert RUNNER.invoke(bench_app, ["compare", new, old]).exit_code == 0
    assert "50% worse" not in RUNNER.invoke(bench_app, ["compare", old, new, "--threshold", "60"]).stdout
    for other, text in ((empty, "in common"), (broken, "JSON")):
        assert text in str(RUNNER.invoke(bench_app, ["compare", old, other]).exception)
