"""A process that imports what a server does and loads the same compiled code, and does nothing with it.

``python -m splinter_bench.subjects.loading`` says so when it is done.
"""

from __future__ import annotations

import gc
import os


def main() -> None:
    """Load all of it, as :mod:`splinter.cli.start` has a server do."""
    gc.disable()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from numba import types

    import splinter.cli.main
    import splinter.server.supervisor.supervisor
    from splinter.native.callbacks import address_of
    from splinter.server.supervisor import warm
    from splinter.worker.helpers import HELPERS
    from splinter.worker.xdp.loop import serve_xdp

    assert splinter.cli.main and splinter.server.supervisor.supervisor
    warm.at_start(["xdp"])
    serve_xdp.compile((types.int64,))
    for helper in HELPERS.values():
        address_of(helper)
    print("loaded", flush=True)


if __name__ == "__main__":
    main()
