"""Every metric of the endpoint: its name, kind, labels and meaning, and where it stands in the statistics of the server.

One table: the endpoint makes its families from it, and ``docs/generate.py`` the page. Names and units are as Prometheus has
them (https://prometheus.io/docs/practices/naming): seconds, bytes, ``_total`` for what only grows. Labels whose values come
from outside are ids of tenants and names of extensions; the library escapes them, and the setting ``metrics_most`` bounds how
many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

PREFIX = "splinter_"
OTHERS = "others"  # as tenant and extension: the sum of those without series of their own
Statistics = dict[str, Any]
Sample = tuple[tuple[str, ...], Any]  # values of the labels; a number, or of a histogram bounds, counts and sum
Read = Callable[[Statistics], Iterable[Sample]]
_MS, _NS = 1e-3, 1e-9
# Counters of workers that are drops, and those of the watchdog: 'stats' and 'top' tell these, too.
DROPS = ("malformed", "damaged", "wrong_token", "stale", "rate_limited", "transmit_failures", "unheld")
WATCHDOG = ("stuck", "stopped", "died", "starved", "replaced", "tasks_killed", "tasks_restarted", "locks_broken")
_OF_SOCKETS = {  # what the kernel drops, or fails at, before the worker sees it
    "rx_dropped": "other", "rx_invalid_descriptors": "invalid_descriptor", "rx_ring_full": "ring_full",
    "rx_fill_ring_empty": "no_chunk", "receive_buffer_full": "buffer_full",
}  # fmt: skip
# Of the XDP program's counters (splinter.net.xdp.verdicts, which this process does without), all others are drops.
_NO_DROPS = ("passed", "steered", "bad_version", "bad_length")
_ANSWERED, _LEFT = "kernel_", "over_"


@dataclass(frozen=True)
class Metric:
    """``name`` without :data:`PREFIX`; ``kind``: counter, gauge or histogram; ``read`` finds its samples in the statistics."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    read: Read

    @property
    def full_name(self) -> str:
        """As samples have it, but for what a histogram adds."""
        return PREFIX + self.name


def _one(*path: str, scale: float = 1) -> Read:
    """One number, if it is there and known."""

    def read(told: Statistics) -> Iterator[Sample]:
        found: Any = told
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            yield (), found * scale

    return read


def _of_workers(name: str, scale: float = 1) -> Read:
    """A number of each worker, by its CPU, but where it is unknown."""
    return lambda told: (
        ((str(worker["core"]),), worker[name] * scale) for worker in told["workers"] if worker.get(name) is not None
    )


def _by(name: str) -> Read:
    """Numbers of each worker by a name of theirs."""
    return lambda told: (
        ((str(worker["core"]), each), number) for worker in told["workers"] for each, number in worker[name].items()
    )


def _reasons(*names: str) -> Read:
    return lambda told: (((str(worker["core"]), name), worker[name]) for worker in told["workers"] for name in names)


def _states(told: Statistics) -> Iterator[Sample]:
    for state in ("starting", "running", "sleeping", "stopped"):
        yield (state,), sum(worker["state"] == state for worker in told["workers"])


def _queues(unit: str) -> Read:
    def read(told: Statistics) -> Iterator[Sample]:
        depths = told.get("receive_queues", {}).get(unit, [])
        for worker, depth in zip(told["workers"], depths, strict=False):
            yield (str(worker["core"]),), depth

    return read


def _latencies(told: Statistics) -> Iterator[Sample]:
    bounds = told["latencies"]["bounds_ns"]
    for kind, found in told["latencies"]["kinds"].items():
        yield (kind,), (bounds, found["buckets"], found["sum_ns"])


def _kernel(name: str, scale: float = 1) -> Read:
    return lambda told: (((str(one["cpu"]),), one[name] * scale) for one in told.get("kernel", []))


def _verdicts(beginning: str) -> Read:
    return lambda told: (
        ((name.removeprefix(beginning),), count) for name, count in told.get("xdp", {}).items() if name.startswith(beginning)
    )


def _drops(told: Statistics) -> Iterator[Sample]:
    """By who dropped: the XDP program, the sockets, the workers."""
    for name, count in told.get("xdp", {}).items():
        if name not in _NO_DROPS and not name.startswith((_ANSWERED, _LEFT)):
            yield ("driver", name), count
    for name, reason in _OF_SOCKETS.items():
        if name in told.get("sockets", {}):
            yield ("socket", reason), told["sockets"][name]
    for name in DROPS:
        yield ("worker", name), sum(worker[name] for worker in told["workers"])


def _watchdog(told: Statistics) -> Iterator[Sample]:
    for name in WATCHDOG:
        if name in told.get("watchdog", {}):
            yield (name,), told["watchdog"][name]


