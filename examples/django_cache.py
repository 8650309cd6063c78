"""Django's cache on Splinter: ``SplinterCache`` is a cache back end, for sessions and ``get_or_set`` as well.

    .venv/bin/python -m examples.django_cache

Copy the class into your project and name it in the settings (``docs/how-to/frameworks.md``).

The cache has a table of a tenant to itself. Values are pickled, as in Django's other back ends: whoever holds the tenant's
token can run code in your processes.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import math
import pickle
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured

from splinter import limits
from splinter.client import Client, Transaction
from splinter.errors import VersionChangedError
from splinter.wire import OBJECT_ABSENT

_TTL_SECONDS_MAX = limits.TTL_NS_MAX // 1_000_000_000
_CLEARED_AT_ONCE = 1000  # keys
_dumps = functools.partial(pickle.dumps, protocol=pickle.HIGHEST_PROTOCOL)


@functools.cache
def _client(address: str, port: int, tenant: int, token: int | str, seconds: float) -> Client:
    """The process's own. Django makes a cache for each thread, and under ASGI for each request; they share the client, and a
    forked child has it begin anew."""
    client = Client(address, tenant, token, port=port, timeout=seconds)
    atexit.register(client.close)
    return client


class SplinterCache(BaseCache):  # type: ignore[misc]
    """A cache in a table of a tenant.

    ``LOCATION`` is an address, or address:port. ``OPTIONS`` has ``tenant``, ``token``, ``table`` (0) and ``timeout``, how many
    seconds a request may take (1).
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        address, _, port = location.partition(":")
        options = params.get("OPTIONS", {})
        if missing := {"tenant", "token"} - options.keys():
            raise ImproperlyConfigured(f"the OPTIONS of a cache on Splinter lack {', '.join(sorted(missing))}")
        self._table: int = options.get("table", 0)
        self._where = address, int(port or limits.PORT_DEFAULT)
        self._rest = options["tenant"], options["token"], options.get("timeout", 1.0)

    @property
    def _db(self) -> Client:
        return _client(*self._where, *self._rest)

    # --- one object ---------------------------------------------------------------------------------------------------

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Store what is not there; False when it is. Of several at once one is told True."""
        raw, ttl = self._raw(key, version), self.get_backend_timeout(timeout)
        if ttl == 0:
            return not self.has_key(key, version)
        try:
            self._db.put(raw, _dumps(value), table=self._table, ttl=ttl, if_version=OBJECT_ABSENT)
        except VersionChangedError:
            return False
        return True

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """The value, or ``default``."""
        found = self._db.get(self._raw(key, version), table=self._table)
        return default if found is None else pickle.loads(found)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Store it."""
        raw, ttl = self._raw(key, version), self.get_backend_timeout(timeout)
        if ttl == 0:
            self._db.delete(raw, table=self._table)
        else:
            self._db.put(raw, _dumps(value), table=self._table, ttl=ttl)

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Have it live for ``timeout`` from now; False when it is not there."""
        raw, ttl = self._raw(key, version), self.get_backend_timeout(timeout)
        if ttl is None:
            return self._db.persist(raw, table=self._table)
        return self._db.expire(raw, ttl, table=self._table) if ttl else self._db.delete(raw, table=self._table)

    def delete(self, key: str, version: int | None = None) -> bool:
        """False when it was not there."""
        return self._db.delete(self._raw(key, version), table=self._table)

    def has_key(self, key: str, version: int | None = None) -> bool:
        """Whether it is there; its value is not fetched."""
        return self._db.ttl(self._raw(key, version), table=self._table) is not None

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add to a number; it lives as long as it was to. Whatever else is at it at the time, each call counts."""
        raw = self._raw(key, version)

        def add(tx: Transaction) -> int:
            found = tx.get(raw, table=self._table)
            asked = time.monotonic()
            left = tx.ttl(raw, table=self._table) or 0
            left -= time.monotonic() - asked  # what passes until it is put: else it would live longer by each call
            if found is None or left <= 0:
                raise ValueError(f"Key '{key}' not found.")
            total: int = pickle.loads(found) + delta
            tx.put(raw, _dumps(total), table=self._table, ttl=None if left == math.inf else left)
            return total

        return self._db.transact(add)

    # --- many ---------------------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """What is there of these, by key."""
        raw = {key: self._raw(key, version) for key in keys}
        found = self._db.get_many(raw.values(), table=self._table)
        return {key: pickle.loads(value) for key, value in zip(raw, found, strict=True) if value is not None}

    def set_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:  # fmt: skip
        """Store all; a failure is raised."""
        ttl = self.get_backend_timeout(timeout)
        if ttl == 0:
            self.delete_many(data, version)
            return []
        with self._db.pipeline() as pipeline:
            for key, value in data.items():
                pipeline.put(self._raw(key, version), _dumps(value), table=self._table, ttl=ttl)
        return []

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        """Delete all of these."""
        with self._db.pipeline() as pipeline:
            for key in keys:
                pipeline.delete(self._raw(key, version), table=self._table)

    def clear(self) -> None:
        """Empty the table."""
        keys = self._db.scan(self._table)
        while some := list(islice(keys, _CLEARED_AT_ONCE)):
            with self._db.pipeline() as pipeline:
                for key in some:
                    pipeline.delete(key, table=self._table)

    # --- awaited: Django's own would take several steps, between which others come, or a request for each key -------------

    async def aincr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """As ``incr``; ``adecr`` asks for it."""
        return await sync_to_async(self.incr)(key, delta, version)

    async def aget_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        """As ``get_many``."""
        return await sync_to_async(self.get_many)(keys, version)

    async def aset_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:  # fmt: skip
        """As ``set_many``."""
        return await sync_to_async(self.set_many)(data, timeout, version)

    async def adelete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        """As ``delete_many``."""
        await sync_to_async(self.delete_many)(keys, version)

    # --- how ----------------------------------------------------------------------------------------------------------

    def _raw(self, key: str, version: int | None) -> bytes:
        """The key that the store has: with prefix and version; where that is too long, a digest of it. UTF-8 has no 0xFF."""
        raw: bytes = self.make_and_validate_key(key, version=version).encode()
        return raw if len(raw) <= limits.KEY_BYTES_MAX else b"\xff" + hashlib.sha256(raw).digest()

    def get_backend_timeout(self, timeout: Any = DEFAULT_TIMEOUT) -> float | None:
        """Seconds to live; None: for ever; 0: it is over at once."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return None if seconds is None else min(max(seconds, 0), _TTL_SECONDS_MAX)


def main() -> None:
    """Configure Django as a project's settings would, and use its cache and sessions."""
    from django.conf import settings
    from django.core.cache import cache

    from splinter.testing import running_server

    with running_server() as server:
        tenant = server.create_tenant()
        splinter = {
            "BACKEND": "examples.django_cache.SplinterCache",
            "LOCATION": f"{server.address}:{server.port}",
            "OPTIONS": {"tenant": tenant.tenant, "token": tenant.token},
        }
        settings.configure(CACHES={"default": splinter}, SESSION_ENGINE="django.contrib.sessions.backends.cache")
        answer = cache.get_or_set("answer", lambda: 6 * 7, timeout=60)
        cache.set("visits", 0)
        visits = [cache.incr("visits") for _ in range(3)]

        from django.contrib.sessions.backends.cache import SessionStore

        session = SessionStore()
        session["user"] = "Ada"
        session.create()
        user = SessionStore(session.session_key)["user"]
        print(f"the answer is {answer}, visits were {visits}, the session is {user}'s")


if __name__ == "__main__":
    main()
