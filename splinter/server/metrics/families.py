"""What a scrape gets: the statistics as families of ``prometheus-client``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

import splinter
from splinter.server.metrics.table import METRICS, PREFIX, UP, Metric, Statistics

_NS_PER_SECOND = 1e9
Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily


class ServerCollector(Collector):
    """``look`` gives the statistics, or None when they cannot be had."""

    def __init__(self, look: Callable[[], Statistics | None]) -> None:
        self._look = look

    def collect(self) -> Iterable[Family]:
        """All families that there is something to tell of."""
        told = self._look()
        if told is None:
            family = GaugeMetricFamily(UP.full_name, UP.text)
            family.add_metric((), 0)
            return [family]
        return families(told)


def families(told: Statistics) -> Iterator[Family]:
    """Of each metric with samples its family."""
    info = GaugeMetricFamily(f"{PREFIX}info", "Always 1", labels=("version", "transport", "mode"))
    info.add_metric((splinter.__version__, str(told.get("transport")), str(told.get("mode") or "")), 1)
    yield info
    for metric in METRICS:
        samples = list(metric.read(told))
        if samples:
            yield _family(metric, samples)


def _family(metric: Metric, samples: Iterable[tuple[tuple[str, ...], Any]]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.full_name, metric.text, labels=metric.labels)
        for labels, (bounds_ns, counts, sum_ns) in samples:
            bounds = [*(repr(bound / _NS_PER_SECOND) for bound in bounds_ns), "+Inf"]
            histogram.add_metric(labels, list(zip(bounds, itertools.accumulate(counts), strict=True)), sum_ns / _NS_PER_SECOND)
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.full_name, metric.text, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, value)
    return family
