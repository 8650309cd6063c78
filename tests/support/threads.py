"""Several things at once, in threads of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


def at_once(functions: Iterable[Callable[[], object]]) -> None:
    """Run each in a thread of its own and wait for all; raises what the first to fail raised."""
    failures: list[BaseException] = []

    def guarded(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
