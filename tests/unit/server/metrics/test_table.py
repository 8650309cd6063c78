"""The table of metrics is complete and as Prometheus wants it; families are made of whatever a server tells."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from splinter.net.xdp.verdicts import ANSWERS, DROPS, LEFT_TO_WORKER, Verdict
from splinter.server.metrics.families import ServerCollector
from splinter.server.metrics.table import METRICS

HOSTILE = 'a"b\\\n{x="1"} 5\n# EOF\n\x00ü\r'
WORKER: dict[str, Any] = {
    "core": 3, "state": "sleeping", "heartbeat_age_ms": None, "busy_ms": 1500, "tasks_live": 2, "tasks_ready": 1,
    "replies_held": 0,
    "requests": {"get": 5, "put": 0}, "replies": {"ok": 5},
    **dict.fromkeys(
        (
            "received", "transmitted", "malformed", "damaged", "wrong_token", "stale", "rate_limited", "transmit_failures",
            "unheld", "sleeps", "resumes", "yields", "orphans", "overdue", "gave_way", "conflicts", "duplicates", "stolen",
            "wakes",
        ),
        7,
    ),
}  # fmt: skip
TENANT = {"tenant": 9, "requests": 5, "busy": 1, "core_ms": [2, 3], "task_ms": 1, "kernel_gets": 4, "kernel_ms": 1, "bytes": 10,
          "quota_bytes": 20, "evictions": 3}  # fmt: skip
TOLD: dict[str, Any] = {
    "transport": "xdp", "mode": "native",
    "workers": [WORKER, {**WORKER, "core": 4, "state": "running", "heartbeat_age_ms": 2.5}],
    "watchdog": {"stuck": 1, "replaced": 1, "replacement_ms_max": None},
    "store": {"slabs_total": 10, "slabs_used": 4, "slab_bytes": 1000, "bytes_used": 2000, "objects": 3, "overflow_used": 0},
    "xdp": {verdict.name.lower(): int(verdict) for verdict in Verdict},
    "sockets": {"rx_dropped": 1, "rx_ring_full": 2, "tx_ring_empty": 99}, "receive_queues": {"packets": [5, 6]},
    "device": {"condition": "served"}, "kernel": [{"cpu": 3, "gets": 8, "busy_ms": 2}],
    "tenants": [TENANT], "extensions": [{"tenant": 9, "name": HOSTILE, "invocations": 3, "errors": 1, "cpu_ms": 2}],
    "others": {
        "tenants": {"requests": 50, "busy": 0, "core_ms": 4, "task_ms": 0, "kernel_gets": 0, "kernel_ms": 0},
        "extensions": {"invocations": 6, "errors": 0, "cpu_ms": 1},
    },
    "control": {
        "tenants": 1, "extensions": 1, "code_bytes": 4, "code_bytes_waiting": 0, "balancer_moves": 2,
        "packets_dropped": {"9": 4}, "operations": {"stats": 3},
    },
    "durability": {
        "entries_behind": 3, "bytes_behind": 100, "sync_age_ms": 40.0, "refused_seconds": None, "disk_failures": 0,
        "log_bytes": 1, "spare_bytes": 2, "snapshot_bytes": 3, "snapshot": {"age_seconds": 9.0},
        "tenants": [{"tenant": 9, "mode": "always", "entries_behind": 3}],
    },
    "latencies": {"bounds_ns": [256, 384], "kinds": {"get": {"buckets": [1, 2, 3], "sum_ns": 5000}}},
}  # fmt: skip
BARE: dict[str, Any] = {
    "transport": "udp", "mode": None, "workers": [], "watchdog": {}, "store": TOLD["store"], "tenants": [], "extensions": [],
    "control": {**TOLD["control"], "operations": {}, "packets_dropped": {}}, "latencies": {"bounds_ns": [256], "kinds": {}},
}  # fmt: skip


def exposed(told: dict[str, Any] | None) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServerCollector(lambda: told))
    return choose_encoder("application/openmetrics-text; version=1.0.0")[0](registry).decode()


def samples(told: dict[str, Any] | None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposed(told))
        for sample in family.samples
    }


def test_names_and_texts_follow_the_conventions() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"splinter_[a-z][a-z_]*", metric.full_name)
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.kind in ("counter", "gauge", "histogram")
        assert metric.text[0].isupper() or metric.text[0].isdigit()
        assert not re.search(r"_(ms|ns|milliseconds|kib)\b", metric.name)
        assert not metric.text.endswith(".")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_found_and_has_its_labels(metric: Any) -> None:
    found = list(
        metric.read(
            TOLD | {"watchdog": {"stuck": 1, "replacement_ms_max": 3.0}, "receive_queues": {"packets": [1], "bytes": [2]}}
        )
    )
    assert found
    assert {len(labels) for labels, _ in found} == {len(metric.labels)}
    assert len({labels for labels, _ in found}) == len(found)


def test_values_are_in_base_units() -> None:
    found = samples(TOLD)
    assert found["splinter_worker_busy_seconds_total", (("core", "3"),)] == 1.5
    assert found["splinter_tenant_worker_seconds_total", (("tenant", "9"),)] == 0.005
    assert found["splinter_tenant_requests_total", (("tenant", "others"),)] == 50
    assert found["splinter_memory_bytes", (("use", "slabs"),)] == 4000
    assert found["splinter_durability_sync_age_seconds", ()] == 0.04
    assert found["splinter_receive_queue_packets", (("core", "4"),)] == 6
    assert found["splinter_worker_heartbeat_age_seconds", (("core", "4"),)] == 0.0025
    assert ("splinter_worker_heartbeat_age_seconds", (("core", "3"),)) not in found  # it sleeps


def test_a_histogram_cumulates_and_ends_in_everything() -> None:
    found = samples(TOLD)
    name = "splinter_request_duration_seconds"
    counts = [found[f"{name}_bucket", (("kind", "get"), ("le", bound))] for bound in ("2.56e-07", "3.84e-07", "+Inf")]
    assert counts == [1, 3, 6]
    assert found[f"{name}_count", (("kind", "get"),)] == 6 and found[f"{name}_sum", (("kind", "get"),)] == 5e-6


def test_all_that_the_program_decides_has_its_place() -> None:
    found = samples(TOLD)
    by = {
        "splinter_dropped_packets_total": {verdict.name.lower() for verdict in DROPS},
        "splinter_kernel_answers_total": {verdict.name.lower().removeprefix("kernel_") for verdict in ANSWERS},
        "splinter_kernel_left_total": {verdict.name.lower().removeprefix("over_") for verdict in LEFT_TO_WORKER},
    }
    for name, wanted in by.items():
        labels = [dict(labels) for told, labels in found if told == name and dict(labels).get("place", "driver") == "driver"]
        assert {next(value for key, value in one.items() if key != "place") for one in labels} == wanted
    assert found["splinter_dropped_packets_total", (("place", "socket"), ("reason", "ring_full"))] == 2
    assert found["splinter_dropped_packets_total", (("place", "worker"), ("reason", "stale"))] == 14


def test_an_extension_with_a_hostile_name_is_a_label_and_nothing_else() -> None:
    found = samples(TOLD)
    assert found["splinter_extension_invocations_total", (("extension", HOSTILE), ("tenant", "9"))] == 3
    assert exposed(TOLD).count("\n# EOF\n") == 1 and exposed(TOLD).endswith("# EOF\n")


def test_a_bare_server_and_a_silent_one_are_told() -> None:
    assert samples(BARE)["splinter_up", ()] == 1
    assert samples(None) == {("splinter_up", ()): 0}
