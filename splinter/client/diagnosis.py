"""Why requests of a tenant are not answered, as far as its own control plane tells it.

The data path drops what it may not serve without a word. The control plane, asked with the same tenant and token, says more:
to who has the token that the tenant is over its limit, or that the disk takes no writes; to anybody else only that tenant or
token is wrong, not which.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from splinter.client.obstacles import unreachable
from splinter.errors import (
    ControlConnectionError,
    ControlTimeoutError,
    PathError,
    PermissionDeniedError,
    RateLimitedError,
    RequestTimeoutError,
    SplinterError,
    TenantRemovedError,
    WrongTokenError,
)

_KEPT_SECONDS = 1.0  # many requests that fail together ask once
_NO_WAY = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN)
Reason = Callable[[str], RequestTimeoutError]  # the exception, given what its message begins with


def _reason(kind: type[RequestTimeoutError], text: str) -> Reason:
    return lambda before: kind(before + text)


class Diagnosis:
    """Asks by ``ask`` (operation, time-out in seconds), and remembers the answer for a second."""

    def __init__(self, ask: Callable[[str, float], dict[str, Any]], host: str, port: int) -> None:
        self._ask, self._host, self._port = ask, host, port
        self._known: tuple[float, Reason | None] = (float("-inf"), None)

    def explain(self, obstacle: int, seconds: float) -> Reason | None:
        """What makes the exception, None when it cannot be told; takes ``seconds`` at most. ``obstacle`` is ``errno`` of
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
            return _reason(TenantRemovedError if error.code == "tenant_removed" else WrongTokenError, str(error))
        except ControlTimeoutError:
            if obstacle:
                return self._no_way(obstacle)
            return _reason(
                RequestTimeoutError,
                f"neither requests (UDP) nor control (TCP) are answered at {where} (is the host on, and not overloaded? does a "
                "firewall drop them? are tenant and token right?)",
            )
        except ControlConnectionError as error:
            if obstacle or error.errno in _NO_WAY:
                return self._no_way(obstacle or error.errno or 0)
            return _reason(
                RequestTimeoutError,
                f"requests to {where} (UDP) are not answered, and its control plane (TCP) is not there "
                "(is the server there, are tenant and token right?)",
            )
        except SplinterError:  # an older server, or a busy one
            return None
        limit, dropped = told.get("packets_per_second"), told.get("packets_dropped")
        if told.get("over_limit") and isinstance(limit, int) and isinstance(dropped, int):
            return _reason(
                RateLimitedError,
                f"the tenant's limit is {limit:,} packets a second, and it sends more: "
                f"{dropped:,} were dropped so far (send less, or have the administrator raise it)",
            )
        if told.get("disk_refuses") is True:
            return _reason(
                RequestTimeoutError,
                "the server's disk takes no writes at present, and what is not on it yet is not told "
                "(whether the request was executed is not known; the administrator finds more in 'splinter stats')",
            )
        return _reason(
            PathError,
            f"the server at {self._host} knows tenant and token, but requests to {where} (UDP) are not answered "
            "(does a firewall drop UDP? is an MTU on the way below those at its ends? do the workers run: 'splinter stats')",
        )

    def _no_way(self, number: int) -> Reason:
        return lambda before: unreachable(number, self._host, self._port, before)