def _memory(told: Statistics) -> Iterator[Sample]:
    store, control = told["store"], told["control"]
    yield ("store",), store["slabs_total"] * store["slab_bytes"]
    yield ("slabs",), store["slabs_used"] * store["slab_bytes"]
    yield ("tenants",), store["bytes_used"]
    yield ("code",), control["code_bytes"]
    yield ("code_waiting",), control["code_bytes_waiting"]


def _operations(told: Statistics) -> Iterator[Sample]:
    return (((name,), count) for name, count in told["control"]["operations"].items())


def _tenants(name: str, scale: float = 1) -> Read:
    """What each tenant that is told has used, and the others together."""

    def read(told: Statistics) -> Iterator[Sample]:
        for one in told["tenants"]:
            value = one.get(name, 0)
            yield (str(one["tenant"]),), (sum(value) if isinstance(value, list) else value) * scale
        if "others" in told:
            yield (OTHERS,), told["others"]["tenants"][name] * scale

    return read


def _holdings(name: str) -> Read:
    return lambda told: (((str(one["tenant"]),), one[name]) for one in told["tenants"] if name in one)


def _over_rate(told: Statistics) -> Iterator[Sample]:
    return (((str(tenant),), count) for tenant, count in told["control"]["packets_dropped"].items())


def _extensions(name: str, scale: float = 1) -> Read:
    def read(told: Statistics) -> Iterator[Sample]:
        for one in told["extensions"]:
            yield (str(one["tenant"]), str(one["name"])), one[name] * scale
        if "others" in told:
            yield (OTHERS, OTHERS), told["others"]["extensions"][name] * scale

    return read


def _disk_bytes(told: Statistics) -> Iterator[Sample]:
    for use in ("log", "spare", "snapshot"):
        if "durability" in told:
            yield (use,), told["durability"][f"{use}_bytes"]


def _refuses(told: Statistics) -> Iterator[Sample]:
    if "durability" in told:
        yield (), int(told["durability"]["refused_seconds"] is not None)


def _behind(told: Statistics) -> Iterator[Sample]:
    return (((str(one["tenant"]),), one["entries_behind"]) for one in told.get("durability", {}).get("tenants", []))


def _device(told: Statistics) -> Iterator[Sample]:
    if "device" in told:
        yield (), int(told["device"]["condition"] == "served")


