"""The records of :mod:`splinter.worker.udp.layout`, for compiled code; see :mod:`splinter.native.records`."""

from __future__ import annotations

from splinter.native.records import record
from splinter.worker.udp import layout

Area = record(layout.UDP_AREA)
Iovec = record(layout.IOVEC)
Message = record(layout.MMSGHDR)
PacketInfo = record(layout.PKTINFO)
