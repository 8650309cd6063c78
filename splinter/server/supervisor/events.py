"""What the supervisor is told by descriptors: a child's end, a signal, news of the device."""

from __future__ import annotations

import selectors


def call_ready(selector: selectors.BaseSelector, seconds: float) -> None:
    """Call what is registered with each descriptor that is readable within so many seconds.

    A call may close other descriptors that were readable as well, and open new ones under their numbers: what is not
    registered any more is not called.
    """
    for key, _ in selector.select(seconds):
        if selector.get_map().get(key.fd) is key:
            key.data()
