"""The worker in this process serves what a server's worker would, and what is timed is checked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from splinter_bench import control
from splinter_bench.experiments import arithmetic, compile_time, worker_time
from splinter_bench.experiments.bench import Bench
from splinter_bench.goals import figures_of
from splinter_bench.subjects.in_worker import WorkerInProcess
from splinter_bench.workloads.batches import batch_gets_operation, batch_puts_operation
from splinter_bench.workloads.sources import source
from splinter_bench.workloads.workload import Account, each_once, get_operation, invoke_operation, put_operation, uniform

from splinter import limits
from splinter.errors import SplinterError
from splinter.ext.compile import compile_source

KEYS = 100
ROUNDS = 2


@pytest.fixture
def worker() -> Iterator[WorkerInProcess]:
    with WorkerInProcess(limits.STORE_BYTES_MIN) as made:
        yield made


@pytest.fixture
def account(worker: WorkerInProcess) -> Account:
    return worker.add_tenant(1)


@pytest.mark.parametrize("batch", [1, 7, limits.RX_BATCH])
def test_requests_go_through_the_worker_s_rings(worker: WorkerInProcess, account: Account, batch: int) -> None:
    rounds = 3 * limits.RING_ENTRIES  # so that all indices wrap
    worker.serve(each_once(put_operation(account), KEYS), KEYS, batch=KEYS // 2)
    assert worker.store.usage().objects == KEYS + 1  # and the record of the client
    assert worker.serve(uniform(get_operation(account), KEYS), rounds, batch=batch) > 0


@pytest.mark.parametrize("clients", [1, 50])
def test_batches_are_answered_request_by_request(worker: WorkerInProcess, account: Account, clients: int) -> None:
    """By the worker itself: what the load generator makes is a batch, and each client has a record of its own."""
    worker.serve(each_once(put_operation(account), KEYS), KEYS, batch=KEYS // 2)
    for operation in (batch_gets_operation(account, 12), batch_puts_operation(account, 10), batch_puts_operation(account, 8)):
        workload = replace(uniform(operation, KEYS, operation.batch), clients=clients)
        assert worker.serve(workload, 64 * limits.RX_BATCH) > 0
    assert worker.store.usage().objects == KEYS + clients  # and the records of the clients
    with pytest.raises(SplinterError, match="NOT_FOUND"):
        worker.serve(uniform(batch_gets_operation(account, 12), 2 * KEYS, 12), KEYS)


def test_a_wrong_reply_is_no_measurement(worker: WorkerInProcess, account: Account) -> None:
    with pytest.raises(SplinterError, match="NOT_FOUND"):
        worker.serve(uniform(get_operation(account), KEYS), KEYS)
    worker.serve(each_once(put_operation(account), KEYS), KEYS)
    other = replace(get_operation(account), reply=bytes(100))
    with pytest.raises(SplinterError, match="wrongly"):
        worker.serve(uniform(other, KEYS), KEYS)


def test_every_resume_is_a_yield(worker: WorkerInProcess, account: Account) -> None:
    worker.install(1, compile_source(source("yielding")))
    assert worker.resume(invoke_operation(account, "yielding", b""), 1000) > 0
    assert worker._memory.extension_counters["yields"][0] == 1001


def test_what_does_not_yield_is_no_measurement_of_yields(worker: WorkerInProcess, account: Account) -> None:
    with pytest.raises(SplinterError, match="did not yield"):
        worker.resume(invoke_operation(account, "nobody", b""), 1)


@pytest.mark.parametrize("batch", [0, limits.RX_BATCH + 1])
def test_a_batch_is_what_one_turn_takes(worker: WorkerInProcess, account: Account, batch: int) -> None:
    with pytest.raises(ValueError, match="packets"):
        worker.serve(uniform(get_operation(account), KEYS), KEYS, batch=batch)


def test_a_long_invoke_runs_to_its_end(worker: WorkerInProcess, account: Account) -> None:
    compiled = compile_source(source("fnv1a"))
    worker.install(1, compiled)
    value = bytes(range(256)) * 64  # more bytes than a task's budget: it yields on the way
    worker.store.put(1, 1, (7).to_bytes(8, "little"), value)
    _, reply = worker.run(invoke_operation(account, "fnv1a", compiled.signature.pack((1, 7))))
    digest = 0x811C9DC5
    for byte in value:
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    assert struct.unpack("<Q", reply) == (digest,)
    assert worker._memory.extension_counters["yields"][0] > 0


def test_worker_times_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "is_still", lambda before, after: True)  # other tests run beside: of few rounds none may go
    found = {
        figure.name: figure
        for figure in figures_of(worker_time.measure(Bench(rounds=ROUNDS), requests=200, resumes=100, keys=KEYS))
    }
    assert set(found) == {"worker-get", "invoke-cost", "resume"}
    assert len(found["resume"].values) == ROUNDS
    for figure, ours, theirs in (("worker-get", "ns", "dict_ns"), ("resume", "ns", "generator_ns")):
        parts = found[figure].parts
        assert min(found[figure].values) <= parts[ours] / parts[theirs] * 1.001
        assert max(found[figure].values) >= parts[ours] / parts[theirs] * 0.999


def test_a_dict_is_asked_for_what_the_store_is_asked_for() -> None:
    objects, keys = worker_time._dict_and_keys(3, np.array([2, 0, 2]))
    assert len(objects) == 3
    assert [list(objects).index(key) for key in keys] == [2, 0, 2]
    assert all(key is not known for key in keys for known in objects)  # another one's bytes: what they hold is compared


def test_an_object_takes_more_than_its_bytes() -> None:
    (figure,) = figures_of(worker_time.measure_object_overhead(Bench()))
    assert 32 < figure.median < 128  # the header alone is 32


def test_arithmetic_agrees_everywhere() -> None:
    found = {figure.name for figure in figures_of(arithmetic.measure(Bench(rounds=1), calls=1))}
    assert {"checksum-cpython", "checksum-numba"} <= found


def test_the_compiler_is_timed() -> None:
    found = figures_of(compile_time.measure(Bench(rounds=1)))
    assert [figure.name for figure in found] == ["compile", "compile-tao"]
    for figure in found:
        assert figure.median == pytest.approx(figure.parts["ms"] / figure.parts["cpython_ms"], rel=0.1)
