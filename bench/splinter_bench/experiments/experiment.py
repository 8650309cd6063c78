"""What the experiments have in common: how they are asked for, and the document that each makes.

A document is plain values: ``runs`` are measurements, ``simulated`` what the simulation says, ``settings`` what was asked
for. Tables, pictures and figures are made from documents alone, so that they can be made again from a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from splinter_bench.control import Taken

Document = dict[str, Any]
# What a tenant with too many tasks waiting is answered: none at the loads that matter, while the machine runs.
REFUSED = ("BUSY",)
_ERRORS_SHARE_MAX = 0.001  # of a slice's requests


@dataclass(frozen=True)
class Effort:
    """How much to do. ``is_quick``: enough to see that it works, not for figures. ``only``: parts, all when there are none.

    ``for_bounds``: nothing but what ``figures`` with bounds are made of, in more rounds.
    """

    is_quick: bool = False
    only: tuple[str, ...] = ()
    for_bounds: bool = False

    def wants(self, part: str) -> bool:
        """Whether a part was asked for."""
        return not self.only or part in self.only


def rows(document: Document, of: str = "runs", **wanted: Any) -> list[dict[str, Any]]:
    """The document's runs (or ``simulated``) that have these values; those that had no peace only if there are no others."""
    found = _all_rows(document, wanted, of)
    return [row for row in found if row.get("is_still", True)] or found


def paired(document: Document, one: dict[str, Any], other: dict[str, Any], field: str) -> tuple[list[tuple[float, float]], int]:
    """What two runs of each round found, where both had peace, and how many rounds were left out; of all, if none had."""
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    others = {row["round"]: row for row in _all_rows(document, other)}
    for row in _all_rows(document, one):
        beside = others.get(row["round"])
        if beside is not None and beside[field]:
            found[row.get("is_still", True) and beside.get("is_still", True)].append((row[field], beside[field]))
    return found[True] or found[False], len(found[False])


def run_of(taken: Taken[dict[str, Any]], **how: Any) -> dict[str, Any]:
    """A slice of an open loop as one of a document's ``runs``; ``how`` it was asked.

    Latencies are of the requests that were served. A slice in which more than one in a thousand had another status than OK was
    too much for the machine as it was then: it counts as one that had no peace.
    """
    errors = sum(taken.result["errors"].values())
    is_whole = errors <= _ERRORS_SHARE_MAX * (taken.result["count"] + errors)
    return {**how, **taken.result, "is_still": taken.is_still and is_whole}


def refusals(where: str, errors: Iterable[Mapping[str, int]], answered: int) -> list[str]:
    """What share of an open loop's requests had another status than OK, in a sentence; none if none had."""
    total: Counter[str] = Counter()
    for of_slice in errors:
        total.update(of_slice)
    if not total:
        return []
    asked = answered + total.total()
    return [
        f"{where}: " + ", ".join(f"{count / asked:.3%} of the requests were answered {name}" for name, count in total.items())
    ]


def _all_rows(document: Document, wanted: dict[str, Any], of: str = "runs") -> list[dict[str, Any]]:
    return [row for row in document[of] if all(row.get(name) == value for name, value in wanted.items())]


def distinct(found: list[dict[str, Any]], name: str) -> list[Any]:
    """The values of a field, each once, in their order."""
    return list(dict.fromkeys(row[name] for row in found))
