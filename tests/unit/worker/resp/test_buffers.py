"""What connections' buffers take is counted by tenant, and bounded for each and for all."""

from __future__ import annotations

from splinter import limits
from splinter.worker.resp.buffers import count_bytes
from splinter.worker.resp.memory import Door

ONE, TWO = 1, 2


def test_a_tenant_has_a_bound() -> None:
    door = Door(-1, -1, -1, {}, 0)
    d = door.address
    assert count_bytes(d, ONE, limits.RESP_TENANT_BYTES_MAX)
    assert not count_bytes(d, ONE, 1) and count_bytes(d, TWO, 1)
    assert count_bytes(d, ONE, -1) and count_bytes(d, ONE, 1) and not count_bytes(d, ONE, 1)


def test_where_half_is_taken_those_who_have_much_get_no_more() -> None:
    door = Door(-1, -1, -1, {}, 0)
    d = door.address
    greedy = limits.RESP_BYTES_MAX // 2 // limits.RESP_TENANT_BYTES_MAX
    for tenant in range(1, greedy + 1):
        assert count_bytes(d, tenant, limits.RESP_TENANT_BYTES_MAX)
    assert not count_bytes(d, 100, limits.RESP_SHARE_BYTES + 1)
    others = (limits.RESP_BYTES_MAX // 2) // limits.RESP_SHARE_BYTES
    for tenant in range(100, 100 + others):
        assert count_bytes(d, tenant, limits.RESP_SHARE_BYTES)
    assert not count_bytes(d, 9999, 1)  # all is taken
    assert count_bytes(d, ONE, -limits.RESP_TENANT_BYTES_MAX) and count_bytes(d, 9999, 1)
