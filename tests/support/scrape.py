"""A scraper of a server's metrics endpoint."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.waiting import WAIT_SECONDS, wait_for

ACCEPT = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Scrape:
    """The samples of one scrape: name and labels, value."""

    samples: tuple[tuple[str, dict[str, str], float], ...]

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples of this name with these labels, among others."""
        return sum(value for told, has, value in self.samples if told == name and labels.items() <= has.items())

    def labels(self, name: str) -> list[dict[str, str]]:
        """Of all samples of this name."""
        return [has for told, has, _ in self.samples if told == name]

    @property
    def names(self) -> set[str]:
        """Of all samples."""
        return {name for name, _, _ in self.samples}


def fetch(url: str, accept: str = ACCEPT) -> str:
    """What an endpoint answers."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=WAIT_SECONDS) as answer:
        return str(answer.read().decode())


def scrape(url: str) -> Scrape:
    """What an endpoint tells, read strictly as OpenMetrics."""
    families = text_string_to_metric_families(fetch(url))
    return Scrape(tuple((sample.name, sample.labels, sample.value) for family in families for sample in family.samples))


def scrape_until(url: str, condition: Callable[[Scrape], object], what: str = "the metrics") -> Scrape:
    """The first scrape for which a condition holds: counters are looked at once a second, and noted behind the replies."""

    def look() -> Scrape | None:
        found = scrape(url)
        return found if condition(found) else None

    found = wait_for(look, what=what)
    assert found is not None
    return found
