"""Which of the worker's kill points only one of its loops has."""

from __future__ import annotations

from splinter.store.kill_points import KillPoint
from splinter.worker.kill_points import WorkerPoint

UDP_ONLY = {WorkerPoint.DATAGRAMS_RECEIVED, WorkerPoint.CHUNK_ASSIGNED, WorkerPoint.CHUNK_FREED}
XDP_ONLY = {
    WorkerPoint.RX_LOCKED, WorkerPoint.RX_MARKED, WorkerPoint.RX_RELEASED, WorkerPoint.REPLY_MARKED, WorkerPoint.QUEUE_LOCKED,
    WorkerPoint.COMPLETION_MARKED, WorkerPoint.COMPLETION_TAKEN, WorkerPoint.FILL_MARKED, WorkerPoint.FILL_PUBLISHED,
}  # fmt: skip
# No worker here is short of overflow buckets: tests/unit/store/kill_every_point.py dies while it gives some back.
STORE_POINTS = [point for point in KillPoint if point != KillPoint.BUCKET_SEALED]
