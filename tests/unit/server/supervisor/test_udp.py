"""The addresses that the UDP transport takes."""

from __future__ import annotations

import pytest

from splinter.errors import ServerError
from splinter.server.config import ServerConfig
from splinter.server.supervisor.udp import UdpTransport
from splinter.testing.process import free_port


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "0.0.0.0"])
def test_an_address_of_this_host_is_served(address: str) -> None:
    UdpTransport(ServerConfig(transport="udp", address=address, port=free_port(), cores=(0, 1))).close()


def test_the_broadcast_address_of_a_network_is_refused() -> None:
    """The kernel would bind to it."""
    with pytest.raises(ServerError, match=r"127\.255\.255\.255 is the broadcast address of a network"):
        UdpTransport(ServerConfig(transport="udp", address="127.255.255.255", port=free_port(), cores=(0,)))
