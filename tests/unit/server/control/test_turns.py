"""The control plane's operations in turn: a tenant with many requests keeps others from none."""

from __future__ import annotations

import asyncio

from splinter.ext.native.code import CodeRegion
from splinter.server.control.balancer import Balancer
from splinter.server.control.operations import Operations
from splinter.server.control.registry import Registry
from splinter.server.control.tenants import Tenants

MANY = 50


def test_a_tenant_with_many_requests_has_one_at_a_time(control_stopped):
    shared = control_stopped.shared
    assert isinstance(shared.code, CodeRegion)
    registry = Registry(shared.store, shared.code, shared.extension_counters)
    tenants = Tenants(shared, registry)
    balancer = Balancer(shared.tenant_counters, shared.tenants, tenants.move, tenants.cores, 1)
    done: list[int] = []

    async def scenario() -> None:
        operations = Operations(shared, tenants, registry, balancer)
        try:
            tenants.create([7, 8], 1 << 20, None, {})

            async def ask(tenant: int) -> None:
                await operations.run({"op": "extension.log", "tenant": tenant, "token": tenants.tokens.current(tenant)})
                done.append(tenant)

            await asyncio.gather(*(ask(7) for _ in range(MANY)), ask(8))
        finally:
            operations.close()

    asyncio.run(scenario())
    assert sorted(done) == [7] * MANY + [8]
    assert done.index(8) <= 1
