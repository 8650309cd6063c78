"""An application of Celery with the example's result back end, whose broker is this process's memory.

    python -m tests.support.celery_tasks URL

runs a worker with forked children, and prints the process that it is and those that the results came from.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from celery import Celery, signals
from celery.contrib.testing.worker import start_worker

from tests.support.waiting import WAIT_SECONDS

PATIENTLY: dict[str, Any] = {"timeout": WAIT_SECONDS, "interval": 0.01}
_TASKS = 20
# While somebody listens Celery leaves logging alone. Else a worker has the whole process log from its own level on.
signals.setup_logging.connect(lambda **_: None, weak=False)


def make(results: str, expires: float | None = 3600) -> Celery:
    """The application; its tasks are those of this module."""
    made = Celery("tests", broker="memory://", backend=f"examples.celery_backend:SplinterBackend+{results}")
    made.conf.update(
        broker_transport_options={"polling_interval": 0.01},
        result_backend_transport_options={"timeout": WAIT_SECONDS},
        result_expires=expires,
    )
    for task in (square, total, process_id, fail):
        made.task(task, name=task.__name__)
    return made


@contextlib.contextmanager
def working(app: Celery, pool: str) -> Iterator[None]:
    """A worker for the block, in a thread of this process; ``prefork``: it has forked children."""
    with start_worker(app, pool=pool, concurrency=2, perform_ping_check=False, loglevel="CRITICAL"):
        try:
            yield
        finally:
            app.control.shutdown()


def square(number: int) -> int:
    return number * number


def total(numbers: list[int]) -> int:
    return sum(numbers)


def process_id() -> int:
    return os.getpid()


def fail(why: str) -> None:
    raise ValueError(why)


def main() -> None:
    app = make(sys.argv[1])
    app.backend.get(b"nothing")  # the children are forked from a process that has used its client
    with working(app, "prefork"):
        results = [app.signature("process_id").delay() for _ in range(_TASKS)]
        print(os.getpid(), *(result.get(**PATIENTLY) for result in results))


if __name__ == "__main__":
    main()
