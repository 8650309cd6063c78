"""What changed between two documents, and what only seems to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from splinter_bench.cli import bench_app
from splinter_bench.compare import compare, values

from tests.support.commands import CliRunner

RUNNER = CliRunner()


def rows(
    subject: str = "get", noise: float = 0.1, settings: dict[str, Any] | None = None, **medians: float
) -> list[dict[str, Any]]:
    """Three runs: the least, the median, the most."""
    place = {"subject": subject, **({"depth": 1, "by": "slices"} if settings is None else settings)}
    factors = enumerate((1 - noise, 1, 1 + noise))
    return [
        {**place, "round": number, **{name: value * factor for name, value in medians.items()}} for number, factor in factors
    ]


def suite(rate: float = 1000, p50: float = 5000, noise: float = 0.1, **more: float) -> dict[str, Any]:
    return {"experiment": "suite", "runs": rows(noise=noise, per_second=rate, p50=p50, p99=9000, **more)}


def figure(name: str, median: float) -> dict[str, Any]:
    return {"name": name, "median": median, "min": 0.9 * median, "max": 1.1 * median}


def sectioned(rate: float = 1000, resume: float = 10) -> dict[str, Any]:
    return {"sections": {"limit": suite(rate=rate), "redis": suite(), "goals": {"figures": [figure("resume", resume)]}}}


def beside_echo(ratio: float, rate: float) -> dict[str, Any]:
    return suite(rate=rate, noise=0.01, latency_over_echo=ratio)


def cases(ratio: float, per_second: float = 1000) -> dict[str, Any]:
    settings = {"label": "ycsb-a", "operation": "all"}
    found = rows("ycsb-a", settings=settings, per_second=per_second, p50=ratio or 1, p99=1)
    if ratio:
        echo = rows("AF_XDP echo", settings=settings, per_second=per_second, p50=1, p99=1)
        found += [row | {"p50": row["p50"] * factor} for row, factor in zip(echo, (0.99, 1, 1.01), strict=True)]
    return {"experiment": "rates", "runs": found}


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
    ways = ("Splinter gets", "Redis gets")
    found = [row for way in ways for row in rows(way, settings={"case": "tree", "x": 8}, time_ns=5, per_second=6)]
    names = ["tree, 8, Splinter gets, time", "tree, 8, Splinter gets, per second"]
    assert [name for name, _ in values({"experiment": "benefit", "runs": found})] == names


def test_echoes_and_rivals_are_not_compared() -> None:
    for name in ("echo", "redis get, pipelined by 16", "memcached UDP set"):
        assert not list(values({"experiment": "suite", "runs": rows(name, per_second=1, p50=2, p99=3)}))


def test_live_frames_and_single_runs_are_compared() -> None:
    live = {"experiment": "live", "runs": rows(settings={"label": "get"}, per_second=5)}
    assert [name for name, _ in values(live)] == ["get, get, per second"]
    found = rows(settings={"operation": "all"}, per_second=5, p50=1, p99=1)
    document = {"experiment": "run", "runs": found, "settings": {"depth": 64, "rate": None, "seconds": 1}}
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
