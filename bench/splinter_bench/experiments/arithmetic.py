"""Compiled extensions against the same function under CPython, and against the same loop compiled by Numba."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from splinter.errors import SplinterError
from splinter.ext import LocalStore
from splinter.ext.compile import compile_source
from splinter.ext.library import entry
from splinter_bench.experiments.bench import Bench
from splinter_bench.observations import Observations
from splinter_bench.rounds import in_turns
from splinter_bench.seed import SEED
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.sources.fnv1a import OFFSET_BASIS, PRIME, WORD
from splinter_bench.workloads.workload import invoke_operation

VALUE_BYTES = 4096
_TENANT, _TABLE, _KEY = 1, 1, 1
_MODEL = 1
_LEAF, _NODE_BYTES, _TREE_BYTES = 65535, 16, 8  # of splinter.ext.library.forest


@njit(cache=True)
def _fnv1a(value: np.ndarray) -> int:
    digest = OFFSET_BASIS
    for place in range(len(value)):
        digest = ((digest ^ value[place]) * PRIME) & WORD
    return digest


@njit(cache=True)
def _forest(
    feature: np.ndarray,
    threshold: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    roots: np.ndarray,
    shares: np.ndarray,
    row: np.ndarray,
) -> int:
    """The library's forest over arrays: ``roots`` are places of nodes; a leaf's ``left`` is a row of ``shares``."""
    sums = np.zeros(shares.shape[1])
    for root in roots:
        node = root
        while feature[node] != _LEAF:
            node = root + (left[node] if row[feature[node]] <= threshold[node] else right[node])
        for kind in range(len(sums)):
            sums[kind] += shares[left[node], kind]
    best = 0
    for kind in range(1, len(sums)):
        if sums[kind] / len(roots) > sums[best] / len(roots):
            best = kind
    return best


_ROUNDS = 9


@dataclass(frozen=True)
class _Case:
    """One function three times: each returns a number, and all the same one."""

    name: str
    what: str
    objects: dict[tuple[int, bytes], bytes]
    text: str
    arguments: tuple[Any, ...]
    numba: Callable[[], int]


def measure(bench: Bench, calls: int = 200) -> Observations:
    """Of ``checksum-cpython`` and ``checksum-numba``, and of ``forest`` where scikit-learn is there to train one.

    For each call under CPython there are so many of the others.
    """
    count, case = bench.count(_ROUNDS), _forest_case()
    found = _compare(_checksum(), count, calls)
    return found.merged(_compare(case, count, calls)) if case else found


def _checksum() -> _Case:
    content = np.random.default_rng(SEED).integers(0, 256, VALUE_BYTES, dtype=np.uint8)
    return _Case(
        "checksum",
        f"FNV-1a of {VALUE_BYTES} bytes",
        {(_TABLE, _KEY.to_bytes(8, "little")): content.tobytes()},
        source("fnv1a"),
        (_TABLE, _KEY),
        lambda: int(_fnv1a(content)),
    )


def _forest_case() -> _Case | None:
    try:
        from splinter.ext.library.forest_train import NODE, pack_forest, pack_row, train

        _, model, rows = train()
    except ImportError:
        return None
    from splinter.ext.library.forest import FORESTS

    objects = dict(pack_forest(model, _MODEL))
    nodes, shares, roots, first, first_leaf = [], [], [], 0, 0
    for packed in list(objects.values())[1:]:
        count, classes = struct.unpack_from("<II", packed)
        tree = np.frombuffer(packed, NODE, count, _TREE_BYTES).copy()
        leaves = np.frombuffer(packed, "<f8", offset=_TREE_BYTES + count * _NODE_BYTES).reshape(-1, classes)
        tree["left"][tree["feature"] == _LEAF] += first_leaf
        nodes.append(tree)
        shares.append(leaves)
        roots.append(first)
        first, first_leaf = first + count, first_leaf + len(leaves)
    fields = np.concatenate(nodes)
    columns = [np.ascontiguousarray(fields[name].astype(np.int64)) for name in ("feature", "left", "right")]
    feature, left, right = columns
    threshold = np.ascontiguousarray(fields["threshold"])
    all_shares, places = np.concatenate(shares), np.array(roots, np.int64)
    row = np.asarray(rows[0], "<f4")
    return _Case(
        "forest",
        f"random forest of {len(roots)} trees on one row of digits",
        {(FORESTS, key): value for key, value in objects.items()},
        entry("forest").sources["forest"],
        (_MODEL, pack_row(row)),
        lambda: int(_forest(feature, threshold, left, right, places, all_shares, row)),
    )


def _compare(case: _Case, count: int, calls: int) -> Observations:
    local = LocalStore()
    local.objects.update(case.objects)
    with WorkerInProcess() as worker:
        account = worker.add_tenant(_TENANT)
        for (table, key), value in case.objects.items():
            worker.store.put(_TENANT, table, key, value)
        compiled = compile_source(case.text)
        worker.install(_TENANT, compiled)
        operation = invoke_operation(account, compiled.name, compiled.signature.pack(case.arguments))
        _, reply = worker.run(operation)
        expected = local.invoke(case.text, *case.arguments)
        if not compiled.signature.unpack(reply) == expected == case.numba():
            raise SplinterError(f"{case.name}: not the same result everywhere")
        slices = {
            f"{case.name} native": lambda: min(worker.run(operation)[0] for _ in range(calls)),
            f"{case.name} numba": lambda: min(_time(case.numba) for _ in range(calls)),
            f"{case.name} python": lambda: _time(lambda: local.invoke(case.text, *case.arguments)),
        }
        found = in_turns(slices, count)
    found.settings[case.name] = case.what
    return found


def _time(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return float(time.perf_counter_ns() - start)
