"""What changed between two documents, and what only seems to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from splinter_bench.cli import bench_app
from splinter_bench.compare import compare, values
from typer.testing import CliRunner

RUNNER = CliRunner()


def spread(median: float, noise: float = 0.1) -> dict[str, float]:
    return {"median": median, "min": median * (1 - noise), "max": median * (1 + noise)}


def suite(rate: float = 1000, p50: float = 5000, noise: float = 0.1) -> dict[str, Any]:
    latency = {"p50": spread(p50, noise), "p99": spread(9000, noise)}
    return {"results": [{"name": "get", "depth": 1, "per_second": spread(rate, noise), "latency_ns": latency}]}


def figure(name: str, median: float) -> dict[str, Any]:
    return {"name": name, **spread(median)}


def sectioned(rate: float = 1000, resume: float = 10) -> dict[str, Any]:
    return {"sections": {"limit": suite(rate=rate), "redis": suite(), "goals": {"figures": [figure("resume", resume)]}}}


def beside_echo(ratio: float, rate: float) -> dict[str, Any]:
    entry = {"ratio": "latency_over_echo", "name": "get", "depth": 1, "over": "echo", **spread(ratio, 0.01)}
    return {**suite(rate=rate), "ratios": [entry]}


def cases(ratio: float, per_second: float = 1000) -> dict[str, Any]:
    of = {"AF_XDP echo": {"latency": spread(ratio, 0.01), "throughput": spread(1)}} if ratio else {}
    latency = {"p50": spread(1), "p99": spread(1)}
    return {"cases": [{"label": "ycsb-a", "per_second": spread(per_second), "latency_ns": latency, "of_limits": of}]}


@pytest.mark.parametrize(
    ("old", "new", "worse"),
    [
        (suite(), suite(), []),
        (suite(), suite(rate=1500, p50=3000), []),  # better
        (suite(), suite(rate=850), []),  # the ranges touch
        (suite(), suite(rate=700), ["get, depth 1, per second"]),
        (suite(), suite(p50=7000), ["get, depth 1, p50"]),
        (suite(noise=0.001), suite(rate=960, noise=0.001), []),  # below the threshold
        (suite(noise=0.001), suite(rate=940, noise=0.001), ["get, depth 1, per second"]),
        (suite(noise=0), suite(rate=700, noise=0), []),  # of one run each: no spread is known
        (suite(noise=0), suite(rate=500, noise=0), ["get, depth 1, per second"]),
        (sectioned(), sectioned(rate=100), ["limit: get, depth 1, per second"]),
        (sectioned(), sectioned(resume=20), ["resume"]),
        (sectioned(), {"figures": [figure("resume", 20)]}, ["resume"]),
        (beside_echo(1.2, 1000), beside_echo(1.25, 100), []),  # the machine is slower, and so is the echo
        (beside_echo(1.2, 1000), beside_echo(1.9, 1000), ["get, depth 1, latency over echo"]),
        (cases(1.2), cases(1.25), []),
        (cases(1.2), cases(1.9), ["ycsb-a, latency over echo"]),
        (cases(0.0, per_second=1000), cases(0.0, per_second=500), ["ycsb-a, per second"]),  # no echo beside it
        ({"figures": [figure("resume", 10)]}, {"figures": [figure("resume", 20)]}, ["resume"]),
        ({"figures": [figure("chain", 10)]}, {"figures": [figure("chain", 20)]}, []),  # more is better
        ({"goals": [{"figure": figure("chain", 10)}, {"figure": None}]}, {"figures": [figure("chain", 2)]}, ["chain"]),
    ],
)
def test_only_what_got_worse_beyond_noise_is_worse(old: dict[str, Any], new: dict[str, Any], worse: list[str]) -> None:
    assert [change.name for change in compare(old, new) if change.is_worse] == worse


def test_benefits_are_compared_way_by_way() -> None:
    row = {"case": "tree", "x": 8, "time_ns": spread(5), "per_second": spread(6)}
    rows = [{**row, "way": way} for way in ("Splinter gets", "Redis gets")]
    names = ["tree, 8, Splinter gets, time", "tree, 8, Splinter gets, per second"]
    assert [name for name, _ in values({"benefit": rows})] == names


def test_echoes_and_rivals_are_not_compared() -> None:
    (result,) = suite()["results"]
    rows = [{**result, "name": name} for name in ("echo", "redis get, pipelined by 16", "memcached UDP set")]
    assert not list(values({"results": rows}))


def test_live_frames_and_single_runs_are_compared() -> None:
    row = {"label": "get", "live": {"get": {"per_second": spread(5)}}}
    assert [name for name, _ in values({"cases": [row]})] == ["get, get, per second"]
    document = {**cases(0)["cases"][0], "workload": "get", "settings": {"depth": 64, "rate": None, "seconds": 1}}
    assert next(name for name, _ in values(document)) == "get, depth 64, per second"


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
