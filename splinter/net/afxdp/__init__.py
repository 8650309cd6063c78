"""AF_XDP for Python: sockets whose packets go past the kernel's network stack, their rings as NumPy views.

Usable by itself: nothing here knows of Splinter's requests. ``docs/reference/afxdp.md`` is the guide.
:mod:`splinter.net.afxdp.compiled` holds the ring operations for Numba-compiled loops.
"""

from splinter.net.afxdp.record import XSK
from splinter.net.afxdp.ring import ADDRESS, DESCRIPTOR, Ring
from splinter.net.afxdp.socket import Mode, XskSocket, XskStatistics
from splinter.net.afxdp.umem import Umem

__all__ = ["ADDRESS", "DESCRIPTOR", "XSK", "Mode", "Ring", "Umem", "XskSocket", "XskStatistics"]
