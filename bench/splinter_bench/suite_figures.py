"""The figures that a report of ``splinter bench --redis --memcached`` holds."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

from splinter.errors import SplinterError
from splinter_bench.figure import Figure, medians
from splinter_bench.live_plan import LIVE
from splinter_bench.report import ECHO, Report, in_peace
from splinter_bench.rival import CONNECTIONS
from splinter_bench.rivals import SPINNING

_Rates = dict[tuple[int, int], float]  # by run and place of the slice
_DEPTH = 64
_MEDIAN = "p50"
REDIS_BENCHMARK = ", redis-benchmark"
PACKAGED = (REDIS_BENCHMARK, ", memcaslap")  # the distribution's load generators

ECHO_FIGURES = ("get-latency", "put-latency", "get-throughput", "put-throughput")
REDIS_FIGURES = ("redis-latency", "redis-throughput", "fcall-latency", "fcall-throughput", "chain-redis")
MEMCACHED_FIGURES = ("memcached-latency", "memcached-throughput")
RIVAL_FIGURES = REDIS_FIGURES + MEMCACHED_FIGURES

# What the figures are computed from: beginnings of names, and depths.
_BOTH = ((ECHO, 1), (ECHO, CONNECTIONS), ("get", 1), ("get", CONNECTIONS), (f"get{LIVE}", 0))
OF_REDIS = (
    *_BOTH, ("invoke get", 1), ("invoke get", CONNECTIONS), (f"invoke get{LIVE}", 0), ("invoke scan", 1), ("redis get", 1),
    ("redis get", CONNECTIONS), ("redis fcall", 1), ("redis fcall", CONNECTIONS),
)  # fmt: skip
OF_MEMCACHED = (
    *_BOTH, ("memcached UDP get", 1), ("memcached get", CONNECTIONS), ("memcached UDP get", CONNECTIONS),
    (f"memcached UDP get{LIVE}", 0),
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
    return [_with_configuration(report, figure) for group in found for figure in group]


def _with_configuration(report: Report, figure: Figure) -> Figure:
    name = "redis" if figure.name in REDIS_FIGURES else "memcached" if figure.name in MEMCACHED_FIGURES else ""
    configuration = report.circumstances.get("rivals", {}).get(name)
    if configuration is None:
        return figure
    return replace(figure, against=f"{configuration['version']}: {configuration['command']}")


def _over_echo(report: Report, name: str) -> list[Figure]:
    latency = report.ratio(name, 1, "latency_over_echo")
    share = report.ratio(name, _DEPTH, "throughput_of_echo")
    figures = []
    if latency is not None:
        text = f"{name}, depth 1, median over the AF_XDP echo's"
        figures.append(_of_ratio(f"{name}-latency", text, "×", latency, _p50(report, name, ECHO)))
    if share is not None:
        text = f"{name}, depth {_DEPTH}, rate of the AF_XDP echo's"
        rates = {part: report.find(part, _DEPTH) for part in (name, ECHO)}
        parts = {f"{part}_per_second": m.per_second["median"] for part, m in rates.items() if m is not None}
        figures.append(_of_ratio(f"{name}-throughput", text, "%", share, parts))
    return figures


def _latency(report: Report, figure: str, rival: str, ours: str, text: str) -> list[Figure]:
    """One connection that waits for each reply in ``recv``, as clients do.

    Parts: the medians, also of a client that spins and of the rival's own load generator; what is left of the ratio beside a
    spinning client; and ``most_possible``, the ratio of a store that would add nothing to the AF_XDP echo.
    """
    ratio = report.ratio(rival, 1, "latency_over_ours")
    if ratio is None:
        return []
    parts = _p50(report, rival, ours, rival + SPINNING, ECHO)
    spinning = report.ratio(rival + SPINNING, 1, "latency_over_ours")
    if spinning is not None:
        parts["ratio_spinning_client"] = round(spinning["median"], 3)
    if echo := parts.get(f"{ECHO}_p50_ns"):
        parts["most_possible"] = round(parts[f"{rival}_p50_ns"] / echo, 3)
    if benchmark := report.extra(rival + REDIS_BENCHMARK, 1, _MEDIAN):
        parts |= medians(redis_benchmark_p50_ns=benchmark)
    return [_of_ratio(figure, f"{text}, one connection, depth 1, medians", "×", ratio, parts)]


def _throughput(report: Report, figure: str, ours: str, rivals: list[str]) -> list[Figure]:
    """The most that ours answers over the most that the rival does, each by the client that gets most out of it.

    Parts: the rate by each client; ``ratio_closed_loop``: ours by the AF_XDP client with as many under way; ``ratio_packaged``:
    over the rival's rate by the distribution's load generator.
    """
    closed = report.find(ours, CONNECTIONS)
    mine = _rates(report, [ours])
    theirs = _rates(report, rivals)
    if closed is None or not mine or not theirs:
        return []
    own, best = _most(mine), _most(theirs)
    made_of = [measurement for measurement in report.measurements if measurement.name in mine | theirs]
    places, left_out = in_peace(own.keys() & best.keys(), *made_of)
    known = {**mine, **theirs, **_rates(report, [ECHO])}
    parts = medians(**{f"{name}_per_second": rates.values() for name, rates in known.items() if rates})
    slices = closed.rounds()
    parts["ratio_closed_loop"] = statistics.median(slices[place].per_second / best[place] for place in places)
    packaged = [found for name, found in theirs.items() if name.endswith(PACKAGED)]
    if packaged:
        parts["ratio_packaged"] = statistics.median(own[place] / packaged[0][place] for place in places)
    text = f"{ours} over {' or '.join(rivals)}, not pipelined, {CONNECTIONS} connections, each by its best client"
    return [Figure(figure, text, "×", tuple(own[place] / best[place] for place in places), parts, left_out=left_out)]


def _rates(report: Report, names: list[str]) -> dict[str, _Rates]:
    """By name, the rates of each slice: with CONNECTIONS under way, under live frames, by other programs.

    Another program's rate is that of its whole run, the same for each of the run's slices.
    """
    found: dict[str, _Rates] = {}
    for name in names:
        for measurement in report.matching(name):
            is_live = measurement.name.startswith(name + LIVE)
            if is_live or (measurement.name, measurement.depth) == (name, CONNECTIONS):
                found[measurement.name] = {place: part.per_second for place, part in measurement.rounds().items()}
                places = [(run, at) for run, parts in enumerate(measurement.slices) for at in range(len(parts))]
        for program in PACKAGED:
            if rates := report.extra(name + program, CONNECTIONS, "per_second"):
                found[name + program] = {(run, at): rates[run] for run, at in places}
    return found


def _most(rates: dict[str, _Rates]) -> _Rates:
    """The best of each slice that all of them have."""
    places = set.intersection(*(set(found) for found in rates.values()))
    return {place: max(found[place] for found in rates.values()) for place in places}


def _of_ratio(name: str, text: str, unit: str, ratio: dict[str, Any], parts: dict[str, float]) -> Figure:
    scale = 100 if unit == "%" else 1
    values = tuple(scale * value for value in ratio["rounds"])
    return Figure(name, text, unit, values, parts, left_out=ratio["left_out"])


def _p50(report: Report, *names: str) -> dict[str, float]:
    found = {name: report.find(name, 1) for name in names}
    return {f"{name}_p50_ns": m.latency_ns["p50"]["median"] for name, m in found.items() if m is not None}
