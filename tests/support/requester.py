"""A client's requests, made to the store directly."""

from __future__ import annotations

import ctypes

import numpy as np
from numba import njit

from splinter import limits
from splinter.store.clients import clients_sweep
from splinter.store.journal import participant_at
from splinter.store.operations import store_delete, store_goodbye, store_last_version, store_put
from splinter.store.outcomes import claim_effect, claim_request, outcome_kind, outcome_status
from splinter.store.records import Claim, Participant
from splinter.store.staging import stage_put
from splinter.store.store import Store

TENANT = 1


def address_of(data: bytes) -> int:
    """Where the bytes of a bytes object lie, as long as it lives."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


@njit
def recorded(store: int, p: int) -> tuple[int, int, int]:
    """Kind, status and value of the outcome that the last operation found recorded."""
    claim = Claim(Participant(participant_at(store, p)).claim)
    return outcome_kind(claim.word), outcome_status(claim.word), claim.value


@njit
def _count(claim: int, word: int) -> None:
    """The word becomes 1 with the claim's write."""
    claimed = Claim(claim)
    claimed.count = word
    claimed.counted = 1


class Requester:
    """One client of one tenant, at one participant after the other."""

    def __init__(self, store: Store, client: int, tenant: int = TENANT) -> None:
        self.store, self.client, self.tenant = store, client, tenant
        self.now_ns = 0
        self.acknowledged = 1

    def claim(self, sequence: int, p: int = 0) -> int:
        """A claim for a request that is one write."""
        return claim_request(self.store.address, p, self.client, sequence, self.acknowledged, self.now_ns)

    def effect(self, sequence: int, word: np.ndarray, p: int = 0) -> int:
        """A claim for a task's first write; ``word`` becomes 1."""
        at, now = self.store.address, self.now_ns
        claim = claim_effect(at, p, self.client, sequence, self.acknowledged, now)
        _count(claim, word.ctypes.data)
        return claim

    def put(self, sequence: int, key: bytes, value: bytes, version: int = 0, p: int = 0) -> int:
        """Status, or RECORDED or STALE."""
        return store_put(
            self.store.address, p, self.tenant, 0, address_of(key), len(key), address_of(value), len(value), version,
            self.claim(sequence, p),
        )  # fmt: skip

    def delete(self, sequence: int, key: bytes, version: int = 0, p: int = 0) -> int:
        """The same."""
        return store_delete(
            self.store.address, p, self.tenant, 0, address_of(key), len(key), version, self.claim(sequence, p)
        )  # fmt: skip

    def goodbye(self, p: int = 0) -> int:
        """Status."""
        return store_goodbye(self.store.address, p, self.tenant, self.claim(0, p))

    def fragment(self, sequence: int, key: bytes, value: bytes, index: int, p: int = 0) -> tuple[int, int]:
        """Status, and the version once the value is whole."""
        size = limits.FRAGMENT_BYTES
        piece = value[index * size : (index + 1) * size]
        return stage_put(
            self.store.address, p, self.client, sequence, self.tenant, 0, address_of(key), len(key),
            -(-len(value) // size), index, address_of(piece), len(piece), 0, self.claim(sequence, p),
        )  # fmt: skip

    def last_version(self, p: int = 0) -> int:
        """Of the last put that did something."""
        return int(store_last_version(self.store.address, p))

    def recorded(self, p: int = 0) -> tuple[int, int, int]:
        """What the last request found recorded."""
        return recorded(self.store.address, p)

    def sweep(self, now_ns: int, p: int = 0) -> None:
        """Forget idle clients of all tenants."""
        clients_sweep(self.store.address, p, 0, limits.TENANTS_MAX, now_ns)
