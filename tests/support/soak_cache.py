"""A tenant that evicts, at work beside others for as long as they are."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator

from splinter.client import Client
from splinter.errors import SplinterError
from tests.support.servers import RunningServer

QUOTA_BYTES = 2 << 20
_KEYS, _HOT, _VALUE_BYTES_MAX = 4000, 200, 4000  # far more than the quota has room for; those that are asked for most
_TTL_SECONDS = 20.0  # of some
_PAUSE_SECONDS_MAX = 0.01  # this is about what lasts, and not about speed


class SoakCache:
    """What was done, and what of it was wrong: a value that was not put last is wrong, none at all is not."""

    def __init__(self, server: RunningServer, seed: int) -> None:
        self._server, self._dice, self._is_over = server, random.Random(seed), threading.Event()
        self._tenant = server.admin().create_tenant(quota_bytes=QUOTA_BYTES, eviction="hyperbolic", durability="always")
        self._known: dict[bytes, bytes] = {}
        self.reads = self.hits = self.evictions = 0
        self.wrong: list[str] = []

    @contextlib.contextmanager
    def working(self, timeout: float) -> Iterator[None]:
        """It works until :meth:`end`, or the block's; ``timeout``: of a request, in seconds, over an end of the server."""
        thread = self._thread = threading.Thread(target=self._work, args=(timeout,))
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def end(self, timeout: float) -> list[str]:
        """Nothing is asked any more. Returns what was wrong, once."""
        if self._is_over.is_set():
            return []
        self._is_over.set()
        self._thread.join()
        told = self._server.admin().get_tenant(self._tenant.tenant)
        self.evictions = told.evictions
        if told.bytes_used > QUOTA_BYTES:
            self.wrong.append(f"the cache has {told.bytes_used:,} bytes, of at most {QUOTA_BYTES:,}")
        with self._client(timeout) as client:
            keys = list(client.scan())
        if len(keys) != len(set(keys)):
            self.wrong.append("the cache lists a key twice, while nobody writes")
        return self.wrong

    def _client(self, timeout: float) -> Client:
        info = self._server.info
        return Client(
            info.address, self._tenant.tenant, self._tenant.token, port=info.port, netns=info.client_netns, timeout=timeout
        )

    def _work(self, timeout: float) -> None:
        try:
            with self._client(timeout) as client:
                while not self._is_over.wait(self._dice.uniform(0, _PAUSE_SECONDS_MAX)):
                    self._use(client)
        except SplinterError as error:
            self.wrong.append(f"the cache: {type(error).__name__}: {error}")

    def _use(self, client: Client) -> None:
        key = b"%d" % self._dice.randrange(self._dice.choice((_HOT, _KEYS)))
        value = client.get(key)
        self.reads += 1
        if value is not None:
            self.hits += 1
            if value != self._known.get(key):
                self.wrong.append(f"the cache, key {key!r}: another value than was put")
            return
        self._known[key] = self._dice.randbytes(self._dice.randrange(_VALUE_BYTES_MAX))
        client.put(key, self._known[key], ttl=_TTL_SECONDS if self._dice.random() < 0.2 else None)

    def __str__(self) -> str:
        found = f"{self.reads:,} gets, {self.hits:,} found something; {self.evictions:,} evictions since the last start"
        return f"a cache of {QUOTA_BYTES >> 20} MiB: {found}"
