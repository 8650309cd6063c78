"""Why requests of a tenant are not answered, as far as its own control plane tells it.

The data path drops what it may not serve without a word. The control plane, asked with the same tenant and token, says more:
to who has the token that the tenant is over its limit; to anybody else only that tenant or token is wrong, not which.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from splinter.client.obstacles import sentence
from splinter.errors import (
    ControlConnectionError,
    ControlTimeoutError,
    PathError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    SplinterError,
    TenantRemovedError,
    UnreachableError,
    WrongTokenError,
)

_KEPT_SECONDS = 1.0  # many requests that fail together ask once
_NO_WAY = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN)
Reason = tuple[type[RequestTimeoutError], str]


class Diagnosis:
    """Asks by ``ask`` (operation, time-out in seconds), and remembers the answer for a second."""

    def __init__(self, ask: Callable[[str, float], dict[str, Any]], host: str, port: int) -> None:
        self._ask, self._host, self._port = ask, host, port
        self._known: tuple[float, Reason | None] = (float("-inf"), None)

    def explain(self, obstacle: int, seconds: float) -> Reason | None:
        """The exception and its message, None when it cannot be told; takes ``seconds`` at most. ``obstacle`` is ``errno`` of
        what the network said about the request, 0 for nothing."""
        at, reason = self._known
        if time.monotonic() - at > _KEPT_SECONDS:
            reason = self._find_out(obstacle, seconds)
            self._known = time.monotonic(), reason
        return reason

    def _find_out(self, obstacle: int, seconds: float) -> Reason | None:
        where = f"{self._host}:{self._port}"
        try:
            told = self._ask("tenant.status", seconds)
        except PermissionDeniedError as error:
            return (TenantRemovedError if error.code == "tenant_removed" else WrongTokenError), str(error)
        except ControlTimeoutError:
            silent = (
                f"neither requests (UDP) nor control (TCP) are answered at {where} (is the host on? does a firewall drop them?)"
            )
            return UnreachableError, sentence(obstacle, self._host, self._port) if obstacle else silent
        except ControlConnectionError as error:
            if obstacle or error.errno in _NO_WAY:
                return UnreachableError, sentence(obstacle or error.errno or 0, self._host, self._port)
            return RequestTimeoutError, (
                f"requests to {where} (UDP) are not answered, and its control plane (TCP) is not there "
                "(is the server there, are tenant and token right?)"
            )
        except SplinterError:  # an older server, or a busy one
            return None
        if told.get("over_limit"):
            return RateLimitedError, (
                f"the tenant's limit is {told.get('packets_per_second'):,} packets a second, and it sends more: "
                f"{told.get('packets_dropped'):,} were dropped so far (send less, or have the administrator raise it)"
            )
        return PathError, (
            f"the server at {self._host} knows tenant and token, but requests to {where} (UDP) are not answered "
            "(does a firewall drop UDP? is the way's MTU below 1500? do the workers run: 'splinter stats')"
        )
