"""``splinter bench`` as it is called."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from splinter_bench.goals import EXTENSIONS, GOALS
from splinter_bench.machine import versions
from splinter_bench.subjects.local_server import running_server

from splinter.cli.exit_status import ExitStatus
from splinter.client.admin import Admin
from splinter.errors import SplinterError
from splinter.net import netns
from splinter.server import instance as instances
from splinter.testing.process import free_port
from tests.support.waiting import wait_for

SHORT = ("--runs", "1", "--seconds", "0.1", "--keys", "1000")
LONGER = ("--runs", "1", "--seconds", "0.4", "--keys", "1000")  # than a busy machine keeps a server or a client waiting
SPLINTER = ("get", "put", "invoke get")
REDIS = ("redis get", "redis set", "redis evalsha", "redis fcall")
MEMCACHED = tuple(f"memcached{transport} {operation}" for transport in ("", " UDP") for operation in ("get", "set"))
LIMIT_SECONDS = 200  # a first server compiles all its code


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "splinter", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = _start(*arguments)
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _labs_of(process: subprocess.Popen[str]) -> list[str]:
    return [name for name in netns.names() if str(process.pid) in name.split("-")]


@pytest.mark.slow
@pytest.mark.xdp
@pytest.mark.redis
@pytest.mark.memcached
def test_one_command_measures_everything_and_leaves_nothing() -> None:
    process = _start("--lab", "--redis", "--memcached", "--json", *LONGER)
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, err
    document = json.loads(out)
    runs = [run for run in document["runs"] if run["by"] == "slices"]
    found = {(run["subject"], run["depth"]): run for run in runs}
    assert len(runs) == len(found)  # one run each
    assert set(found) == {
        *((name, depth) for name in ("echo", *SPLINTER) for depth in (1, 50, 64)),
        *((name, depth) for name in ("invoke scan", "redis fcall chain", *REDIS, *MEMCACHED) for depth in (1, 50)),
        *((f"{name}, spinning client", 1) for name in ("redis get", "memcached get", "memcached UDP get")),
        *((f"{name}, pipelined by 16", 800) for name in REDIS),
        *((f"{name}, live frames {rate} K/s", 0) for name in ("get", "invoke get") for rate in (600, 750, 900)),
        *((f"memcached UDP get, live frames {rate} K/s", 0) for rate in (120, 160, 200)),
    }
    for run in runs:
        assert run["failed"] == 0
        assert run["per_second"] > 0
        assert run["depth"] == 0 or 0 < run["p50"] <= run["p9999"]
    assert found["get", 1]["checked"] > 0
    assert found["put", 64]["over"] == "echo"
    assert found["put", 64]["throughput_of_echo"] > 0
    assert found["memcached UDP set", 50]["over"] == "put"
    assert found["memcached UDP set", 50]["throughput_of_ours"] > 0
    assert found["redis fcall chain", 1]["over"] == "invoke scan"
    assert found["redis fcall chain", 1]["latency_over_ours"] > 0
    assert {run["depth"] for run in document["runs"] if run["by"] == "program"} == {1, 50}
    assert all(document["rivals"][name]["command"].startswith(name) for name in ("redis", "memcached"))
    assert document["command"] == "splinter bench --lab --redis --memcached --json " + " ".join(LONGER)
    assert document["versions"].items() >= versions().items()
    assert document["machine"]["cpus"] >= 1
    assert _labs_of(process) == []
    assert not instances.run_dir(f"bench-{process.pid}").exists()


@pytest.mark.slow
@pytest.mark.xdp
def test_extensions_are_measured_on_servers_of_the_command_s_own() -> None:
    process = _start("extensions", "--json", "--tenants", "20", "--installs", "4", "--rounds", "1")
    out, err = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, err
    figures = {figure["name"]: figure for figure in json.loads(out)["figures"]}
    wanted = {goal.figure for goal in GOALS if goal.area == EXTENSIONS}
    assert wanted - {"forest-cpython", "forest-numba"} <= set(figures)  # scikit-learn is an extra
    assert figures["chain"]["parts"]["invoke_ns"] > 0
    assert figures["extension-memory"]["parts"]["code_bytes"] > 0
    assert _labs_of(process) == []
    assert not instances.run_dir(f"bench-{process.pid}").exists()


@pytest.mark.slow
@pytest.mark.xdp
def test_a_goal_is_measured_on_a_server_and_decides_the_exit_status() -> None:
    ran = _bench("goals", "--only", "restart", "--json")
    document = json.loads(ran.stdout)
    (goal,) = document["goals"]
    assert (goal["name"], goal["bound"]) == ("serving.restart", 100)
    assert goal["value"] > 0
    assert len(goal["figure"]["interval"]) == 2
    assert ran.returncode == {"holds": 0, "fails": 1, "cannot tell": 3}[goal["verdict"]], ran.stderr


@pytest.mark.xdp
@pytest.mark.parametrize("arguments", [("--lab",), ("run", "--lab"), ("goals", "--only", "restart"), ("flood", "--quick")])
def test_what_it_made_is_removed_when_it_is_told_to_end(arguments: tuple[str, ...]) -> None:
    process = _start(*arguments)
    try:
        wait_for(lambda: _labs_of(process) or process.poll() is not None, seconds=LIMIT_SECONDS)
        assert process.poll() is None  # there is something to remove
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=LIMIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode > 0, said  # it ended by itself, and not well
    assert _labs_of(process) == []
    assert not instances.run_dir(f"bench-{process.pid}").exists()


def test_a_goal_that_nobody_set_is_named() -> None:
    ran = _bench("goals", "--only", "speed-of-light")
    assert ran.returncode == 1
    assert "speed-of-light" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
def test_a_server_on_the_udp_transport(unique_name: str) -> None:
    core, port = str(max(os.sched_getaffinity(0))), free_port()
    arguments = ("--transport", "udp", "--address", "127.0.0.1", "--port", str(port), "--cores", core)
    with running_server(unique_name, *arguments, "--memory", "64MiB") as info:
        assert info.transport == "udp"
        ran = _bench("--instance", unique_name, *SHORT)
        assert ran.returncode == 0, ran.stderr
        for word in ("get", "put", "p99.99"):
            assert word in ran.stdout
        with Admin("127.0.0.1", instances.credential(unique_name), port=port) as admin:
            assert admin.list_tenants() == []
    with pytest.raises(SplinterError):
        instances.read(unique_name)


def test_a_server_that_does_not_start_says_why(unique_name: str) -> None:
    with (
        pytest.raises(SplinterError, match="no-such-device"),
        running_server(unique_name, "--transport", "xdp", "--dev", "no-such-device"),
    ):
        raise AssertionError("it started")


def test_without_a_server_it_says_what_to_do() -> None:
    ran = _bench("--instance", "nobody-has-this-name")
    assert ran.returncode == ExitStatus.UNREACHABLE
    assert "splinter serve" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(("--depth", "0"), "depth"), (("--runs", "0"), "runs"), (("--key-bytes", "256"), "key-bytes")],
)
def test_settings_out_of_range_are_refused(arguments: tuple[str, ...], word: str) -> None:
    ran = _bench(*arguments)
    assert ran.returncode != 0
    assert word in ran.stderr
    assert "Traceback" not in ran.stderr