_CORE, _TENANT, _EXTENSION = ("core",), ("tenant",), ("tenant", "extension")
_C, _G = "counter", "gauge"
UP = Metric("up", _G, (), "1 if the control process told the counters; 0: nothing else is told", lambda told: [((), 1)])
METRICS = (
    UP,
    Metric(
        "requests_total",
        _C,
        ("core", "kind"),
        "Requests that a worker took, by opcode: of a batch itself and each request in it",
        _by("requests"),
    ),
    Metric("replies_total", _C, ("core", "status"), "Replies that a worker gave, by status", _by("replies")),
    Metric(
        "request_duration_seconds", "histogram", ("kind",),
        "From a worker's taking of a packet to its reply, of all cores, by opcode; what the driver answers is not in it",
        _latencies,
    ),
    Metric("packets_received_total", _C, _CORE, "Packets that a worker took", _of_workers("received")),
    Metric("packets_transmitted_total", _C, _CORE, "Packets that a worker sent", _of_workers("transmitted")),
    Metric("dropped_packets_total", _C, ("place", "reason"), "Packets that nobody answered: driver, socket or worker", _drops),
    Metric("receive_queue_packets", _G, _CORE, "XDP: packets that wait for a worker", _queues("packets")),
    Metric("receive_queue_bytes", _G, _CORE, "UDP: memory of packets that wait for a worker", _queues("bytes")),
    Metric("tasks", _G, _CORE, "Invokes under way", _of_workers("tasks_live")),
    Metric("tasks_ready", _G, _CORE, "Invokes that wait for their next slice", _of_workers("tasks_ready")),
    Metric("replies_held", _G, _CORE, "Replies that wait for the disk", _of_workers("replies_held")),
    Metric("worker_busy_seconds_total", _C, _CORE, "Time that a worker had something to do", _of_workers("busy_ms", _MS)),
    Metric("workers", _G, ("state",), "Workers by state", _states),
    Metric(
        "worker_heartbeat_age_seconds", _G, _CORE, "Since a worker that does not sleep went on",
        _of_workers("heartbeat_age_ms", _MS),
    ),
    Metric("worker_sleeps_total", _C, _CORE, "Times that a worker went to sleep", _of_workers("sleeps")),
    Metric("task_resumes_total", _C, _CORE, "Slices of invokes", _of_workers("resumes")),
    Metric("task_yields_total", _C, _CORE, "Slices that did not end their invoke", _of_workers("yields")),
    Metric(
        "tasks_ended_total", _C, ("core", "reason"), "Invokes that were ended: orphans of a removed tenant, overdue, gave way",
        _reasons("orphans", "overdue", "gave_way"),
    ),
    Metric("transaction_conflicts_total", _C, _CORE, "Transactions that were begun anew", _of_workers("conflicts")),
    Metric("duplicates_total", _C, _CORE, "Requests answered with a recorded result", _of_workers("duplicates")),
    Metric("stolen_packets_total", _C, _CORE, "Packets that a worker took from busy ones", _of_workers("stolen")),
    Metric("wakes_total", _C, _CORE, "Sleeping workers that a busy one woke to help", _of_workers("wakes")),
    Metric("balancer_moves_total", _C, (), "Tenants that were moved to another core", _one("control", "balancer_moves")),
    Metric("watchdog_events_total", _C, ("event",), "What the watchdog found and did to workers", _watchdog),
    Metric(
        "worker_replacement_seconds_max", _G, (), "Longest of the last replacements of a worker",
        _one("watchdog", "replacement_ms_max", scale=_MS),
    ),
    Metric("kernel_gets_total", _C, _CORE, "Gets that the driver answered, by the packet's CPU", _kernel("gets")),
    Metric("kernel_busy_seconds_total", _C, _CORE, "CPU time of the driver's answers, about", _kernel("busy_ms", _MS)),
    Metric("kernel_answers_total", _C, ("answer",), "Requests that the driver answered", _verdicts(_ANSWERED)),
    Metric("kernel_left_total", _C, ("reason",), "Requests that the driver left to a worker", _verdicts(_LEFT)),
    Metric("device_served", _G, (), "XDP: 1 while the network device is served", _device),
    Metric("memory_bytes", _G, ("use",), "The store, its slabs in use, what tenants are charged for, machine code", _memory),
    Metric("objects", _G, (), "Objects of all tenants", _one("store", "objects")),
    Metric("index_overflow_buckets", _G, (), "Buckets of the index beside the first ones", _one("store", "overflow_used")),
    Metric("tenants", _G, (), "Tenants", _one("control", "tenants")),
    Metric("extensions", _G, (), "Installed extensions", _one("control", "extensions")),
    Metric("control_operations_total", _C, ("operation",), "What the control process was asked for", _operations),
    Metric("tenant_requests_total", _C, _TENANT, "Requests that workers took for a tenant", _tenants("requests")),
    Metric("tenant_busy_total", _C, _TENANT, "Requests refused with BUSY", _tenants("busy")),
    Metric("tenant_worker_seconds_total", _C, _TENANT, "Workers' time for a tenant", _tenants("core_ms", _MS)),
    Metric("tenant_extension_seconds_total", _C, _TENANT, "Of it, in extensions", _tenants("task_ms", _MS)),
    Metric("tenant_kernel_gets_total", _C, _TENANT, "Gets that the driver answered for a tenant", _tenants("kernel_gets")),
    Metric("tenant_kernel_seconds_total", _C, _TENANT, "CPU time of these, about", _tenants("kernel_ms", _MS)),
    Metric("tenant_memory_bytes", _G, _TENANT, "What a tenant is charged for", _holdings("bytes")),
    Metric("tenant_quota_bytes", _G, _TENANT, "What it may be charged for", _holdings("quota_bytes")),
    Metric("tenant_evictions_total", _C, _TENANT, "Objects that made room for others", _holdings("evictions")),
    Metric("tenant_rate_limited_packets_total", _C, _TENANT, "Packets over a tenant's rate, of the 32 with most", _over_rate),
    Metric("extension_invocations_total", _C, _EXTENSION, "Invokes that ended", _extensions("invocations")),
    Metric("extension_errors_total", _C, _EXTENSION, "Invokes that ended with an error", _extensions("errors")),
    Metric("extension_seconds_total", _C, _EXTENSION, "Workers' time in an extension", _extensions("cpu_ms", _MS)),
    Metric("durability_entries_behind", _G, (), "Commits that are not on the disk", _one("durability", "entries_behind")),
    Metric("durability_bytes_behind", _G, (), "Bytes of the log that are not on the disk", _one("durability", "bytes_behind")),
    Metric(
        "durability_sync_age_seconds", _G, (), "Since the disk last confirmed something",
        _one("durability", "sync_age_ms", scale=_MS),
    ),
    Metric("durability_refusing", _G, (), "1 while writes are refused because the disk has failed", _refuses),
    Metric("disk_failures_total", _C, (), "Times that the disk failed", _one("durability", "disk_failures")),
    Metric("disk_bytes", _G, ("use",), "Bytes on the disk: log, segments to be used again, snapshots", _disk_bytes),
    Metric("snapshot_age_seconds", _G, (), "Since the last snapshot", _one("durability", "snapshot", "age_seconds")),
    Metric("tenant_durability_entries_behind", _G, _TENANT, "Commits of a tenant that are not on the disk", _behind),
)  # fmt: skip
