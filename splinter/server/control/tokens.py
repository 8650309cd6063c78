"""Tenants' tokens: who has one, how it is changed without a gap, and what is said to who has one no more.

A record holds two tokens. Usually the second is 0, none. A change puts the old one there *before* the new one is stored, so a
packet that races with it, and a control process that dies between the two stores, finds the old one valid; both are valid
until the change is finished. Each store is one aligned word.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable

import numpy as np

from splinter import limits
from splinter.errors import ControlError, PermissionDeniedError
from splinter.recent import Recent

_TOKEN_BITS = 64
_TOKEN_BYTES = 8
_REMOVED, _REPLACED = "tenant_removed", "token_retired"
_SENTENCES = {
    _REMOVED: "the tenant of this token has been removed (ask the administrator for another)",
    _REPLACED: "this token has been replaced by a new one (ask the administrator for it)",
}


def new_token() -> int:
    """A random token, not 0."""
    return secrets.randbits(_TOKEN_BITS) or 1


class Tokens:
    """The tokens in the tenants' records. Remembers the last few that were valid once, to tell their holders so; strangers, who
    have none of them, learn nothing. A new control process knows none."""

    def __init__(self, records: np.ndarray) -> None:
        self._records = records
        self._retired: Recent[bytes, str] = Recent(limits.RETIRED_TOKENS_MAX)  # digest of (tenant, token) → why
        self.on_void: Callable[[int], None] = lambda tenant: None  # called when a token of a tenant is not valid any more

    def current(self, tenant: int) -> int:
        """The tenant's token; 0 when there is no such tenant."""
        return int(self._records["token"][tenant])

    def former(self, tenant: int) -> int:
        """The token before, while it is still valid; 0: none."""
        former = int(self._records["former_token"][tenant])
        return 0 if former == self.current(tenant) else former  # so far had an earlier control process come with a change

    def require(self, tenant: int, token: int, is_active: bool) -> None:
        """Raise :class:`PermissionDeniedError` unless ``token`` is one of an active tenant's. Who never had a token of the
        tenant cannot tell a wrong one from an unknown tenant: both take the same way."""
        given = token.to_bytes(_TOKEN_BYTES, "little")
        is_valid = False
        for known in (self.current(tenant), self.former(tenant)):
            same = hmac.compare_digest(given, (known if is_active else 0).to_bytes(_TOKEN_BYTES, "little"))
            is_valid |= same and known != 0 and is_active
        if not is_valid:
            code = self._retired.get(_digest(tenant, token), "permission_denied")
            raise PermissionDeniedError(_SENTENCES.get(code, "wrong tenant or token"), code)

    def require_change(self, tenant: int, token: int | None, at_once: bool) -> None:
        """Raise :class:`ControlError` when a token cannot be changed: an earlier change was not finished, or the tenant has
        that token already."""
        if self.former(tenant) and not at_once:
            raise ControlError(
                f"tenant {tenant} has two valid tokens already: finish that change first ('splinter tenant rotate --finish')",
                "token_change",
            )
        if token in (self.current(tenant), self.former(tenant)):
            raise ControlError(f"that is a token of tenant {tenant} already", "bad_request")

    def rotate(self, tenant: int, new: int, at_once: bool) -> None:
        """Give a tenant a new token, after :meth:`require_change`. The old one stays valid, unless ``at_once``, until
        :meth:`finish`."""
        record = self._records[tenant]
        self._retired.pop(_digest(tenant, new), None)
        if at_once:
            self._retire(tenant, _REPLACED)
            record["former_token"] = 0
        else:
            record["former_token"] = self.current(tenant)
        record["token"] = new
        if at_once:
            self.on_void(tenant)

    def finish(self, tenant: int) -> None:
        """End a change: only the new token is valid from now on."""
        if self.former(tenant):
            self._remember(tenant, self.former(tenant), _REPLACED)
        self._records["former_token"][tenant] = 0
        self.on_void(tenant)

    def remove(self, tenant: int) -> None:
        """The tenant is gone, and its tokens with it."""
        self._retire(tenant, _REMOVED)
        self._records["token"][tenant] = 0
        self._records["former_token"][tenant] = 0
        self.on_void(tenant)

    def _retire(self, tenant: int, why: str) -> None:
        for token in (self.current(tenant), self.former(tenant)):
            if token:
                self._remember(tenant, token, why)

    def _remember(self, tenant: int, token: int, why: str) -> None:
        self._retired.note(_digest(tenant, token), why)


def _digest(tenant: int, token: int) -> bytes:
    return hashlib.sha256(b"%d %d" % (tenant, token)).digest()
