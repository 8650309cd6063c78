"""Celery's results on a running server: workers of threads and of forked children, and what the back end does by itself."""

from __future__ import annotations

import contextlib
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task, chord, group, signals
from celery.exceptions import ChordError, ImproperlyConfigured
from celery.result import AsyncResult
from celery.utils.dispatch import Signal

from examples.celery_backend import SplinterBackend
from splinter.client import Client
from splinter.errors import BusyError, RequestTimeoutError, ValueTooLargeError
from splinter.testing import Server
from tests.support.celery_tasks import PATIENTLY, make, working
from tests.support.forks import start
from tests.support.waiting import WAIT_SECONDS

ROOT = Path(__file__).resolve().parents[3]
TABLE = 3


def url_of(arguments: dict[str, Any]) -> str:
    return f"splinter://{arguments['tenant']}:{arguments['token']}@{arguments['address']}:{arguments['port']}/{TABLE}"


@pytest.fixture(scope="module")
def arguments(splinter_server: Server) -> dict[str, Any]:
    return splinter_server.arguments()


@pytest.fixture(scope="module")
def app(arguments: dict[str, Any]) -> Iterator[Celery]:
    """An application with a worker: threads."""
    made = make(url_of(arguments))
    with working(made, "threads"):
        yield made


@pytest.fixture
def db(arguments: dict[str, Any]) -> Iterator[Client]:
    with Client(**arguments, timeout=WAIT_SECONDS) as client:
        yield client


def backend(app: Celery) -> SplinterBackend:
    made = app.backend
    assert isinstance(made, SplinterBackend)
    return made


@contextlib.contextmanager
def connected(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


# --- with a worker ----------------------------------------------------------------------------------------------------


def test_a_result_expires_or_is_forgotten(app: Celery, db: Client) -> None:
    result = app.signature("square", [7]).delay()
    assert result.get(**PATIENTLY) == 49
    key = backend(app).get_key_for_task(result.id)
    assert 3500 < (db.ttl(key, table=TABLE) or 0) <= 3600
    result.forget()
    assert db.get(key, table=TABLE) is None


def test_results_come_from_forked_children(arguments: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "tests.support.celery_tasks", url_of(arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parent, *children = map(int, done.stdout.split())
    assert len(children) == 20 and parent not in children


def test_a_group_s_results_are_had_together(app: Celery) -> None:
    result = group(app.signature("square", [number]) for number in range(30)).delay()
    assert result.supports_native_join
    assert result.get(**PATIENTLY) == [number * number for number in range(30)]


def test_the_body_of_a_chord_is_called_once_and_nothing_is_left_of_it(app: Celery, db: Client) -> None:
    before, run = set(db.scan(TABLE)), list[str]()

    def note(task: Task, **_: Any) -> None:
        run.append(task.name)

    with connected(signals.task_prerun, note):
        result = chord(app.signature("square", [number]) for number in range(30))(app.signature("total"))
        assert result.get(**PATIENTLY) == sum(number * number for number in range(30))
    assert sorted(run) == ["square"] * 30 + ["total"]  # and none that asks again and again whether all have ended
    new = set(db.scan(TABLE)) - before
    assert len(new) == 31 and all(key.startswith(backend(app).task_keyprefix) for key in new)


def test_what_a_task_raises_is_raised(app: Celery) -> None:
    with pytest.raises(ValueError, match="no reason"):
        app.signature("fail", ["no reason"]).delay().get(**PATIENTLY)
    tasks = [app.signature("square", [1]), app.signature("fail", ["no reason"])]
    came = chord(tasks)(app.signature("total")).get(**PATIENTLY, propagate=False)
    assert isinstance(came, ChordError) and "no reason" in str(came)


# --- by itself --------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(arguments: dict[str, Any]) -> SplinterBackend:
    return backend(make(url_of(arguments), expires=None))


def test_results_that_never_expire(alone: SplinterBackend, db: Client) -> None:
    alone.store_result("task", {"of": "any kind"}, "SUCCESS")
    key = alone.get_key_for_task("task")
    assert db.ttl(key, table=TABLE) == math.inf
    alone.expire(key, 100)
    assert 90 < (db.ttl(key, table=TABLE) or 0) <= 100
    alone.expire(key, 0)
    assert db.ttl(key, table=TABLE) == math.inf
    assert AsyncResult("task", app=alone.app).result == {"of": "any kind"}
    assert AsyncResult("another", app=alone.app).state == "PENDING"


def test_threads_and_forked_children_count_each_once(alone: SplinterBackend) -> None:
    def count(_: int = 0) -> list[int]:
        return [alone.incr(b"counter") for _ in range(25)]

    with ThreadPoolExecutor(3) as threads:
        children = [start(count) for _ in range(2)]
        told = [number for numbers in threads.map(count, range(3)) for number in numbers]
        told += [number for wait in children for number in wait()]
    assert sorted(told) == list(range(1, 126))


def test_a_pickled_one_has_the_same_place(alone: SplinterBackend) -> None:
    alone.set(b"key", "value")
    alone.app.set_current()
    again = pickle.loads(pickle.dumps(alone))
    assert again.get(b"key") == b"value" and again.expires == alone.expires


def test_the_token_is_not_shown(alone: SplinterBackend, arguments: dict[str, Any]) -> None:
    assert arguments["address"] in alone.as_uri() and arguments["token"] not in alone.as_uri()


@pytest.mark.parametrize("url", ["splinter://", "splinter://127.0.0.1", "splinter://7@127.0.0.1/1"])
def test_a_url_that_lacks_something_is_told(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="TENANT:TOKEN@ADDRESS"):
        backend(make(url))


def test_what_passes_is_tried_again(alone: SplinterBackend) -> None:
    for error in (BusyError(), RequestTimeoutError("no answer")):
        assert alone.exception_safe_to_retry(error)
    assert not alone.exception_safe_to_retry(ValueTooLargeError())
