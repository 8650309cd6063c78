"""The figures that a report of ``splinter bench --redis --memcached`` holds."""

from __future__ import annotations

from typing import Any

from splinter.bench.figure import Figure, medians
from splinter.bench.report import ECHO, Report
from splinter.bench.rival import CONNECTIONS
from splinter.bench.rivals import SPINNING
from splinter.errors import SplinterError

_DEPTH = 64
_REDIS_BENCHMARK = ", redis-benchmark"

ECHO_FIGURES = ("get-latency", "put-latency", "get-throughput", "put-throughput")
RIVAL_FIGURES = (
    "redis-latency", "redis-throughput", "memcached-latency", "memcached-throughput", "fcall-latency", "fcall-throughput",
    "chain-redis",
)  # fmt: skip


def figures_of(report: Report) -> list[Figure]:
    """What a report has of ECHO_FIGURES and RIVAL_FIGURES; raises :class:`SplinterError` when requests failed."""
    failed = {m.name: m.failed for m in report.measurements if m.failed}
    if failed:
        raise SplinterError(f"{sum(failed.values())} requests were lost or answered wrongly: {failed}")
    found = [
        *(_over_echo(report, name) for name in ("get", "put")),
        _latency(report, "redis-latency", "redis get", "get", "Redis's get over get"),
        _latency(report, "memcached-latency", "memcached UDP get", "get", "memcached's get over UDP over get"),
        _latency(report, "fcall-latency", "redis fcall", "invoke get", "Redis's FCALL of a get over the invoke of one"),
        _latency(report, "chain-redis", "redis fcall chain", "invoke scan", "8 dependent look-ups, Redis's Lua over invoke"),
        _throughput(report, "redis-throughput", "get", ["redis get"]),
        _throughput(report, "memcached-throughput", "get", ["memcached get", "memcached UDP get"]),
        _throughput(report, "fcall-throughput", "invoke get", ["redis fcall"]),
    ]
    return [figure for group in found for figure in group]


def _over_echo(report: Report, name: str) -> list[Figure]:
    latency = report.ratio(name, 1, "latency_over_echo")
    share = report.ratio(name, _DEPTH, "throughput_of_echo")
    figures = []
    if latency is not None:
        text = f"{name}, depth 1, median over the AF_XDP echo's"
        figures.append(Figure(f"{name}-latency", text, "×", _ends(latency), _p50(report, name, ECHO)))
    if share is not None:
        text = f"{name}, depth {_DEPTH}, rate of the AF_XDP echo's"
        rates = {part: report.find(part, _DEPTH) for part in (name, ECHO)}
        parts = {f"{part}_per_second": m.per_second["median"] for part, m in rates.items() if m is not None}
        figures.append(Figure(f"{name}-throughput", text, "%", tuple(100 * value for value in _ends(share)), parts))
    return figures


def _latency(report: Report, figure: str, rival: str, ours: str, text: str) -> list[Figure]:
    """One connection that waits for each reply, as clients do; a spinning client's is among the parts, if there is one."""
    ratio = report.ratio(rival, 1, "latency_over_ours")
    if ratio is None:
        return []
    parts = _p50(report, rival, ours, rival + SPINNING)
    benchmark = report.extra(rival + _REDIS_BENCHMARK, 1, "p50")
    if benchmark:
        parts |= medians(redis_benchmark_p50_ns=benchmark)
    return [Figure(figure, f"{text}, one connection, depth 1, medians", "×", _ends(ratio), parts)]


def _throughput(report: Report, figure: str, ours: str, rivals: list[str]) -> list[Figure]:
    """Ours over the fastest of the rivals' and their load generators', run by run."""
    mine = report.find(ours, CONNECTIONS)
    rates = {}
    for rival in rivals:
        measurement = report.find(rival, CONNECTIONS)
        if measurement is not None:
            rates[rival] = [run.per_second for run in measurement.runs]
        benchmark = report.extra(rival + _REDIS_BENCHMARK, CONNECTIONS, "per_second")
        if benchmark:
            rates[rival + _REDIS_BENCHMARK] = benchmark
    if mine is None or not rates:
        return []
    own = [run.per_second for run in mine.runs]
    best = [max(found) for found in zip(*rates.values(), strict=True)]
    echo = report.find(ECHO, CONNECTIONS)
    parts = medians(**{f"{ours}_per_second": own}, **{f"{name}_per_second": found for name, found in rates.items()})
    if echo is not None:
        parts |= medians(echo_per_second=[run.per_second for run in echo.runs])
    text = f"{ours}, depth {CONNECTIONS}, over {' or '.join(rivals)} by its fastest client, {CONNECTIONS} connections"
    return [Figure(figure, text, "×", tuple(a / b for a, b in zip(own, best, strict=True)), parts)]


def _ends(ratio: dict[str, Any]) -> tuple[float, float, float]:
    """What a ratio of a report keeps of its runs."""
    return ratio["min"], ratio["median"], ratio["max"]


def _p50(report: Report, *names: str) -> dict[str, float]:
    found = {name: report.find(name, 1) for name in names}
    return {f"{name}_p50_ns": m.latency_ns["p50"]["median"] for name, m in found.items() if m is not None}
