"""Workloads against real servers: every request is answered, with what it should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from splinter_bench.experiments.live_runs import measure_live
from splinter_bench.experiments.runs import ALL, Running, failures, limits, measure, one_run, prepare, replay
from splinter_bench.generators.live import LiveClient, LiveLoad
from splinter_bench.generators.path import find
from splinter_bench.report import told
from splinter_bench.result import Result
from splinter_bench.subjects.target import Target
from splinter_bench.workloads import trace
from splinter_bench.workloads.arguments import invoke_workload
from splinter_bench.workloads.catalogue import CATALOGUE, Plan, Shape, build
from splinter_bench.workloads.workload import get_operation, put_operation, uniform

from splinter.errors import SplinterError
from splinter.ext.library import entry
from splinter.net import netns
from tests.support.servers import RunningServer, running_server

pytestmark = pytest.mark.xdp

KEYS = 300
SHORT = Running(depth=8, rate=None, runs=1, seconds=0.1, warmup_seconds=0.02)
LIMIT_SECONDS = 200
TRIES = 20


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    core = str(max(os.sched_getaffinity(0)))
    with running_server(f"t{os.getpid()}x9100", "xdp", "--cores", core) as running:
        yield running


@pytest.fixture
def target(server: RunningServer) -> Iterator[Target]:
    with Target.of_instance(server.info, 3) as made:
        yield made


def _shape(target: Target, **fields: float) -> Shape:
    return Shape(target.accounts, **{"keys": KEYS, **fields})  # type: ignore[arg-type]


def _run(target: Target, plan: Plan, running: Running = SHORT, *, every: bool = False) -> dict[str, int]:
    """How often each operation was answered; ``every``: until each was."""
    prepare(target, plan, lambda text: None)
    for _ in range(TRIES):  # a busy machine may let the worker do nothing for as long as a run, or little
        result = _one_run(target, plan, running)
        counts = {name: histogram.count for name, histogram in result.operations.items()}
        if result.recorded and (all(counts.values()) or not every):
            break
    assert result.requests > 0
    return counts


def _one_run(target: Target, plan: Plan, running: Running) -> Result:
    """One in which every request was answered, and in time; a busy machine may keep a reply for longer than that."""
    late = 0
    for _ in range(TRIES):
        result = one_run(target, plan.workload, running)
        assert result.failed == result.lost and result.stale <= late + result.lost, (
            result.errors,
            result.corrupt,
            result.stale,
        )
        late = result.lost
        if not late:
            break
    assert not late
    return result


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_workload_runs(target: Target, name: str) -> None:
    every = name.startswith("ycsb")
    counts = _run(target, build(name, _shape(target, tenant_skew=0.99)), every=every)
    assert all(counts.values()) or not every, counts


@pytest.mark.parametrize("value_bytes", [16, 1408, 1409, 65536])
def test_values_of_every_size(target: Target, value_bytes: int) -> None:
    counts = _run(target, build("ycsb-a", _shape(target, keys=20, value_bytes=value_bytes)), every=True)
    assert counts["get"] > 0
    assert counts["put"] > 0


def test_the_udp_client_makes_the_same_requests(server: RunningServer) -> None:
    with Target.of_instance(server.info, 2, udp=True) as target:
        assert target.client_name == "UDP"
        _run(target, build("ycsb-f", _shape(target)))
        _run(target, build("ycsb-a", _shape(target, keys=20, value_bytes=5000)))


@pytest.mark.parametrize("spin", [True, False])
def test_an_open_loop_sends_at_its_rate(target: Target, spin: bool) -> None:
    plan = build("ycsb-b", _shape(target))
    prepare(target, plan, lambda text: None)
    result = _one_run(target, plan, Running(None, 2000, 1, 0.5, 0.1, spin=spin))
    assert result.requests + result.unsent == pytest.approx(1200, abs=4 * 1200**0.5)
    assert result.histogram.count == pytest.approx(1000, abs=4 * 1000**0.5)
    assert result.client_cpu_ns > 0
    assert result.server_cpu_ns.get("splinter-w0", 0) > 0


def test_any_extension_is_invoked_with_random_arguments(target: Target) -> None:
    shape = _shape(target)
    target.install([entry("get").sources["get"]])
    signature = target.signature("get")
    workload = invoke_workload(signature, ["table=const:1", "key=key:zipf:100"], shape)
    stored = (build("get", shape).loads[0],)
    assert _run(target, Plan(workload, stored))["invoke get"] > 0
    with pytest.raises(SplinterError, match="missing"):
        invoke_workload(signature, ["table=const:1"], shape)
    with pytest.raises(SplinterError, match="does not fit"):
        invoke_workload(signature, ["table=const:-1", "key=text:x"], shape)
    with pytest.raises(SplinterError, match="is bytes"):
        invoke_workload(signature, ["table=const:1", "key=zipf:5"], shape)
    with pytest.raises(SplinterError, match="NAME=WHAT"):
        invoke_workload(signature, ["nobody=const:1"], shape)


def test_the_limits_stand_beside_the_runs(server: RunningServer) -> None:
    with Target.of_instance(server.info, 1) as target:
        plan = build("get", _shape(target))
        prepare(target, plan, lambda text: None)
        with limits(target.session) as echoes:
            found = measure(target, plan.workload, SHORT, echoes, lambda text: None)
        assert failures(found, "get") == 0
        assert {row["subject"] for row in found.rows} == {"get", "AF_XDP echo", "XDP_TX echo"}
        columns = found.columns({"operation": ALL})
        for name in ("AF_XDP_echo", "XDP_TX_echo"):
            assert columns.median(f"get.p50 / {name}.p50") > 0
        first = columns.table[columns.table["subject"] == "get"].iloc[0]
        mine = [row for row in found.series if (row["subject"], row["round"]) == ("get", first["round"])]
        assert sum(row["count"] for row in mine) == first["count"] > 0
        assert all(row["failed"] == 0 for row in found.rows)
    assert not [name for name in netns.names() if f"-{os.getpid()}-" in name]


def test_what_was_recorded_can_be_replayed(target: Target, tmp_path: Path) -> None:
    plan = build("ycsb-a", _shape(target))
    prepare(target, plan, lambda text: None)
    result = one_run(target, plan.workload, Running(None, 2000, 1, 0.1, 0.02), note=10_000)
    path = tmp_path / "trace"
    trace.write(path, trace.from_notes(target.client.flight.noted, plan.workload, 100))
    records, key_bytes = trace.read(path)
    assert len(records) == result.requests
    accounts = target.accounts[: len(trace.tenants(records))]
    loads, workload = trace.replay(records, key_bytes, accounts)
    prepare(target, Plan(workload, loads), lambda text: None)
    for depth, gaps in ((8, None), (None, trace.gaps(records, 2.0))):
        found = replay(target, workload, depth, gaps, spin=True)
        assert failures(found, workload.name) == 0
        assert found.rows[0]["requests"] == len(records)


def test_a_replay_knows_what_was_deleted_and_how_large_values_are(target: Target) -> None:
    lines = [(0, 1, 1, 0, 1, 0), (1, 1, 1, 5000, 2, 0), (2, 1, 1, 0, 1, 0), (3, 1, 1, 0, 3, 0), (4, 1, 1, 0, 1, 0)]
    records = np.array(lines, trace.RECORD)
    loads, workload = trace.replay(records, 30, target.accounts[:1])
    prepare(target, Plan(workload, loads), lambda text: None)
    found = replay(target, workload, 1, None, spin=True)
    assert failures(found, workload.name) == 0
    assert {row["operation"]: row["count"] for row in found.rows[1:]} == {"get": 3, "put": 1, "delete": 1}


def test_load_from_within_the_kernel_is_answered(server: RunningServer) -> None:
    with Target.of_instance(server.info, 2) as target:
        plan = build("get", _shape(target))
        prepare(target, plan, lambda text: None)
        for _ in range(TRIES):  # who sends at a rate needs the CPU at its times, and so does who sends back
            found = measure_live(target, plan.workload, Running(None, 5000, 1, 0.1), limits=True, progress=lambda text: None)
            result = found.rows[0]
            wanted = pytest.approx(5000 * result["seconds"], abs=5)
            if result["sent"] == wanted and all(row["answered"] for row in found.rows):
                break
        assert result["sent"] == wanted
        assert (result["errors"], result["dropped"]) == ({}, 0)
        assert [row["subject"] for row in found.rows] == ["get", "AF_XDP echo", "XDP_TX echo"]
        assert all(row["answered"] > 0 for row in found.rows)
        document = {"experiment": "live-run", **found.to_json()}
        assert [note.partition(":")[0] for note in told.notes(document)] == ["AF_XDP echo", "XDP_TX echo"]
        (table,) = told.tables(document)
        assert [row[0] for row in table.rows] == ["get", "AF_XDP echo", "XDP_TX echo"]


def test_errors_are_told_from_drops(server: RunningServer) -> None:
    with Target.of_instance(server.info, 1) as target:
        netns_name = server.info.client_netns
        missing = LiveLoad.of_workload(uniform(get_operation(target.accounts[0]), 10))
        with LiveClient(find(server.info.address, netns_name), missing, server.info.port, netns=netns_name) as client:
            result = client.run(0.05, 1000)
        assert result.recorded == 0
        assert result.errors == {"NOT_FOUND": result.requests}
        large = uniform(put_operation(target.accounts[0], value_bytes=5000), 10)
        with pytest.raises(SplinterError, match="one packet"):
            LiveLoad.of_workload(large)


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "splinter", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)


def test_the_commands(server: RunningServer, tmp_path: Path) -> None:
    instance, path = server.info.instance, str(tmp_path / "trace")
    short = ("--instance", instance, "--runs", "1", "--seconds", "0.1", "--keys", "100", "--no-limits")
    ran = _bench("run", *short, "--workload", "ycsb-a", "--rate", "2000", "--tenants", "2", "--record", path, "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["workload"] == "ycsb-a"
    assert document["settings"]["client"] == "AF_XDP"
    assert document["runs"][0]["cpu_ns_per_request"]["client"] > 0
    assert document["command"].startswith("splinter bench run --instance")
    replayed = _bench("replay", path, "--instance", instance, "--depth", "8")
    assert replayed.returncode == 0, replayed.stderr
    assert "replay" in replayed.stdout


def test_a_server_elsewhere_is_asked_as_a_tenant_that_it_has(unique_name: str) -> None:
    with running_server(unique_name, "udp") as server:
        tenant = server.admin().create_tenant()
        where = ("--address", f"127.0.0.1:{server.info.port}", "--tenant", str(tenant.tenant), "--token", f"{tenant.token:x}")
        ran = _bench("run", *where, "--runs", "1", "--seconds", "0.1", "--keys", "100", "--workload", "ycsb-d")
        assert ran.returncode == 0, ran.stderr
        assert "insert" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--workload", "nothing", "--instance", "no-such-instance"), "splinter serve"),
        (("--address", "127.0.0.1"), "--tenant"),
        (("--tenant", "3"), "--address"),
        (("--depth", "0"), "depth"),
        (("--value-bytes", "70000"), "value-bytes"),
    ],
)
def test_commands_that_cannot_be(arguments: tuple[str, ...], message: str) -> None:
    ran = _bench("run", *arguments)
    assert ran.returncode != 0
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_the_workloads_are_listed() -> None:
    ran = _bench("run", "--list", "--json")
    assert [found["name"] for found in json.loads(ran.stdout)] == list(CATALOGUE)
