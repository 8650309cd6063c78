"""Celery's results in Splinter: ``SplinterBackend`` is a result back end, with results that expire, groups and chords.

    .venv/bin/python -m examples.celery_backend

Copy the class into your project and name it with the URL (``docs/how-to/frameworks.md``)::

    result_backend = "examples.celery_backend:SplinterBackend+splinter://TENANT:TOKEN@ADDRESS:PORT/TABLE"
"""

from __future__ import annotations

import atexit
import functools
from typing import Any
from urllib.parse import urlsplit

from celery import Celery, chord
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import ImproperlyConfigured

from splinter import limits
from splinter.client import Client, Transaction
from splinter.errors import BusyError, ConflictError, RequestTimeoutError

_TRIES = 1000  # of a chord's counter, which all its tasks change when they end
_TIMEOUT_SECONDS = 5.0  # of a request; result_backend_transport_options = {"timeout": …} has another


@functools.cache
def _client(address: str, port: int, tenant: int, token: str, seconds: float) -> Client:
    """The process's own. Celery makes a back end for each thread; they share the client, and a forked child has it begin
    anew."""
    client = Client(address, tenant, token, port=port, timeout=seconds)
    atexit.register(client.close)
    return client


class SplinterBackend(KeyValueStoreBackend):  # type: ignore[misc]
    """Results in a table of a tenant."""

    supports_autoexpire = True
    supports_native_join = True
    supports_result_compression = True
    implements_incr = True

    def __init__(self, app: Celery, url: str | None = None, **options: Any) -> None:
        super().__init__(app=app, url=url, **options)
        parts = urlsplit(url or "")
        if not (parts.hostname and parts.username and parts.password):
            raise ImproperlyConfigured("the URL of results in Splinter is splinter://TENANT:TOKEN@ADDRESS:PORT/TABLE")
        self._where = parts.hostname, parts.port or limits.PORT_DEFAULT
        self._who = int(parts.username), parts.password
        self._timeout = app.conf.result_backend_transport_options.get("timeout", _TIMEOUT_SECONDS)
        self._table = int(parts.path.strip("/") or 0)

    def __reduce__(self, args: Any = (), kwargs: Any = None) -> Any:
        return super().__reduce__(args, {**(kwargs or {}), "url": self.url, "expires": self.expires})

    @property
    def _db(self) -> Client:
        return _client(*self._where, *self._who, self._timeout)

    def get(self, key: bytes) -> bytes | None:
        """What was stored, or None."""
        return self._db.get(key, table=self._table)

    def mget(self, keys: list[bytes]) -> list[bytes | None]:
        """The same for several, in their order."""
        return self._db.get_many(keys, table=self._table)

    def set(self, key: bytes, value: str | bytes) -> None:
        """Store for ``result_expires``."""
        raw = value.encode() if isinstance(value, str) else value
        self._db.put(key, raw, table=self._table, ttl=self.expires or None)

    def delete(self, key: bytes) -> None:
        """Delete, if it is there."""
        self._db.delete(key, table=self._table)

    def incr(self, key: bytes) -> int:
        """Count, from 1: each of a chord's tasks is told another number, and the last one calls the body."""

        def count(tx: Transaction) -> int:
            number = int(tx.get(key, table=self._table) or 0) + 1
            tx.put(key, b"%d" % number, table=self._table, ttl=self.expires or None)
            return number

        return self._db.transact(count, tries=_TRIES)

    def expire(self, key: bytes, value: float | None) -> None:
        """Have it live for so many seconds from now on; 0: for ever."""
        if value:
            self._db.expire(key, value, table=self._table)
        else:
            self._db.persist(key, table=self._table)

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """What ``result_backend_always_retry`` tries again."""
        return isinstance(exc, RequestTimeoutError | BusyError | ConflictError)


def main() -> None:
    """Run a chord in a worker of this process, and print what comes of it."""
    from celery.contrib.testing.worker import start_worker

    from splinter.testing import running_server

    with running_server() as server:
        tenant = server.create_tenant()
        where = f"splinter://{tenant.tenant}:{tenant.token:016x}@{server.address}:{server.port}"
        app = Celery("demonstration", broker="memory://", backend=f"examples.celery_backend:SplinterBackend+{where}")
        app.conf.update(result_expires=3600, broker_transport_options={"polling_interval": 0.01})

        @app.task  # type: ignore[untyped-decorator]
        def square(number: int) -> int:
            return number * number

        @app.task  # type: ignore[untyped-decorator]
        def total(numbers: list[int]) -> int:
            return sum(numbers)

        with start_worker(app, pool="threads", concurrency=2, perform_ping_check=False, loglevel="ERROR"):
            result = chord(square.s(number) for number in range(10))(total.s())
            print(f"the sum of ten squares is {result.get(timeout=30, interval=0.01)}")
            app.control.shutdown()


if __name__ == "__main__":
    main()
